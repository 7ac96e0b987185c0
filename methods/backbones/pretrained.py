"""A backbone that starts from given weights."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from methods.backbones.backbone import BlockBackbone

CLASSIFIERS = ("head.", "head_dist.")
SHOWN = 6


def load_pretrained(
    backbone: BlockBackbone, weights: Mapping[str, Tensor], *, truncated: bool = False, keep_classifier: bool = False
) -> tuple[str, ...]:
    """Put a timm state dict (or this suite's, whose names begin with ``model.``) into a backbone.

    Args:
        backbone: whatever the weights do not hold stays as it is.
        weights: by timm's names.
        truncated: the backbone has only the first blocks; weights of later ones are left out, and the final norm may
            have another width.
        keep_classifier: the final classifier must be in the weights, with the backbone's number of classes. Otherwise
            one with other classes, or none, leaves the backbone's own.

    Returns:
        names of the parameters that the weights did not give.

    Raises:
        ValueError: weights are missing, unknown or of a wrong shape; each is named.
    """
    if weights and all(name.startswith("model.") for name in weights):
        weights = {name.removeprefix("model."): tensor for name, tensor in weights.items()}
    own = backbone.model.state_dict()
    optional = () if keep_classifier else CLASSIFIERS
    if truncated:
        optional = (*optional, "norm.")
    fresh, wrong, chosen = [], [], {}
    for name, tensor in own.items():
        if name in weights and weights[name].shape == tensor.shape:
            chosen[name] = weights[name]
        elif name.startswith(optional) if optional else False:
            fresh.append(name)
        elif name not in weights:
            wrong.append(f"{name} is missing")
        else:
            wrong.append(f"{name} has shape {list(weights[name].shape)} and the backbone wants {list(tensor.shape)}")
    if fresh_classifiers := {name.split(".")[0] for name in fresh if name.startswith(CLASSIFIERS)}:
        # Weight and bias go together.
        for name in [name for name in chosen if name.split(".")[0] in fresh_classifiers]:
            fresh.append(name)
            del chosen[name]
    surplus = [name for name in weights if name not in own and not name.startswith(CLASSIFIERS)]
    if not truncated:
        wrong += [f"{name} is unknown" for name in surplus]
    if wrong:
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise ValueError("; ".join(wrong[:SHOWN]) + more)
    backbone.model.load_state_dict(own | chosen)
    return tuple(sorted(fresh))

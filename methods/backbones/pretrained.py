"""Loading of pretrained weights into a backbone."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from methods.backbones.backbone import BlockBackbone
from methods.backbones.map_classifier import MapBackbone

CLASSIFIERS = ("head.", "head_dist.")
READOUT = "readout."
SHOWN = 6


def load_pretrained(
    backbone: BlockBackbone, weights: Mapping[str, Tensor], *, truncated: bool = False, keep_classifier: bool = False
) -> tuple[str, ...]:
    """Load a state dict from timm, or from this benchmark (names begin with ``model.`` or ``readout.``), into a backbone.

    Args:
        backbone: the backbone to load into. Parameters that are not loaded keep their values.
        weights: tensors by parameter name.
        truncated: whether the backbone has only the first blocks of the model. Weights of later blocks are then ignored, and
            the final norm may be missing or have another width.
        keep_classifier: whether the weights must contain the final classifier with the backbone's number of classes. If
            False, the backbone keeps its own classifier if the weights have none or one of another shape. Likewise the
            readout of patches (`methods.backbones.map_classifier`).

    Returns:
        sorted names of the parameters that were not loaded.

    Raises:
        ValueError: weights are missing, unknown or have a wrong shape; the message names the first six and the number of the
            others.
    """
    readout = {name.removeprefix(READOUT): tensor for name, tensor in weights.items() if name.startswith(READOUT)}
    if weights and all(name.startswith(("model.", READOUT)) for name in weights):
        weights = {
            name.removeprefix("model."): tensor for name, tensor in weights.items() if not name.startswith(READOUT)
        }
    current = backbone.model.state_dict()
    optional = () if keep_classifier else CLASSIFIERS
    if truncated:
        optional = (*optional, "norm.")
    not_loaded, problems, loaded = [], [], {}
    for name, tensor in current.items():
        if name in weights and weights[name].shape == tensor.shape:
            loaded[name] = weights[name]
        elif name.startswith(optional) if optional else False:
            not_loaded.append(name)
        elif name not in weights:
            problems.append(f"{name} is missing")
        else:
            shape = list(weights[name].shape)
            problems.append(f"{name} has shape {shape} and the backbone requires {list(tensor.shape)}")
    if own_classifiers := {name.split(".")[0] for name in not_loaded if name.startswith(CLASSIFIERS)}:
        # A classifier is loaded only if both its weight and its bias match.
        for name in [name for name in loaded if name.split(".")[0] in own_classifiers]:
            not_loaded.append(name)
            del loaded[name]
    unknown = [name for name in weights if name not in current and not name.startswith(CLASSIFIERS)]
    if not truncated:
        problems += [f"{name} is unknown" for name in unknown]
    if isinstance(backbone, MapBackbone):
        own = backbone.readout.state_dict()
        if {name: tensor.shape for name, tensor in readout.items()} == {name: own[name].shape for name in own}:
            backbone.readout.load_state_dict(readout)
        elif keep_classifier:
            problems.append("the readout of patches is missing or has other classes")
        else:
            not_loaded += [f"{READOUT}{name}" for name in own]
    if problems:
        more = f" and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise ValueError("; ".join(problems[:SHOWN]) + more)
    backbone.model.load_state_dict(current | loaded)
    return tuple(sorted(not_loaded))

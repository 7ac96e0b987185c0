"""Conversion of checkpoints of the authors' code (falcon-xu/LGViT) to models of this benchmark.

Supported are the classes DeiTHighwayForImageClassification and SwinHighwayForImageClassification, as released and as trained by
the authors' scripts: ViT with 197 or 198 tokens, DeiT and Swin, with every highway type except the ensemble.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from methods.api import BackboneCard
from methods.heads import HEADS
from methods.model import ExitHeads, MultiExitModel
from methods.official_config import describe
from methods.official_names import IGNORED, backbone_sources, head_sources
from methods.official_schema import CheckpointError


def from_official(state_dict: Mapping[str, Tensor], config: Mapping[str, Any]) -> MultiExitModel:
    """Create the authors' model, in evaluation mode.

    Args:
        state_dict: tensors by the authors' names. The unused pooler and Swin's index buffers are ignored.
        config: the content of the authors' config.json.

    Raises:
        CheckpointError: the configuration is invalid, or keys are unknown, missing or of a wrong shape; the message names each.
    """
    described = describe(config, state_dict)
    card = described.card
    _check_size(card, state_dict)
    try:
        heads = [
            HEADS[choice.name].load()(
                card.dims[block - 1], described.classes, card.grids[block - 1], card.class_tokens, **choice.options
            )
            for block, choice in zip(described.exits, described.heads, strict=True)
        ]
        model = MultiExitModel(card.load()(card.architecture, described.classes), ExitHeads(described.exits, heads))
    except Exception as error:  # timm and torch raise many kinds of errors for numbers that do not fit each other
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise CheckpointError(f"config: no model can be built from it ({reason})") from error
    sources = {
        f"backbone.model.{name}": official
        for name, official in backbone_sources(described.family, model.backbone.model.state_dict(), card.stages).items()
    }
    for i, (choice, place, head) in enumerate(zip(described.heads, described.places, heads, strict=True)):
        names = head_sources(choice.name, described.family, head.state_dict())
        sources |= {
            f"exit_heads.heads.{i}.{name}": tuple(f"{place}.{n}" for n in parts) for name, parts in names.items()
        }
    model.load_state_dict(_collect(state_dict, sources, model.state_dict()))
    return model.eval()


def _check_size(card: BackboneCard, state_dict: Mapping[str, Tensor]) -> None:
    """Compare the size of the described backbone with the checkpoint, before memory is allocated for it.

    Raises:
        CheckpointError: the blocks alone have more parameters than the checkpoint.
    """
    described = sum(int((4 + 2 * card.architecture["mlp_ratio"]) * width * width) for width in card.dims)
    stored = sum(tensor.numel() for tensor in state_dict.values())
    if described > stored:
        raise CheckpointError(
            f"config: the blocks that it describes have {described:,} parameters, and the checkpoint has {stored:,}"
        )


def _collect(
    state_dict: Mapping[str, Tensor], sources: Mapping[str, Sequence[str]], own: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The state dict of this benchmark's model. An entry is one or several of the authors' tensors, joined on axis 0.

    Args:
        state_dict: the authors' tensors.
        sources: the authors' names for each of our names.
        own: state dict of our model, for shapes, dtypes and buffers.

    Raises:
        CheckpointError: keys are missing, unknown or of a wrong shape.
    """
    problems, converted = [], {}
    for name, target in own.items():
        if name not in sources:  # buffers that the model computes itself
            converted[name] = target
            continue
        official = sources[name]
        missing = [key for key in official if key not in state_dict]
        problems += [f"{key} is missing" for key in missing]
        if missing:
            continue
        tensors = [state_dict[key] for key in official]
        try:
            value = tensors[0] if len(tensors) == 1 else torch.cat(tensors)
        except RuntimeError:
            value = tensors[0]
        if value.shape != target.shape:
            shapes = ", ".join(f"{key} {list(tensor.shape)}" for key, tensor in zip(official, tensors, strict=True))
            problems.append(f"{shapes}: the configuration needs {list(target.shape)}")
        if value.is_floating_point() != target.is_floating_point():
            problems.append(f"{official[0]} has the type {value.dtype} instead of {target.dtype}")
        converted[name] = value.to(target.dtype)
    used = {key for official in sources.values() for key in official}
    problems += [f"{key} is unknown" for key in state_dict if key not in used and not IGNORED.search(key)]
    if problems:
        raise CheckpointError("; ".join(problems))
    return converted

"""Models of timm by their names: built, wrapped to run block by block, and described by a card."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

import timm
import torch
from timm.models.eva import Eva
from timm.models.swin_transformer import SwinTransformer
from timm.models.swin_transformer_v2 import SwinTransformerV2
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from methods.api import BackboneCard, Normalisation
from methods.backbones.backbone import BlockBackbone
from methods.backbones.eva import EvaViT
from methods.backbones.swin import Swin
from methods.backbones.timm_cards import CODE_VERSION, PREFIX, TARGET
from methods.backbones.vit import ViT
from methods.lookup import nearest

WRAPPERS: dict[type[nn.Module], type[BlockBackbone]] = {
    VisionTransformer: ViT,
    Eva: EvaViT,
    SwinTransformer: Swin,
    SwinTransformerV2: Swin,
}
KNOWN_REASONS = {
    "Cait": "its last blocks read a class token and the output of the blocks before, which have none",
    "Beit": "all of its blocks read one shared table of relative positions",
}
"""Why models of a class do not run block by block."""


def build(architecture: Mapping[str, Any], num_classes: int) -> BlockBackbone:
    """A randomly initialised model of timm. ``architecture`` holds its name, ``model``, and further arguments of timm."""
    arguments = dict(architecture)
    return wrapped(timm.create_model(arguments.pop("model"), num_classes=num_classes, **arguments))


def wrapped(model: nn.Module) -> BlockBackbone:
    """The model with the interface that runs it block by block.

    Raises:
        ValueError: it cannot be run so; the message has the reason.
    """
    for timm_class, wrapper in WRAPPERS.items():
        if isinstance(model, timm_class):
            if type(model).forward_features is not timm_class.forward_features:  # type: ignore[attr-defined]
                raise ValueError(f"{type(model).__name__} runs its blocks in a way of its own")
            return wrapper(model)
    name = type(model).__name__
    classes = ", ".join(timm_class.__name__ for timm_class in WRAPPERS)
    reason = KNOWN_REASONS.get(name, f"only models of the classes {classes} are")
    raise ValueError(f"{name} of timm is not supported here: {reason}")


def describe(name: str) -> BackboneCard:
    """The card of a model of timm, read from the model on torch's meta device: no memory, no computation.

    Args:
        name: of the model, with or without the tag of its weights.

    Raises:
        KeyError: timm has no such model or tag, or the model cannot be run block by block.
    """
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise KeyError(f"backbone {PREFIX}{name}: timm {timm.__version__} has no model {architecture!r}; "
                       f"{nearest(architecture, timm.list_models())}".rstrip("; "))  # fmt: skip
    if tag and tag not in _tags(architecture):
        raise KeyError(
            f"backbone {PREFIX}{name}: timm has no weights {tag!r} of {architecture}; {nearest(tag, _tags(architecture))}"
            f"there are: {', '.join(_tags(architecture)) or 'none'}"
        )
    try:
        with torch.device("meta"):
            backbone = wrapped(timm.create_model(name, num_classes=2))
        return _card(name, backbone.eval())
    except (ValueError, RuntimeError, NotImplementedError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise KeyError(f"backbone {PREFIX}{name} cannot be used: {reason}") from error


def _tags(architecture: str) -> list[str]:
    return [full.partition(".")[2] for full in timm.list_models(f"{architecture}.*", pretrained=True)]


def _card(name: str, backbone: BlockBackbone) -> BackboneCard:
    model = backbone.model
    config = model.pretrained_cfg
    rows, columns = model.patch_embed.img_size
    channels = config["input_size"][0]
    if rows != columns:
        raise ValueError(f"its images are {rows}x{columns}, and images here are square")
    blocks = [backbone.get_submodule(names[-1].removeprefix("backbone.")) for names in backbone.block_names()]
    dims, grids = [], []
    with torch.no_grad():
        tokens = backbone.embed(torch.zeros(1, channels, rows, columns, device="meta"))
        for number in range(1, backbone.depth + 1):
            tokens = backbone.block(number, tokens)
            dims.append(tokens.map.shape[1])
            grids.append(tokens.map.shape[-1])
    parts: list[list[Any]] = [list(block.modules()) for block in blocks]
    heads = [next(part.num_heads for part in modules if hasattr(part, "num_heads")) for modules in parts]
    stages = [(len(list(group)), shape) for shape, group in groupby(zip(dims, grids, heads, strict=True))]
    counts = tuple(count for count, _ in stages)
    is_swin = isinstance(backbone, Swin)
    sizes: dict[str, Any] = {"depth": backbone.depth}
    if is_swin:
        sizes = {"depths": counts, "num_heads": tuple(count for _, (_, _, count) in stages)}
        windows = tuple(tuple(stage.blocks[0].window_size) for stage in model.layers)
        if (
            len(set(map(str, getattr(model, "_ref_window_sizes", ())))) > 1
        ):  # a truncated model needs those of its stages
            sizes["window_size"] = windows
    weights = _weights(name, config)
    widths = " to ".join(str(width) for width in dict.fromkeys((dims[0], dims[-1])))
    return BackboneCard(
        target=TARGET,
        summary=f"{type(model).__name__} of timm, {backbone.depth} blocks of width {widths}, {rows}x{columns} pixels",
        code_version=CODE_VERSION,
        family=_family(model, is_swin=is_swin, class_tokens=tokens.prefix - tokens.registers),
        stages=counts,
        dims=tuple(dims),
        grids=tuple(grids),
        attention_heads=tuple(heads),
        prefix_tokens=tokens.prefix,
        registers=tokens.registers,
        image_size=rows,
        channels=channels,
        weights=weights,
        normalisation=Normalisation(mean=tuple(config["mean"]), std=tuple(config["std"])) if weights else None,
        architecture={"model": name, **sizes},
    )


def _family(model: nn.Module, *, is_swin: bool, class_tokens: int) -> str:
    if is_swin:
        return "swin"
    return "eva" if isinstance(model, Eva) else "deit" if class_tokens == 2 else "vit"


def _weights(name: str, config: Mapping[str, Any]) -> str | None:
    """The tag of the model's public weights; None if there are none under that name on the hub.

    Raises:
        ValueError: the name has a tag whose weights are stored elsewhere.
    """
    full = f"{config['architecture']}.{config['tag']}" if config.get("tag") else None
    on_hub = config.get("hf_hub_id") in ("timm/", f"timm/{full}") and not config.get("hf_hub_filename")
    if full and on_hub:
        return full
    if "." in name:
        raise ValueError(
            f"its weights are not stored as timm/{name}; use the name without the tag, with weights: file:PATH"
        )
    return None

"""Functions that create backbone cards from the hyperparameters of an architecture. They do not import torch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from methods.api import BackboneCard, Normalisation
from methods.backbones.normalisation import NORMALISATIONS

VIT_BUILDERS = {"": "build", "distilled": "build_distilled", "idle-distillation": "build_idle_distillation"}


def vit(
    *,
    image_size: int,
    patch_size: int,
    channels: int,
    width: int,
    attention_heads: int,
    summary: str,
    depth: int = 12,
    kind: str = "",
    weights: str | None = None,
    normalisation: Normalisation | None = None,
    smaller: str | None = None,
    idle_token_variant_of: str | None = None,
    **architecture: Any,
) -> BackboneCard:
    """The card of a Vision Transformer.

    Args:
        kind: a key of `VIT_BUILDERS`. The empty string: no distillation token; ``distilled``: a distillation token with its
            own classifier (DeiT); ``idle-distillation``: a distillation token that no classifier reads.
        normalisation: of `weights`; None for a tag of `NORMALISATIONS`.
        architecture: further arguments of timm's VisionTransformer.
    """
    return BackboneCard(
        target=f"methods.backbones.vit:{VIT_BUILDERS[kind]}",
        summary=summary,
        family="deit" if kind == "distilled" else "vit",
        idle_token_variant_of=idle_token_variant_of,
        stages=(depth,),
        dims=(width,) * depth,
        grids=(image_size // patch_size,) * depth,
        attention_heads=(attention_heads,) * depth,
        prefix_tokens=2 if kind else 1,
        registers=1 if kind == "idle-distillation" else 0,
        image_size=image_size,
        channels=channels,
        smaller=smaller,
        weights=weights,
        normalisation=normalisation or NORMALISATIONS.get(weights or ""),
        architecture={
            "img_size": image_size,
            "patch_size": patch_size,
            "in_chans": channels,
            "embed_dim": width,
            "depth": depth,
            "num_heads": attention_heads,
            **architecture,
        },
    )


def swin(
    *,
    image_size: int,
    patch_size: int,
    channels: int,
    window: int,
    width: int,
    stages: tuple[int, ...],
    attention_heads: tuple[int, ...],
    drop_path: float,
    summary: str,
    weights: str | None = None,
    normalisation: Normalisation | None = None,
    smaller: str | None = None,
    **architecture: Any,
) -> BackboneCard:
    """The card of a Swin Transformer. The grid side halves and the width doubles from stage to stage.

    Args:
        normalisation: of `weights`; None for a tag of `NORMALISATIONS`.
        architecture: further arguments of timm's SwinTransformer.
    """
    side = image_size // patch_size
    return BackboneCard(
        target="methods.backbones.swin:build",
        summary=summary,
        family="swin",
        stages=stages,
        dims=tuple(width * 2**s for s, blocks in enumerate(stages) for _ in range(blocks)),
        grids=tuple(side // 2**s for s, blocks in enumerate(stages) for _ in range(blocks)),
        attention_heads=tuple(attention_heads[s] for s, blocks in enumerate(stages) for _ in range(blocks)),
        prefix_tokens=0,
        image_size=image_size,
        channels=channels,
        smaller=smaller,
        weights=weights,
        normalisation=normalisation or NORMALISATIONS.get(weights or ""),
        architecture={
            "img_size": image_size,
            "patch_size": patch_size,
            "in_chans": channels,
            "window_size": window,
            "embed_dim": width,
            "depths": stages,
            "num_heads": attention_heads,
            "drop_path_rate": drop_path,
            **architecture,
        },
    )


def truncated(card: BackboneCard, blocks: int) -> BackboneCard:
    """The card of a backbone with only the first ``blocks`` blocks, followed by the final norm and classifier.

    Raises:
        ValueError: the architecture of the card has neither ``depth`` nor ``depths``.
    """
    if blocks == card.depth:
        return card
    stages: list[int] = []
    for count in card.stages:
        if sum(stages) < blocks:
            stages.append(min(count, blocks - sum(stages)))
    architecture = dict(card.architecture)
    if "depths" in architecture:
        architecture |= {"depths": tuple(stages), "num_heads": architecture["num_heads"][: len(stages)]}
        if isinstance(architecture.get("window_size"), tuple):  # one for each stage
            architecture["window_size"] = architecture["window_size"][: len(stages)]
    elif "depth" in architecture:
        architecture["depth"] = blocks
    else:
        raise ValueError("this backbone's architecture has no 'depth' or 'depths', so it cannot be truncated")
    return replace(
        card,
        stages=tuple(stages),
        dims=card.dims[:blocks],
        grids=card.grids[:blocks],
        attention_heads=card.attention_heads[:blocks],
        architecture=architecture,
    )

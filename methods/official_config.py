"""Configurations of the authors' checkpoints (falcon-xu/LGViT, config.json), translated to a backbone card and exit heads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from torch import Tensor

from methods.api import BackboneCard, Component
from methods.backbones.cards import swin, vit
from methods.lookup import unknown
from methods.official_names import Family
from methods.official_schema import CheckpointError, SwinConfig, ViTConfig, parse_config, short

# A: LPH with the depthwise convolution; B: LPH without it; R1, R2 and R3: GAH with stride 1, 2 and 3.
A, B = Component("lph", {"kernel": 3}), Component("lph", {"kernel": 0})
R1, R2, R3 = (Component("gah", {"stride": stride}) for stride in (1, 2, 3))
LGVIT = {2: (A, R2), 4: (A, B, R2, R3), 6: (A, B, R2, R2, R3, R3), 8: (A, A, B, B, R2, R2, R3, R3)}
LGVIT_SWIN = (A, A, B, B, R1, R1, R2, R2)
SWIN_STAGES = (0, 1, 6, 1)
HIGHWAYS = ("LGViT", "linear", "vit", "self_attention", "conv_normal", "conv1_1", "conv2_1", "attention_rN")


@dataclass(frozen=True)
class OfficialModel:
    """The model that a configuration describes.

    Attributes:
        family: family of the backbone.
        card: card of the backbone, with the authors' norm epsilon.
        exits: block numbers of the exits, 1-based, counted over all stages.
        heads: one head per exit.
        places: prefix of each exit's keys in the authors' state dict.
        classes: number of classes.
    """

    family: Family
    card: BackboneCard
    exits: tuple[int, ...]
    heads: tuple[Component, ...]
    places: tuple[str, ...]
    classes: int


def describe(config: Mapping[str, Any], state_dict: Mapping[str, Tensor]) -> OfficialModel:
    """The model that a configuration describes. A ViT has an idle distillation token if the state dict has it.

    Raises:
        CheckpointError: a key is missing or has a value that the authors' code does not support.
    """
    parsed = parse_config(config)
    return _swin(parsed, state_dict) if isinstance(parsed, SwinConfig) else _vit(parsed, state_dict)


def _vit(config: ViTConfig, state_dict: Mapping[str, Tensor]) -> OfficialModel:
    family: Family = "deit" if config.backbone == "DeiT" else "vit"
    idle = family == "vit" and "deit.embeddings.distillation_token" in state_dict
    depth, exits = config.num_hidden_layers, tuple(config.position_exits)
    if exits != tuple(sorted(set(exits))) or exits[-1] >= depth:
        raise CheckpointError(
            f"config: position_exits must list blocks from 1 to {depth - 1}, ascending, not {short(list(exits))}"
        )
    if config.num_early_exits != len(exits):
        raise CheckpointError(
            f"config: num_early_exits is {config.num_early_exits}, but position_exits is {short(list(exits))}"
        )
    card = vit(
        image_size=config.image_size,
        patch_size=config.patch_size,
        channels=config.num_channels,
        width=config.hidden_size,
        attention_heads=config.num_attention_heads,
        depth=depth,
        kind="distilled" if family == "deit" else "idle-distillation" if idle else "",
        summary="",
        mlp_ratio=config.intermediate_size / config.hidden_size,
        qkv_bias=config.qkv_bias,
        norm_eps=config.layer_norm_eps,
    )
    block = {"attention_heads": config.num_attention_heads, "mlp_ratio": card.architecture["mlp_ratio"]}
    places = tuple(f"deit.encoder.highway.{i}" for i in range(len(exits)))
    heads = _heads(config.highway_type, len(exits), block)
    return OfficialModel(family, card, exits, heads, places, config.classes)


def _swin(config: SwinConfig, state_dict: Mapping[str, Tensor]) -> OfficialModel:
    stages, counts = config.depths, config.num_early_exits
    if len(stages) != len(config.num_heads):
        raise CheckpointError(f"config: depths has {len(stages)} stages and num_heads {len(config.num_heads)}")
    exits, places = _swin_exits(config)
    if config.highway_type == "LGViT" and tuple(counts) != SWIN_STAGES:
        raise CheckpointError(f"config: LGViT on Swin requires num_early_exits {list(SWIN_STAGES)}, not {counts}")
    card = swin(
        image_size=config.image_size,
        patch_size=config.patch_size,
        channels=config.num_channels,
        window=config.window_size,
        width=config.embed_dim,
        stages=tuple(stages),
        attention_heads=tuple(config.num_heads),
        drop_path=config.drop_path_rate,
        summary="",
        mlp_ratio=config.mlp_ratio,
        qkv_bias=config.qkv_bias,
        norm_eps=config.layer_norm_eps,
    )
    block: dict[str, Any] = {"attention_heads": 8}
    for place, number in zip(places, exits, strict=True):
        hidden = state_dict.get(f"{place}.layer.intermediate.dense.weight")
        if hidden is not None and hidden.ndim:  # the authors' code uses 3072 for every width
            block["mlp_ratio"] = hidden.shape[0] / card.dims[number - 1]
    heads = _heads(config.highway_type, len(exits), block, swin=True)
    return OfficialModel("swin", card, exits, heads, places, config.classes)


def _swin_exits(config: SwinConfig) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The exits as block numbers over all stages, and the prefixes of their keys."""
    stages, positions = config.depths, config.position_exits
    if len(positions) != len(stages) or [len(stage) for stage in positions] != config.num_early_exits:
        raise CheckpointError(
            f"config: position_exits must list the exits of each of {len(stages)} stages and num_early_exits their counts, not "
            f"{short(positions)} and {short(config.num_early_exits)}"
        )
    starts = [0, *accumulate(stages)]
    exits, places = [], []
    for stage, blocks in enumerate(positions):
        for i, block in enumerate(blocks):
            if block > stages[stage]:
                raise CheckpointError(
                    f"config: position_exits: stage {stage + 1} has blocks 1 to {stages[stage]}, not {block}"
                )
            exits.append(starts[stage] + block)
            places.append(f"swin.encoder.layers.{stage}.highway.{i}")
    if exits and (exits != sorted(set(exits)) or exits[-1] >= sum(stages)):
        raise CheckpointError(
            f"config: position_exits must be ascending and before the last of {sum(stages)} blocks, not {short(exits)}"
        )
    return tuple(exits), tuple(places)


def _heads(kind: str, count: int, block: dict[str, Any], swin: bool = False) -> tuple[Component, ...]:
    """The heads for a ``highway_type``, one for each of ``count`` exits."""
    if kind == "LGViT":
        if swin:
            return LGVIT_SWIN
        if count not in LGVIT:
            raise CheckpointError(
                f"config: LGViT has {', '.join(map(str, LGVIT))} exits in the authors' code, not {count}"
            )
        return LGVIT[count]
    uniform_heads = {
        "linear": Component("linear"),
        "vit": Component("vit-ee", block),
        "self_attention": Component("self-attention", {"attention_heads": block["attention_heads"]}),
        "conv_normal": Component("convolution"),
        "conv1_1": A,
        "conv2_1": B,
    }
    if kind in uniform_heads:
        return (uniform_heads[kind],) * count
    stride = kind.removeprefix("attention_r")
    if kind.startswith("attention_r") and stride.isdigit() and int(stride):
        return (Component("gah", {"stride": int(stride)}),) * count
    raise CheckpointError("config: " + unknown("highway_type", kind, HIGHWAYS))

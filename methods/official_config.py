"""Configurations of the authors' checkpoints (falcon-xu/LGViT, config.json), translated to a backbone card and exit heads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from torch import Tensor

from methods.api import BackboneCard, Component
from methods.backbones.cards import swin, vit
from methods.lookup import unknown
from methods.official_names import Family

# A: LPH with the depthwise convolution; B: LPH without it; R1, R2 and R3: GAH with stride 1, 2 and 3.
A, B = Component("lph", {"kernel": 3}), Component("lph", {"kernel": 0})
R1, R2, R3 = (Component("gah", {"stride": stride}) for stride in (1, 2, 3))
LGVIT = {2: (A, R2), 4: (A, B, R2, R3), 6: (A, B, R2, R2, R3, R3), 8: (A, A, B, B, R2, R2, R3, R3)}
LGVIT_SWIN = (A, A, B, B, R1, R1, R2, R2)
SWIN_STAGES = (0, 1, 6, 1)
HIGHWAYS = ("LGViT", "linear", "vit", "self_attention", "conv_normal", "conv1_1", "conv2_1", "attention_rN")

LIMIT = 100_000
LIMITS = {
    "num_hidden_layers": 1_000, "depths": 1_000, "hidden_size": 20_000, "embed_dim": 20_000, "num_attention_heads": 1_000,
    "num_heads": 1_000, "image_size": 4_096, "patch_size": 1_024, "window_size": 1_024, "num_channels": 64,
}  # fmt: skip
"""Largest accepted values. They bound time and memory before the model is compared with the checkpoint."""
MAX_STAGES = 8


class CheckpointError(ValueError):
    """The configuration or the state dict does not match the authors' code; the message names each problem."""


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
    kind = _value(config, "model_type")
    labels = config.get("id2label")
    classes = len(labels) if labels and isinstance(labels, dict) else config.get("num_labels")
    if not isinstance(classes, int) or isinstance(classes, bool) or not 1 <= classes <= LIMIT:
        raise CheckpointError(f"config: neither id2label nor num_labels gives a number of classes from 1 to {LIMIT:,}")
    if config.get("hidden_act", "gelu") != "gelu":
        raise CheckpointError(
            f"config: hidden_act must be gelu, as in the authors' models, not {_short(config['hidden_act'])}"
        )
    if kind == "swin":
        return _swin(config, state_dict, classes)
    if kind == "deit":
        return _vit(config, state_dict, classes)
    raise CheckpointError(f"config: model_type must be 'deit' (ViT and DeiT) or 'swin', not {_short(kind)}")


def _vit(config: Mapping[str, Any], state_dict: Mapping[str, Tensor], classes: int) -> OfficialModel:
    names = {"ViT": "vit", "DeiT": "deit"}
    backbone = config.get("backbone", "ViT")
    if not isinstance(backbone, str) or backbone not in names:
        raise CheckpointError(f"config: backbone must be ViT or DeiT, not {_short(backbone)}")
    family: Family = "deit" if backbone == "DeiT" else "vit"
    idle = family == "vit" and "deit.embeddings.distillation_token" in state_dict
    depth, width, image, patch = (
        _count(config, key) for key in ("num_hidden_layers", "hidden_size", "image_size", "patch_size")
    )
    attention_heads, channels = _count(config, "num_attention_heads"), _count(config, "num_channels")
    exits = _positions(config, depth)
    if _json(config, "num_early_exits") != len(exits):
        raise CheckpointError(
            f"config: num_early_exits is {_short(config['num_early_exits'])}, but position_exits is {list(exits)}"
        )
    card = vit(
        image_size=image,
        patch_size=patch,
        channels=channels,
        width=width,
        attention_heads=attention_heads,
        depth=depth,
        kind="distilled" if family == "deit" else "idle-distillation" if idle else "",
        summary="",
        mlp_ratio=_count(config, "intermediate_size") / width,
        qkv_bias=bool(config.get("qkv_bias", True)),
        norm_eps=_number(config, "layer_norm_eps"),
    )
    block = {"attention_heads": attention_heads, "mlp_ratio": card.architecture["mlp_ratio"]}
    places = tuple(f"deit.encoder.highway.{i}" for i in range(len(exits)))
    return OfficialModel(family, card, exits, _highways(config, len(exits), block), places, classes)


def _swin(config: Mapping[str, Any], state_dict: Mapping[str, Tensor], classes: int) -> OfficialModel:
    stages, heads = _counts(config, "depths"), _counts(config, "num_heads")
    if len(stages) != len(heads):
        raise CheckpointError(f"config: depths has {len(stages)} stages and num_heads {len(heads)}")
    width, image, patch = (_count(config, key) for key in ("embed_dim", "image_size", "patch_size"))
    starts = [0, *accumulate(stages)]
    positions = _json(config, "position_exits")
    counts = _json(config, "num_early_exits")
    nested = isinstance(positions, list) and all(isinstance(stage, list) for stage in positions)
    if not nested or len(positions) != len(stages) or [len(stage) for stage in positions] != counts:
        raise CheckpointError(
            f"config: position_exits must list the exits of each of {len(stages)} stages and num_early_exits their counts, not "
            f"{_short(config.get('position_exits'))} and {_short(config.get('num_early_exits'))}"
        )
    exits, places = [], []
    for stage, blocks in enumerate(positions):
        for i, block in enumerate(blocks):
            if not isinstance(block, int) or not 1 <= block <= stages[stage]:
                raise CheckpointError(
                    f"config: position_exits: stage {stage + 1} has blocks 1 to {stages[stage]}, not {block!r}"
                )
            exits.append(starts[stage] + block)
            places.append(f"swin.encoder.layers.{stage}.highway.{i}")
    if exits and (exits != sorted(set(exits)) or exits[-1] >= sum(stages)):
        raise CheckpointError(
            f"config: position_exits must be ascending and before the last of {sum(stages)} blocks, not {exits}"
        )
    if config.get("highway_type") == "LGViT" and tuple(counts) != SWIN_STAGES:
        raise CheckpointError(f"config: LGViT on Swin requires num_early_exits {list(SWIN_STAGES)}, not {counts}")
    card = swin(
        image_size=image,
        patch_size=patch,
        channels=_count(config, "num_channels"),
        window=_count(config, "window_size"),
        width=width,
        stages=stages,
        attention_heads=heads,
        drop_path=_number(config, "drop_path_rate", 0.0),
        summary="",
        mlp_ratio=_number(config, "mlp_ratio", 4.0),
        qkv_bias=bool(config.get("qkv_bias", True)),
        norm_eps=_number(config, "layer_norm_eps"),
    )
    block = {"attention_heads": 8}
    for place, number in zip(places, exits, strict=True):
        hidden = state_dict.get(f"{place}.layer.intermediate.dense.weight")
        if hidden is not None and hidden.ndim:  # the authors' code uses 3072 for every width
            block["mlp_ratio"] = hidden.shape[0] / card.dims[number - 1]
    return OfficialModel(
        "swin", card, tuple(exits), _highways(config, len(exits), block, swin=True), tuple(places), classes
    )


def _highways(
    config: Mapping[str, Any], count: int, block: dict[str, Any], swin: bool = False
) -> tuple[Component, ...]:
    """The heads for the configuration's ``highway_type``, one for each of ``count`` exits."""
    kind = str(_value(config, "highway_type"))
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


def _positions(config: Mapping[str, Any], depth: int) -> tuple[int, ...]:
    """The exits of a ViT or DeiT as ascending 1-based block numbers below ``depth``."""
    blocks = _json(config, "position_exits")
    is_integer_list = isinstance(blocks, list) and bool(blocks) and all(isinstance(block, int) for block in blocks)
    if not is_integer_list or blocks != sorted(set(blocks)) or not 1 <= blocks[0] <= blocks[-1] < depth:
        raise CheckpointError(
            f"config: position_exits must list blocks from 1 to {depth - 1}, ascending, not {_short(blocks)}"
        )
    return tuple(blocks)


def _json(config: Mapping[str, Any], key: str) -> Any:
    """A value that the authors store as text. It is parsed as JSON and never evaluated as code."""
    value = _value(config, key)
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise CheckpointError(f"config: {key} is not JSON: {value[:60]!r}") from None


def _count(config: Mapping[str, Any], key: str) -> int:
    value = _value(config, key)
    limit = LIMITS.get(key, LIMIT)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= limit:
        raise CheckpointError(f"config: {key} must be an integer from 1 to {limit:,}, not {_short(value)}")
    return value


def _counts(config: Mapping[str, Any], key: str) -> tuple[int, ...]:
    values = _value(config, key)
    if not isinstance(values, list) or not 1 <= len(values) <= MAX_STAGES:
        raise CheckpointError(f"config: {key} must list 1 to {MAX_STAGES} integers, not {_short(values)}")
    return tuple(_count({key: value}, key) for value in values)


def _number(config: Mapping[str, Any], key: str, default: float | None = None) -> float:
    value = _value(config, key) if default is None else config.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
        raise CheckpointError(f"config: {key} must be a number from 0 to 100, not {_short(value)}")
    return float(value)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _value(config: Mapping[str, Any], key: str) -> Any:
    if config.get(key) is None:
        raise CheckpointError(f"config: the key {key!r} is missing")
    return config[key]

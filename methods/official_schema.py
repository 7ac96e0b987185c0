"""The fields of the authors' config.json (falcon-xu/LGViT) that an import reads.

Types are strict: no text, truth value or fraction passes as an integer. Other fields of the file are ignored, and null counts
as absent. The upper limits bound time and memory before the model is compared with the checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

MAX_CLASSES = 100_000
MAX_STAGES = 8


class CheckpointError(ValueError):
    """The configuration or the state dict does not match the authors' code; the message names each problem."""


def _from_text(value: object) -> object:
    """The authors store lists as text. It is parsed as JSON and never evaluated as code."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        raise ValueError("the text is not JSON") from None


Count = Annotated[int, Field(ge=1, le=100_000)]
Blocks = Annotated[int, Field(ge=1, le=1_000)]
Heads = Annotated[int, Field(ge=1, le=1_000)]
Width = Annotated[int, Field(ge=1, le=20_000)]
Side = Annotated[int, Field(ge=1, le=1_024)]
Fraction = Annotated[float, Field(ge=0, le=100)]
ExitCount = Annotated[int, Field(ge=0, le=1_000)]
StageList = Field(min_length=1, max_length=MAX_STAGES)
FromText = BeforeValidator(_from_text)


class _Config(BaseModel):
    """Fields of both families."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)

    id2label: dict[str, Any] = {}
    num_labels: Count | None = None
    hidden_act: Literal["gelu"] = "gelu"
    qkv_bias: bool = True
    layer_norm_eps: Fraction
    image_size: Annotated[int, Field(ge=1, le=4_096)]
    patch_size: Side
    num_channels: Annotated[int, Field(ge=1, le=64)]
    highway_type: str

    @property
    def classes(self) -> int:
        return len(self.id2label) or self.num_labels or 0

    @model_validator(mode="after")
    def _check_classes(self) -> Self:
        if not 1 <= self.classes <= MAX_CLASSES:
            raise ValueError(f"neither id2label nor num_labels gives a number of classes from 1 to {MAX_CLASSES:,}")
        return self


class ViTConfig(_Config):
    """ViT and DeiT. ``position_exits`` holds 1-based block numbers."""

    model_type: Literal["deit"]
    backbone: Literal["ViT", "DeiT"] = "ViT"
    num_hidden_layers: Blocks
    hidden_size: Width
    num_attention_heads: Heads
    intermediate_size: Count
    num_early_exits: Annotated[ExitCount, FromText]
    position_exits: Annotated[list[Blocks], Field(min_length=1, max_length=1_000), FromText]


class SwinConfig(_Config):
    """Swin. ``position_exits`` holds the 1-based block numbers of each stage."""

    model_type: Literal["swin"]
    embed_dim: Width
    depths: Annotated[list[Blocks], StageList]
    num_heads: Annotated[list[Heads], StageList]
    window_size: Side
    mlp_ratio: Fraction = 4.0
    drop_path_rate: Fraction = 0.0
    num_early_exits: Annotated[list[ExitCount], StageList, FromText]
    position_exits: Annotated[list[Annotated[list[Blocks], Field(max_length=1_000)]], StageList, FromText]


def parse_config(config: Mapping[str, Any]) -> ViTConfig | SwinConfig:
    """
    Raises:
        CheckpointError: a field is missing, or has a type or value that the authors' code does not support.
    """
    fields = {key: value for key, value in config.items() if value is not None}
    kind = fields.get("model_type")
    models: dict[object, type[ViTConfig] | type[SwinConfig]] = {"deit": ViTConfig, "swin": SwinConfig}
    model = models.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise CheckpointError(f"config: model_type must be 'deit' (ViT and DeiT) or 'swin', not {short(kind)}")
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise CheckpointError(f"config: {_sentence(error)}") from None


def _sentence(error: ValidationError) -> str:
    """The first mistake: its field, what is allowed, and the value."""
    first = error.errors()[0]
    field = ".".join(map(str, first["loc"]))
    if first["type"] == "missing":
        return f"the key {field!r} is missing"
    message = first["msg"].removeprefix("Value error, ").replace("Input should", "must")
    return f"{field}: {message}, not {short(first['input'])}" if field else message


def short(value: object) -> str:
    """The value for a message, cut to 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

"""Reading and writing of models that were imported from checkpoints of the authors' code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal, Self

import torch
from pydantic import ConfigDict, Field, ValidationError, model_validator
from safetensors.torch import load_file, save

from benchmark import registry
from benchmark.training.heads import make_head
from methods.api import CLASSIFICATION, BackboneCard, Component
from methods.backbones.cards import VIT_BUILDERS, swin, vit
from methods.model import ExitHeads, MultiExitModel
from methods.official_config import OfficialModel
from methods.official_schema import MAX_CLASSES, MAX_STAGES, Blocks, Fraction, Heads, Side, Width
from methods.tasks import get_task
from results.frozen import Frozen
from results.store.files import read_file
from results.store.folder import StoreError

KIND = "imported"
WEIGHTS = "model.safetensors"
ANATOMY = "model.json"
ANATOMY_BYTES = 2**20


class _Strict(Frozen):
    """Part of `ANATOMY`, which may come from strangers: no text, truth value or fraction passes as an integer."""

    model_config = ConfigDict(strict=True)


class _Architecture(_Strict):
    """The arguments of timm's class that the card of an imported backbone holds."""

    img_size: Annotated[int, Field(ge=1, le=4_096)]
    patch_size: Side
    in_chans: Annotated[int, Field(ge=1, le=64)]
    embed_dim: Width
    mlp_ratio: Fraction
    qkv_bias: bool
    norm_eps: Fraction


class _ViT(_Architecture):
    kind: Literal["", "distilled", "idle-distillation"]
    depth: Blocks
    num_heads: Heads

    def card(self) -> BackboneCard:
        return vit(
            image_size=self.img_size, patch_size=self.patch_size, channels=self.in_chans, width=self.embed_dim, summary="",
            kind=self.kind, depth=self.depth, attention_heads=self.num_heads,
            mlp_ratio=self.mlp_ratio, qkv_bias=self.qkv_bias, norm_eps=self.norm_eps,
        )  # fmt: skip


class _Swin(_Architecture):
    window_size: Side
    depths: Annotated[tuple[Blocks, ...], Field(min_length=1, max_length=MAX_STAGES)]
    num_heads: Annotated[tuple[Heads, ...], Field(min_length=1, max_length=MAX_STAGES)]
    drop_path_rate: Fraction

    @model_validator(mode="after")
    def _has_heads_in_each_stage(self) -> Self:
        if len(self.depths) != len(self.num_heads):
            raise ValueError(f"{len(self.depths)} stages have {len(self.num_heads)} numbers of attention heads")
        return self

    def card(self) -> BackboneCard:
        return swin(
            image_size=self.img_size, patch_size=self.patch_size, channels=self.in_chans, width=self.embed_dim, summary="",
            window=self.window_size, stages=self.depths, attention_heads=self.num_heads, drop_path=self.drop_path_rate,
            mlp_ratio=self.mlp_ratio, qkv_bias=self.qkv_bias, norm_eps=self.norm_eps,
        )  # fmt: skip


class _HeadOptions(_Strict):
    kernel: Annotated[int, Field(ge=0, le=64)] | None = None
    stride: Annotated[int, Field(ge=1, le=1_000)] | None = None
    attention_heads: Heads | None = None
    mlp_ratio: Fraction | None = None


class _Head(_Strict):
    name: Literal["lph", "gah", "linear", "vit-ee", "self-attention", "convolution"]
    options: _HeadOptions

    def component(self) -> Component:
        return Component(self.name, self.options.model_dump(exclude_none=True))


class _Anatomy(_Strict):
    """Everything from which an imported model is built, apart from its weights."""

    backbone: _ViT | _Swin
    exits: Annotated[tuple[Blocks, ...], Field(max_length=1_000)]
    heads: Annotated[tuple[_Head, ...], Field(max_length=1_000)]
    classes: Annotated[int, Field(ge=1, le=MAX_CLASSES)]

    @model_validator(mode="after")
    def _has_exits_inside(self) -> Self:
        depth = self.backbone.card().depth
        if list(self.exits) != sorted(set(self.exits)) or (self.exits and self.exits[-1] >= depth):
            raise ValueError(f"exits are ascending blocks from 1 to {depth - 1}, not {list(self.exits)[:20]}")
        if len(self.heads) != len(self.exits):
            raise ValueError(f"{len(self.exits)} exits have {len(self.heads)} heads")
        return self

    def model(self) -> MultiExitModel:
        """The model with random weights."""
        card = self.backbone.card()
        heads = [
            make_head(head.component(), block, card, self.classes, get_task(CLASSIFICATION))
            for head, block in zip(self.heads, self.exits, strict=True)
        ]
        return MultiExitModel(card.load()(card.architecture, self.classes), ExitHeads(self.exits, heads))


def registered_name(card: BackboneCard) -> str | None:
    """The registered backbone with the same architecture, if any; the epsilon of the norm layers is not compared."""
    anatomy = ("stages", "dims", "grids", "attention_heads", "prefix_tokens", "registers", "image_size", "channels")
    for name, known in registry.table("backbone").items():
        if all(getattr(known, field) == getattr(card, field) for field in anatomy) and known.target == card.target:
            return name
    return None


def write_model(model: MultiExitModel, described: OfficialModel, folder: Path) -> None:
    """Write the model's weights and the description from which `read_model` builds it."""
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    (folder / WEIGHTS).write_bytes(save(state))
    kinds = {f"methods.backbones.vit:{builder}": kind for kind, builder in VIT_BUILDERS.items()}
    card = described.card
    anatomy = {
        "backbone": {**card.architecture, **({"kind": kinds[card.target]} if card.target in kinds else {})},
        "exits": described.exits,
        "heads": [{"name": choice.name, "options": dict(choice.options)} for choice in described.heads],
        "classes": described.classes,
    }
    (folder / ANATOMY).write_text(json.dumps(anatomy, indent=1) + "\n", encoding="utf-8")


def read_model(weights: Path, anatomy: Path, device: torch.device) -> MultiExitModel:
    """The model that `write_model` wrote, in evaluation mode.

    Raises:
        StoreError: the description is invalid, or the weights do not fit it.
    """
    try:
        description = _Anatomy.model_validate_json(read_file(anatomy, ANATOMY_BYTES))
        with torch.device("meta"):  # without memory: the weights bound the size of the model
            expected = {name: tensor.shape for name, tensor in description.model().state_dict().items()}
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        message = first["msg"].removeprefix("Value error, ")
        raise StoreError(f"{anatomy}: not an imported model ({place}: {message})") from None
    except (ValueError, TypeError, ArithmeticError, RuntimeError, AssertionError) as error:  # of timm and torch
        raise StoreError(f"{anatomy}: no model can be built from it ({str(error)[:200]})") from None
    tensors = load_file(weights)
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    if shapes != expected:
        name = next(iter(sorted({name for name, _ in expected.items() ^ shapes.items()})))
        raise StoreError(
            f"{weights}: {name[:100]} has the shape {_shape(shapes.get(name))}, in {ANATOMY} {_shape(expected.get(name))}"
        )
    model = description.model()
    model.load_state_dict(tensors)
    return model.to(device).eval()


def _shape(shape: torch.Size | None) -> str:
    return "none" if shape is None else " x ".join(map(str, shape)) or "of a single number"

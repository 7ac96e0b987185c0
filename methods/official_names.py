"""Mapping from the parameter names of our models to those of the authors' checkpoints (falcon-xu/LGViT)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

Family = Literal["vit", "deit", "swin"]
# Parameters that no classifier uses, and buffers that the model rebuilds.
IGNORED = re.compile(r"^deit\.pooler\.dense\.(weight|bias)$|\.relative_position_index$")

_MIXING = {
    "lph": {
        "pointwise_in": "mlp.conv1.0", "norm_in": "mlp.conv1.2", "depthwise": "mlp.proj", "norm_depthwise": "mlp.proj_bn",
        "pointwise_out": "mlp.conv2.0", "norm_out": "mlp.conv2.1",
    },
    "gah": {"qkv": "mlp.qkv", "proj": "mlp.proj"},
    "convolution": {"convolution": "mlp.conv.0", "norm": "mlp.conv.2"},
    "self-attention": {"attention.qkv": "mlp.attention.", "attention.proj": "mlp.output.dense"},
}  # fmt: skip
_BLOCK = {
    "norm1": "layernorm_before", "norm2": "layernorm_after", "attn.qkv": "attention.attention.",
    "attn.proj": "attention.output.dense", "mlp.fc1": "intermediate.dense", "mlp.fc2": "output.dense",
}  # fmt: skip
_PARTS = ("query", "key", "value")


def head_sources(head: str, family: Family, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The authors' names of a head's parameters, without the prefix of the exit; several names are concatenated on axis 0."""
    if head == "linear":
        modules = _linear(family)
    elif head == "vit-ee":
        modules = {f"block.{ours}": f"layer.{theirs}" for ours, theirs in _BLOCK.items()}
        modules |= {f"head.{ours}": f"classifier.{theirs}" for ours, theirs in _linear(family).items()}
    else:
        modules = _MIXING[head] | {f"classifier.{ours}": theirs for ours, theirs in _classifier(family).items()}
    return {name: _parts(name, modules) for name in names}


def _classifier(family: Family) -> dict[str, str]:
    if family == "swin":
        return {"norm": "classifier.layernorm", "linears.0": "classifier.classifier"}
    if family == "deit":
        return {"linears.0": "cls_classifier", "linears.1": "distillation_classifier"}
    return {"linears.0": "classifier"}


def _linear(family: Family) -> dict[str, str]:
    if family == "swin":
        return {"norm": "layernorm", "linears.0": "classifier"}
    if family == "deit":
        return {"norm": "layernorm"} | _classifier(family)
    return {"pooler": "pooler.dense"} | _classifier(family)


def backbone_sources(family: Family, names: Iterable[str], stages: tuple[int, ...]) -> dict[str, tuple[str, ...]]:
    """The authors' names of a timm model's parameters ``names``, without buffers that the model rebuilds."""
    if family == "swin":
        modules = {
            "patch_embed.proj": "swin.embeddings.patch_embeddings.projection",
            "patch_embed.norm": "swin.embeddings.norm",
            "norm": "swin.layernorm",
            "head.fc": "classifier",
        }
        for s, blocks in enumerate(stages):
            if s:
                for part in ("norm", "reduction"):
                    modules[f"layers.{s}.downsample.{part}"] = f"swin.encoder.layers.{s - 1}.downsample.{part}"
            for i in range(blocks):
                ours, theirs = f"layers.{s}.blocks.{i}", f"swin.encoder.layers.{s}.blocks.{i}"
                modules |= {f"{ours}.{k}": f"{theirs}.{v.replace('attention.attention.', 'attention.self.')}"
                            for k, v in _BLOCK.items()}  # fmt: skip
        tables = "attention.self.relative_position_bias_table"
        sources: dict[str, tuple[str, ...]] = {}
        for name in names:
            if name.endswith("relative_position_bias_table"):
                block = name.removesuffix(".attn.relative_position_bias_table").removeprefix("layers.")
                sources[name] = (f"swin.encoder.layers.{block}.{tables}",)
            elif not name.endswith(("relative_position_index", "attn_mask")):
                sources[name] = _parts(name, modules)
        return sources
    modules = {"patch_embed.proj": "deit.embeddings.patch_embeddings.projection", "norm": "deit.layernorm"}
    modules |= {"head": "cls_classifier" if family == "deit" else "classifier", "head_dist": "distillation_classifier"}
    for i in range(stages[0]):
        modules |= {f"blocks.{i}.{ours}": f"deit.encoder.layer.{i}.{theirs}" for ours, theirs in _BLOCK.items()}
    tokens = {
        "cls_token": "deit.embeddings.cls_token",
        "dist_token": "deit.embeddings.distillation_token",
        "pos_embed": "deit.embeddings.position_embeddings",
    }
    return {name: (tokens[name],) if name in tokens else _parts(name, modules) for name in names}


def _parts(name: str, modules: dict[str, str]) -> tuple[str, ...]:
    """The authors' names of one parameter; a module name that ends in a dot stands for its query, key and value."""
    module, leaf = name.rsplit(".", 1)
    theirs = modules[module]
    return tuple(f"{theirs}{part}.{leaf}" for part in _PARTS) if theirs.endswith(".") else (f"{theirs}.{leaf}",)

"""The cost table of a multi-exit model, from one fvcore trace.

fvcore counts torch's fused attention as zero, so this module adds a handle for it. An operator that is neither counted nor
listed as negligible is an error. One trace with all exits gives the count of each module. A sample that exits at exit k costs
the stem, the blocks up to exit k, and the heads of all exits up to k.
"""

from __future__ import annotations

import re
from collections import Counter
from copy import deepcopy
from itertools import accumulate
from math import prod
from typing import Any, NamedTuple

import torch
from fvcore.nn import FlopCountAnalysis
from torch import Tensor, nn

from methods.api import BackboneCard
from methods.model import ExitHeads, MultiExitModel
from results.record import CostTable

LINEAR_CONV = frozenset({"linear", "conv"})
PRODUCTS = frozenset({"matmul", "bmm", "einsum", "addmm", "scaled_dot_product_attention"})
NORMS = frozenset({"layer_norm", "batch_norm", "group_norm"})
# Operators of timm's transformers with few or no multiply-accumulates.
NEGLIGIBLE = frozenset(
    f"aten::{name}"
    for name in (
        "add", "add_", "sub", "rsub", "mul", "mul_", "div", "neg", "mean", "sum", "pad", "gelu", "tanh", "relu", "sigmoid",
        "softmax", "unflatten", "exp", "sin", "cos", "clamp_min", "expand_as", "linalg_vector_norm", "meshgrid",
        "avg_pool2d", "amax", "max_pool2d", "silu", "ceil", "reshape_as", "repeat_interleave", "pow", "rsqrt", "rms_norm",
        "argsort", "fill_", "log", "scatter_add", "sort", "_upsample_bilinear2d_aa", "topk", "special_entr",
        "upsample_bilinear2d",
    )
)  # fmt: skip


class UncountedOperatorError(Exception):
    """The model runs an operator that has no count and is not listed as negligible."""


class Parts(NamedTuple):
    """MACs that are part of a cost table: of the gates in the early exits' heads, and of choosing tokens in the blocks."""

    gates: int
    token_choice: int


def cost_table(model: MultiExitModel, card: BackboneCard) -> CostTable:
    """The table of `counted`."""
    return counted(model, card)[0]


def counted(model: MultiExitModel, card: BackboneCard) -> tuple[CostTable, Parts]:
    """Trace the model on one image and count the MACs of every exit.

    Args:
        model: the model on the CPU; its weights are not used.
        card: card of its backbone.

    Raises:
        UncountedOperatorError: an operator is neither counted nor listed as negligible.
    """
    training = model.training
    model.eval()
    image = torch.zeros(1, card.channels, card.image_size, card.image_size)
    analysis = FlopCountAnalysis(_Traced(model).eval(), image)
    analysis.set_op_handle("aten::scaled_dot_product_attention", _attention_macs)
    if model.backbone.repeats_modules:
        analysis.ancestor_mode("caller")
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    by_module = analysis.by_module_and_operator()
    unknown = sorted(set(analysis.unsupported_ops()) - NEGLIGIBLE)
    model.train(training)
    if unknown:
        raise UncountedOperatorError(
            f"operators without a MAC count: {', '.join(unknown)}; add a handle or list them as negligible in {__name__}"
        )

    heads = [by_module.get(f"exit_heads.heads.{i}", Counter()) for i in range(len(model.exit_heads.exits))]
    blocks: list[Counter[str]] = [
        sum((by_module[name] for name in names), Counter()) for names in model.backbone.block_names()
    ]
    total = by_module[""]
    final: Counter[str] = sum((by_module[name] for name in model.backbone.classifier_names()), Counter())
    headline = LINEAR_CONV | PRODUCTS

    def table(operators: frozenset[str]) -> tuple[int, list[int], list[int]]:
        """MACs of the stem, of each block, and of each head with the final classifier last."""
        block_macs = [_count(counter, operators) for counter in blocks]
        head_macs = [_count(counter, operators) for counter in [*heads, final]]
        return _count(total, operators) - sum(block_macs) - sum(head_macs), block_macs, head_macs

    stem, per_block, per_head = table(headline)
    lean_stem, lean_blocks, lean_heads = table(LINEAR_CONV)
    exits = [*model.exit_heads.exits, len(blocks)]
    parameters = sum(parameter.numel() for parameter in model.parameters())
    apart = Parts(
        gates=_count(_matching(by_module, r"exit_heads\..*\.(gate|router)"), headline),
        token_choice=_count(_matching(by_module, r"backbone\.reducers\.\d+"), headline),
    )
    return CostTable(
        stem=stem,
        blocks=tuple(per_block),
        heads=tuple(per_head),
        cumulative=_cumulative(stem, per_block, per_head, exits),
        depth=len(per_block),
        baseline=stem + sum(per_block) + per_head[-1],
        norms=_count(total, NORMS),
        linear_conv_cumulative=_cumulative(lean_stem, lean_blocks, lean_heads, exits),
        linear_conv_baseline=lean_stem + sum(lean_blocks) + lean_heads[-1],
        parameters=parameters,
        heads_parameters=sum(parameter.numel() for parameter in model.exit_heads.parameters()),
        uncounted=tuple(sorted(analysis.unsupported_ops())),
    ), apart


class _Traced(MultiExitModel):
    """A model that returns all outputs, because fvcore traces only operators that an output depends on.

    Heads that share a module each have a copy of it, because fvcore counts a shared module only once.
    """

    def __init__(self, model: MultiExitModel) -> None:
        heads = ExitHeads(model.exit_heads.exits, ())
        heads.heads = nn.ModuleList(deepcopy(head) if head.shared else head for head in model.exit_heads.in_order)
        super().__init__(model.backbone, heads)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        outputs = self.forward_all(images)
        return (outputs.logits,) if outputs.errors is None else (outputs.logits, outputs.errors)


def _cumulative(stem: int, blocks: list[int], heads: list[int], exits: list[int]) -> tuple[int, ...]:
    """MACs of exiting at each exit: stem, blocks up to it, and all heads up to it."""
    evaluated_heads = accumulate(heads)
    return tuple(stem + sum(blocks[:block]) + head for block, head in zip(exits, evaluated_heads, strict=True))


def _matching(by_module: dict[str, Counter[str]], pattern: str) -> Counter[str]:
    """The counts of the modules with such names."""
    return sum((counter for name, counter in by_module.items() if re.fullmatch(pattern, name)), Counter())


def _count(counter: Counter[str], operators: frozenset[str]) -> int:
    return int(sum(count for operator, count in counter.items() if operator in operators))


def _attention_macs(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    """MACs of Q K^T and of the product with V, for q (..., N, D), k (..., M, D), v (..., M, E): batch * N * M * (D + E)."""
    query, key, value = (value.type().sizes() for value in inputs[:3])
    return Counter({"scaled_dot_product_attention": prod(query[:-1]) * key[-2] * (query[-1] + value[-1])})

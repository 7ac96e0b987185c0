"""Our heads are the official ones: same weights in, same numbers out, in evaluation and in training mode."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from methods.heads.gah import GlobalAggregationHead
from methods.heads.head import ExitHead
from methods.heads.linear import LinearHead
from methods.heads.lph import LocalPerceptionHead
from methods.tokens import Tokens
from tests.conftest import DATA

PREFIX = {"swin": 0, "vit": 1, "deit": 2}
HEADS: dict[str, tuple[type[ExitHead], dict[str, Any]]] = {
    "conv1_1": (LocalPerceptionHead, {"kernel": 3}),
    "conv2_1": (LocalPerceptionHead, {"kernel": 0}),
    "attention_r1": (GlobalAggregationHead, {"stride": 1}),
    "attention_r2": (GlobalAggregationHead, {"stride": 2}),
    "attention_r3": (GlobalAggregationHead, {"stride": 3}),
    "linear": (LinearHead, {}),
}
# Official name of a part, behind "mlp." or the wrapper, to ours.
MIXING = {
    "mlp.conv1.0": "pointwise_in",
    "mlp.conv1.2": "norm_in",
    "mlp.proj_bn": "norm_depthwise",
    "mlp.conv2.0": "pointwise_out",
    "mlp.conv2.1": "norm_out",
    "mlp.qkv": "qkv",
}
CLASSIFIERS = {
    "classifier.classifier": "linears.0",
    "classifier.layernorm": "norm",
    "cls_classifier": "linears.0",
    "distillation_classifier": "linears.1",
    "pooler.dense": "pooler",
    "layernorm": "norm",
    "classifier": "linears.0",
}


def translated(name: str, kind: str) -> str:
    """Our name of an official parameter."""
    part, leaf = name.rsplit(".", 1)
    if part == "mlp.proj":
        return f"{'proj' if kind.startswith('attention') else 'depthwise'}.{leaf}"
    if part in MIXING:
        return f"{MIXING[part]}.{leaf}"
    ours = CLASSIFIERS[part]
    return f"{ours}.{leaf}" if kind == "linear" else f"classifier.{ours}.{leaf}"


def golden(family: str, kind: str) -> tuple[ExitHead, Tokens, dict[str, Tensor]]:
    tensors = load_file(DATA / f"heads_{family}_d64_g7.safetensors")
    cls, options = HEADS[kind]
    head = cls(64, 10, 7, PREFIX[family], **options)
    weights = f"{kind}/weights/"
    head.load_state_dict(
        {translated(name[len(weights) :], kind): tensor for name, tensor in tensors.items() if name.startswith(weights)}
    )
    expected = {name.rsplit("/", 1)[1]: tensor for name, tensor in tensors.items() if name.startswith(f"{kind}/")}
    return head, Tokens(tensors["input"], 7, PREFIX[family]), expected


CASES = [(f, k) for f in PREFIX for k in HEADS if (f, k) != ("swin", "attention_r3")]


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_heads_equal_the_official_ones(family: str, kind: str) -> None:
    head, tokens, expected = golden(family, kind)
    if family == "swin":  # our tokens of Swin are a map; the official head takes the flattened one
        tokens = Tokens(tokens.values.unflatten(1, (7, 7)), 7)
    with torch.no_grad():
        torch.testing.assert_close(head.train()(tokens)[0], expected["train_logits"], atol=2e-5, rtol=0)
    head, _, _ = golden(family, kind)  # training mode has moved the running statistics
    with torch.no_grad():
        logits, feature = head.eval()(tokens)
    torch.testing.assert_close(logits, expected["eval_logits"], atol=2e-5, rtol=0)
    if family != "swin" or kind == "linear":  # the official Swin feature is the pooled vector
        torch.testing.assert_close(feature, expected["eval_feature"], atol=2e-5, rtol=0)


@pytest.mark.parametrize(
    ("cls", "options"), [(LocalPerceptionHead, {"kernel": 4}), (GlobalAggregationHead, {"stride": 8})]
)
def test_heads_that_do_not_fit_say_so(cls: type[ExitHead], options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"not {next(iter(options.values()))}"):
        cls(64, 10, 7, 1, **options)


def test_attention_needs_a_width_that_divides() -> None:
    with pytest.raises(ValueError, match="36 does not divide into 8"):
        GlobalAggregationHead(36, 10, 7, 1)

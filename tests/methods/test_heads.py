"""Our heads equal the official ones: the same weights give the same outputs, in evaluation and in training mode."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from benchmark.registry import table
from methods.backbones.backbone import BlockBackbone, FinalNorm
from methods.heads.class_patch_mean import ClassPatchMeanHead
from methods.heads.gah import GlobalAggregationHead
from methods.heads.head import ExitHead
from methods.heads.lph import LocalPerceptionHead
from methods.heads.self_attention import SelfAttentionHead
from methods.official_names import head_sources
from methods.tokens import Tokens
from tests.conftest import DATA

CLASS_TOKENS = {"swin": 0, "vit": 1, "deit": 2}
# Official head type to ours.
HEADS: dict[str, tuple[str, dict[str, Any]]] = {
    "conv1_1": ("lph", {"kernel": 3}),
    "conv2_1": ("lph", {"kernel": 0}),
    "attention_r1": ("gah", {"stride": 1}),
    "attention_r2": ("gah", {"stride": 2}),
    "attention_r3": ("gah", {"stride": 3}),
    "linear": ("linear", {}),
    "conv_normal": ("convolution", {}),
    "self_attention": ("self-attention", {"attention_heads": 4}),
    "vit_ee": ("vit-ee", {"attention_heads": 4, "mlp_ratio": 2.0}),
}
REQUIRED_OPTIONS = {"boosted": {"head": "lph", "options": {}, "head_version": 1, "first": False}}
ON_SWIN = ("conv1_1", "conv2_1", "attention_r1", "attention_r2", "linear")
ON_14 = ("conv1_1", "conv2_1", "attention_r1", "attention_r2", "attention_r3")


def golden(family: Any, kind: str, dim: int, grid: int) -> tuple[ExitHead, Tokens, dict[str, Tensor]]:
    tensors = load_file(DATA / f"heads_{family}_d{dim}_g{grid}.safetensors")
    name, options = HEADS[kind]
    head = table("head")[name].load()(dim, 10, grid, CLASS_TOKENS[family], **options)
    weights = {
        own_name: tensors[f"{kind}/weights/{sources[0]}"]
        if len(sources) == 1
        else torch.cat([tensors[f"{kind}/weights/{part}"] for part in sources])
        for own_name, sources in head_sources(name, family, head.state_dict()).items()
    }
    head.load_state_dict(weights)
    expected = {name.rsplit("/", 1)[1]: tensor for name, tensor in tensors.items() if name.startswith(f"{kind}/")}
    return head, Tokens(tensors["input"], grid, CLASS_TOKENS[family]), expected


class _Classifier(BlockBackbone):
    """The classifier of a backbone with five classes that reads the class tokens or, without any, the patches."""

    model = None
    embed = block = stage_end = block_names = classifier_names = None  # type: ignore[assignment]

    def classify(self, tokens: Tokens, norm: FinalNorm = "final") -> Tensor:
        read = tokens.class_tokens if tokens.prefix > tokens.registers else tokens.patches
        return read.mean(1)[:, :5]


CASES = [
    *((family, kind, 64, 7) for family in ("vit", "deit") for kind in HEADS),
    *(("swin", kind, 64, 7) for kind in ON_SWIN),
    *(("vit", kind, 96, 14) for kind in ON_14),
]


@pytest.mark.parametrize(("family", "kind", "dim", "grid"), CASES)
def test_heads_equal_the_official_ones(family: str, kind: str, dim: int, grid: int) -> None:
    head, tokens, expected = golden(family, kind, dim, grid)
    if family == "swin":  # our tokens of Swin are a map; the official head takes the flattened one
        tokens = Tokens(tokens.values.unflatten(1, (grid, grid)), grid)
    with torch.no_grad():
        torch.testing.assert_close(head.train()(tokens)[0], expected["train_logits"], atol=2e-5, rtol=0)
    head, _, _ = golden(family, kind, dim, grid)  # training mode has changed the running statistics
    with torch.no_grad():
        logits, feature = head.eval()(tokens)
    torch.testing.assert_close(logits, expected["eval_logits"], atol=2e-5, rtol=0)
    if family != "swin" or kind == "linear":  # the official Swin feature is the pooled vector
        torch.testing.assert_close(feature, expected["eval_feature"], atol=2e-5, rtol=0)


@pytest.mark.parametrize("class_tokens", [0, 1, 2])
def test_class_patch_mean_is_linear_on_what_its_name_says(class_tokens: int) -> None:
    head = ClassPatchMeanHead(8, 3, 2, class_tokens)
    values = torch.randn(5, class_tokens + 4, 8)
    parts = [values[:, i] for i in range(class_tokens)] + [values[:, class_tokens:].mean(1)]
    joined = torch.cat(parts, dim=1)
    normed = (joined - joined.mean(0)) / torch.sqrt(joined.var(0, correction=0) + 1e-5)
    logits, feature = head(Tokens(values, 2, class_tokens))
    torch.testing.assert_close(feature, normed, atol=1e-5, rtol=0)
    torch.testing.assert_close(logits, normed @ head.linear.weight.T, atol=1e-5, rtol=0)
    # A batch of one image is normalised by the running statistics, which it does not change.
    before = head.norm.running_mean.clone()
    alone, _ = head(Tokens(values[:1], 2, class_tokens))
    torch.testing.assert_close(alone, head.eval()(Tokens(values[:1], 2, class_tokens))[0])
    torch.testing.assert_close(head.norm.running_mean, before, atol=0, rtol=0)


@pytest.mark.parametrize("name", table("head"))
@pytest.mark.parametrize("grid", [3, 4, 7, 8])
@pytest.mark.parametrize("class_tokens", [0, 1, 2])
@pytest.mark.parametrize("registers", [0, 3])
def test_heads_work_on_any_square_grid_and_prefix(name: str, grid: int, class_tokens: int, registers: int) -> None:
    """A register token that no classifier reads affects the output only through attention over all tokens."""
    torch.manual_seed(0)
    head = table("head")[name].load()(16, 5, grid, class_tokens, **REQUIRED_OPTIONS.get(name, {})).eval()
    head.bind(_Classifier())
    values, previous = torch.randn(2, class_tokens + registers + grid**2, 16), torch.randn(2, 5)
    logits, _ = head.after(Tokens(values, grid, class_tokens + registers, registers), previous)
    assert logits.shape == (2, 5)
    if registers and name != "vit-ee":
        changed = values.clone()
        changed[:, class_tokens : class_tokens + registers] += 1
        other, _ = head.after(Tokens(changed, grid, class_tokens + registers, registers), previous)
        torch.testing.assert_close(other, logits)
    if class_tokens == 0 and registers == 0:
        as_map = Tokens(values.unflatten(1, (grid, grid)), grid)
        torch.testing.assert_close(head.after(as_map, previous)[0], logits)


@pytest.mark.parametrize(("grid", "stride", "subsampled", "averaged"), [
    (14, 2, 49, 49), (14, 3, 25, 16), (7, 2, 16, 9), (7, 3, 9, 4), (7, 1, 49, 49),
])  # fmt: skip
def test_both_kinds_of_downsampling_before_a_gah(grid: int, stride: int, subsampled: int, averaged: int) -> None:
    """The official pooling keeps every stride-th token; average pooling also gives another number of tokens."""
    tokens = Tokens(torch.randn(2, 1 + grid**2, 16), grid, 1)
    for pool, count in (("subsample", subsampled), ("average", averaged)):
        head = GlobalAggregationHead(16, 5, grid, 1, stride=stride, pool=pool)  # type: ignore[arg-type]
        _, feature = head(tokens)
        assert feature.shape == (2, count, 16)
        assert head.align(tokens.map).shape == feature.shape
    first = tokens.map[:, :, :stride, :stride].mean((2, 3))
    torch.testing.assert_close(head.align(tokens.map)[:, 0], first)


def test_a_gah_with_residual_adds_its_input() -> None:
    tokens = Tokens(torch.randn(2, 50, 16), 7, 1)
    torch.manual_seed(0)
    plain = GlobalAggregationHead(16, 5, 7, 1, stride=3)
    torch.manual_seed(0)
    residual = GlobalAggregationHead(16, 5, 7, 1, stride=3, residual=True)
    torch.testing.assert_close(residual(tokens)[1], plain(tokens)[1] + plain.align(tokens.map))


@pytest.mark.parametrize(
    ("cls", "options"), [(LocalPerceptionHead, {"kernel": 4}), (GlobalAggregationHead, {"stride": 8})]
)
def test_invalid_options_of_heads_are_errors(cls: type[ExitHead], options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"not {next(iter(options.values()))}"):
        cls(64, 10, 7, 1, **options)


def test_the_width_must_be_divisible_by_the_attention_heads() -> None:
    with pytest.raises(ValueError, match=r"36 .* 8 "):
        GlobalAggregationHead(36, 10, 7, 1)
    with pytest.raises(ValueError, match=r"36 .* 5 "):
        SelfAttentionHead(36, 10, 7, 1, attention_heads=5)

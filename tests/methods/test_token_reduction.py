"""ToMe and EViT: token counts and MACs of the published tables, vectors computed by hand, and the properties of merging."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from benchmark.evaluation.scores import ExitScores
from benchmark.measure.agreement import dynamic_agreement
from benchmark.measure.attention import attention_kernels
from benchmark.measure.price import price
from benchmark.training.reduced import reduced
from methods.api import Component
from methods.backbones import BACKBONES
from methods.backbones.vit import ViT
from methods.model import ExitHeads, MultiExitModel
from methods.policies.confidence import Confidence
from methods.reductions.evit import Reorganise, reducing_blocks
from methods.reductions.reduction import ReducedViT
from methods.reductions.tome import TokenMerging, match, merge, merge_counts
from methods.token_reduction import EViT, TokenReduction, ToMe
from methods.tokens import Tokens

TINY: dict[str, Any] = {"patch_size": 16, "embed_dim": 8, "num_heads": 2, "num_classes": 3, "mlp_ratio": 1}
WIDTHS = {"Ti": 192, "S": 384, "B": 768}


@pytest.fixture(scope="module")
def vit() -> ViT:
    """A ViT with 197 tokens and 12 blocks of width 8."""
    torch.manual_seed(0)
    return ViT(VisionTransformer(**TINY).eval())


def token_counts(vit: ViT, method: TokenReduction) -> list[int]:
    """The number of tokens after each block."""
    backbone = reduced(vit, method.component())
    with torch.no_grad():
        tokens = backbone.embed(torch.randn(1, 3, 224, 224))
        counts = []
        for number in range(1, backbone.depth + 1):
            tokens = backbone.block(number, tokens)
            counts.append(tokens.values.shape[1])
            if isinstance(method, ToMe):
                assert tokens.sizes is not None
                assert float(tokens.sizes.sum()) == 197
    return counts


def giga_macs(counts: list[int], width: int) -> float:
    """MACs of a ViT/16 for 1000 classes, without the work of the reduction itself, in 10^9."""
    blocks = (4 * n * width**2 + 2 * n**2 * width + 8 * m * width**2 for n, m in pairwise([197, *counts]))
    return (196 * 768 * width + sum(blocks) + width * 1000) / 1e9


@pytest.mark.parametrize(("r", "slope", "counts", "macs"), [
    (4, 0, list(range(193, 148, -4)), (1.0859, 4.0015, 15.3214)),
    (8, 0, list(range(189, 100, -8)), (0.9244, 3.4165, 13.1039)),
    (13, 0, list(range(184, 40, -13)), (0.7312, 2.7027, 10.3670)),
    (16, 0, [*range(181, 20, -16), 11], (0.6217, 2.2909, 8.7718)),
    (16, -1, [165, 136, 110, 87, 67, 50, 36, 25, 17, 12, 10, 10], (0.4210, 1.5386, 5.8636)),
])  # fmt: skip
def test_token_counts_and_macs_of_tome(
    vit: ViT, r: int, slope: float, counts: list[int], macs: tuple[float, ...]
) -> None:
    assert token_counts(vit, ToMe(r=r, slope=slope)) == counts
    assert tuple(round(giga_macs(counts, width), 4) for width in WIDTHS.values()) == macs


@pytest.mark.parametrize(("keep", "fused", "dropped", "macs"), [
    (0.9, [179, 163, 148], [178, 161, 145], (1.0920, 4.0219, 15.3953)),
    (0.8, [159, 129, 105], [158, 127, 102], (0.9420, 3.4772, 13.3268)),
    (0.7, [140, 100, 72], [139, 98, 69], (0.8207, 3.0293, 11.6100)),
    (0.6, [120, 74, 46], [119, 72, 44], (0.7154, 2.6353, 10.0883)),
    (0.5, [100, 52, 28], [99, 50, 26], (0.6292, 2.3088, 8.8196)),
])  # fmt: skip
def test_token_counts_and_macs_of_evit(
    vit: ViT, keep: float, fused: list[int], dropped: list[int], macs: tuple[float, ...]
) -> None:
    counts = [197] * 3 + [count for count in fused for _ in range(3)]
    assert token_counts(vit, EViT(keep=keep)) == counts
    assert token_counts(vit, EViT(keep=keep, fuse=False))[3::3] == dropped
    assert tuple(round(giga_macs(counts, width), 4) for width in WIDTHS.values()) == macs


def test_merge_counts_fall_or_rise_over_the_depth() -> None:
    assert merge_counts(16, -1, 12) == (32, 29, 26, 23, 20, 17, 14, 11, 8, 5, 2, 0)
    assert merge_counts(3, 0, 4) == (3, 3, 3, 3)
    assert merge_counts(2, 1, 3) == (0, 2, 4)


@pytest.mark.parametrize(("method", "extra"), [
    # Products of even and odd tokens: the last block begins with 6 tokens, of which 2 are merged.
    (ToMe(r=4), sum((n + 1) // 2 * (n // 2) for n in range(50, 5, -4)) * 16),
    # Products of the class token's query with all keys, in three blocks.
    (EViT(keep=0.5), (50 + 27 + 15) * 32),
])  # fmt: skip
def test_counted_macs_are_those_of_the_tokens_and_of_the_reduction(method: TokenReduction, extra: int) -> None:
    name, width = "vit_nano_patch4_28", 32
    torch.manual_seed(0)
    backbone = BACKBONES[name].load()(BACKBONES[name].architecture, 10)
    counts = [50]
    tokens = (network := reduced(backbone, method.component())).embed(torch.zeros(1, 1, 28, 28))
    for number in range(1, 13):
        counts.append((tokens := network.block(number, tokens)).values.shape[1])
    costs = price(name, method, (), 10)
    blocks = [4 * n * width**2 + 2 * n**2 * width + 8 * m * width**2 for n, m in pairwise(counts)]
    assert sum(costs.blocks) == sum(blocks) + extra
    assert costs.stem == 49 * 16 * width
    assert costs.cumulative == (costs.stem + sum(costs.blocks) + costs.heads[0],)
    assert costs.baseline > costs.cumulative[0]
    assert costs.parameters == sum(parameter.numel() for parameter in backbone.parameters())


def test_matching_and_merging_by_hand() -> None:
    metric = torch.tensor([[[1, 0], [1, 0], [0.8, 0.6], [0, 1], [0.28, 0.96]]])
    staying, merged, targets = match(metric, 1, 1)
    assert (staying.tolist(), merged.tolist(), targets.tolist()) == ([[0, 1]], [[2]], [[1]])
    values = torch.tensor([[[10.0], [11], [12], [13], [14]]])
    assert merge(values, staying, merged, targets, 1)[0, :, 0].tolist() == [10, 12, 11, 27]
    assert [part.tolist() for part in match(metric, 2, 1)] == [[[0]], [[2, 1]], [[1, 0]]]


def test_several_tokens_can_be_merged_into_one_and_the_class_token_stays() -> None:
    metric = torch.tensor([[[0.0, 1], [0, 1], [0.1, 1], [-1, 0], [0.2, 1], [-1, 0.2]]])
    staying, merged, targets = match(metric, 2, 1)
    assert (staying.tolist(), sorted(merged[0].tolist()), targets.tolist()) == ([[0]], [1, 2], [[0, 0]])


def test_both_class_tokens_of_a_distilled_model_stay_in_front() -> None:
    metric = torch.ones(1, 7, 2)
    staying, merged, targets = match(metric, 2, 2)
    assert 0 not in merged[0].tolist()
    assert 0 not in targets[0].tolist()
    values = torch.arange(7.0)[None, :, None]
    assert merge(values, staying, merged, targets, 2)[0, :2, 0].tolist() == [0, 1]
    distilled = ViT(VisionTransformerDistilled(**TINY).eval())
    assert token_counts_of_prefix_2(distilled) == [198 - 8 * block for block in range(1, 13)]


def token_counts_of_prefix_2(vit: ViT) -> list[int]:
    backbone, counts = ReducedViT(vit, TokenMerging(r=8)), []
    tokens = backbone.embed(torch.zeros(1, 3, 224, 224))
    for number in range(1, 13):
        counts.append((tokens := backbone.block(number, tokens)).values.shape[1])
    assert backbone.classify(tokens).shape == (1, 3)
    return counts


def test_merged_equal_tokens_count_as_often_as_before() -> None:
    """With attention by size, merging equal tokens does not change the result; without it, it does."""
    torch.manual_seed(0)
    vit = ViT(VisionTransformer(**TINY | {"embed_dim": 16}, depth=2, img_size=48, pos_embed="none").eval())
    patches = torch.randn(2, 5, 16).repeat_interleave(2, dim=1)[:, :9]  # equal neighbours: an odd and an even position
    values = torch.cat([torch.randn(2, 1, 16), patches], dim=1)
    tokens = Tokens(values, 3, 1)

    def class_token(backbone: ViT) -> Tensor:
        result = tokens
        for number in (1, 2):
            result = backbone.block(number, result)
        return result.class_tokens

    with torch.no_grad():
        whole = class_token(vit)
        by_size = class_token(ReducedViT(vit, TokenMerging(r=1)))
        equal = class_token(ReducedViT(vit, TokenMerging(r=2, slope=-1, proportional=False)))
    torch.testing.assert_close(by_size, whole, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(equal, whole, atol=1e-4)


def test_reorganisation_by_hand() -> None:
    values = torch.tensor([[[5.0], [1], [2], [3], [4]]])
    queries = torch.tensor([[[[1.0]] + [[0.0]] * 4]])
    shares = torch.tensor([0.2, 0.1, 0.4, 0.05, 0.25])  # attention of the class token
    keys = shares.log()[None, None, :, None]
    fused = Reorganise(0.5, True)(Tokens(values, 2, 1), queries, keys, 1.0)
    torch.testing.assert_close(fused.values[0, :, 0], torch.tensor([5, 2, 4, 0.1 * 1 + 0.05 * 3]))
    dropped = Reorganise(0.5, False)(Tokens(values, 2, 1), queries, keys, 1.0)
    assert dropped.values[0, :, 0].tolist() == [5, 2, 4]
    with pytest.raises(ValueError, match="grid"):
        _ = fused.map
    assert reducing_blocks(12) == (4, 7, 10)


@pytest.mark.parametrize("component", [Component("tome", {"r": 3}), Component("evit", {"keep": 0.6})])
def test_a_reduced_model_learns_and_its_dynamic_inference_is_its_scores(vit: ViT, component: Component) -> None:
    model = MultiExitModel(reduced(vit, component), ExitHeads((), ())).eval()
    assert model.backbone.state_dict().keys() == vit.state_dict().keys()
    images = torch.randn(3, 3, 224, 224)
    logits = model(images)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in vit.model.blocks.parameters())
    vit.zero_grad()
    stored = ExitScores(logits.detach(), torch.zeros(3, dtype=torch.int64), torch.arange(3))
    check = dynamic_agreement(model, Confidence(threshold=0), images, stored)
    assert check.within()
    assert check.moved == 0
    assert attention_kernels(model, images)


def test_a_backbone_that_cannot_lose_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'swin'.*grid of patches"):
        ToMe().token_reduction(BACKBONES["swin_nano_patch2_window7_28"])
    average = ViT(VisionTransformer(**TINY, depth=1, global_pool="avg"))
    with pytest.raises(ValueError, match=r"class token.*'avg'"):
        ReducedViT(average, TokenMerging(r=1))
    for mistake in ({"r": 0}, {"slope": 2}):
        with pytest.raises(ValueError, match=next(iter(mistake))):
            ToMe(**mistake)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="keep"):
        EViT(keep=1)

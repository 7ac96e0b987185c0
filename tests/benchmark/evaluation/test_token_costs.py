"""MACs of models whose tokens leave, by the numbers of tokens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmark.evaluation.token_costs import mean_costs
from benchmark.measure.cost import cost_table
from benchmark.measure.price import price
from benchmark.registry import table
from methods.api import SEGMENTATION
from methods.model import ExitHeads, MultiExitModel
from methods.tasks import get_task
from methods.token_exit import TokenExit
from methods.vanilla import Vanilla

TASK = get_task(SEGMENTATION)
NANO = table("backbone")["vit_nano_patch4_28"]
EXITS, CLASSES = (3, 6), 4


def vit_macs(tokens: int, width: int) -> int:
    return 12 * tokens * width**2 + 2 * tokens**2 * width


def test_with_all_tokens_the_costs_are_those_of_the_model_with_exits() -> None:
    whole = price("vit_nano_patch4_28", TokenExit(), EXITS, CLASSES, SEGMENTATION)
    assert whole == price("vit_nano_patch4_28", Vanilla(), EXITS, CLASSES, SEGMENTATION)
    same = mean_costs(whole, np.full((3, 12), 50), NANO, EXITS)
    assert same.cumulative == (whole.cumulative[-1],)
    assert same.linear_conv_cumulative == (whole.linear_conv_cumulative[-1],)
    assert same.heads == (whole.heads[-1],)
    assert same.blocks[2] == whole.blocks[2] + whole.heads[0]
    assert same.reduced_tokens


@pytest.mark.parametrize("side", [12, 20])
def test_the_costs_of_fewer_tokens_are_those_that_fvcore_counts(side: int) -> None:
    """A ViT on smaller images runs on fewer tokens in all blocks."""
    fewer = (side // 4) ** 2 + 1
    costs = price("vit_nano_patch4_28", TokenExit(), EXITS, CLASSES, SEGMENTATION)
    found = mean_costs(costs, np.full((1, 12), fewer), NANO, EXITS)
    architecture = NANO.architecture | {"img_size": side}
    smaller = replace(NANO, architecture=architecture, image_size=side, grids=(side // 4,) * 12)
    heads = [TASK.head(table("head")["linear"].load(), 32, CLASSES, side // 4, 1, {}) for _ in EXITS]
    model = MultiExitModel(TASK.backbone(smaller.load(), architecture, CLASSES), ExitHeads(EXITS, heads), TASK)
    counted = cost_table(model, smaller)
    assert found.heads[0] == counted.heads[-1]
    assert sum(found.blocks) == sum(counted.blocks) + sum(counted.heads[:-1])
    assert found.linear_conv_cumulative[0] - found.stem == counted.linear_conv_cumulative[-1] - counted.stem


def test_images_of_different_length_cost_their_mean() -> None:
    whole = price("vit_nano_patch4_28", TokenExit(), EXITS, CLASSES, SEGMENTATION)
    tokens = np.array([[50] * 3 + [20] * 9, [50] * 6 + [11] * 6])
    found = mean_costs(whole, tokens, NANO, EXITS)
    head = 32 * CLASSES
    alone = [
        3 * vit_macs(50, 32) + 9 * vit_macs(20, 32) + head * (49 + 19 + 19),
        6 * vit_macs(50, 32) + 6 * vit_macs(11, 32) + head * (49 + 49 + 10),
    ]
    assert found.cumulative[0] == pytest.approx(whole.stem + sum(alone) / 2, abs=10)  # each block is rounded
    assert found.cumulative[0] == found.stem + sum(found.blocks) + found.heads[0]


@pytest.mark.parametrize(("share", "giga"), [(0.0, 106.90), (0.3, 88.9), (0.5, 77.9)])
def test_vit_b_at_512_pixels_without_a_class_token(share: float, giga: float) -> None:
    """12 blocks on 1024 tokens of width 768, of which a share leaves after block 6; the heads are not counted."""
    card = replace(table("backbone")["vit_base_patch16_224"], grids=(32,) * 12, prefix_tokens=0)
    stem, blocks = 16 * 16 * 3 * 768 * 1024, (vit_macs(1024, 768),) * 12
    whole = price("vit_nano_patch4_28", Vanilla(), EXITS, CLASSES, SEGMENTATION).model_copy(
        update={"stem": stem, "blocks": blocks, "heads": (0, 0), "cumulative": (1, 1)}
    )
    tokens = np.array([[1024] * 6 + [round(1024 * (1 - share))] * 6])
    assert mean_costs(whole, tokens, card, (6,)).cumulative[0] / 1e9 == pytest.approx(giga, abs=0.05)

"""Operating points on val and test drawn anew."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmark import registry
from benchmark.evaluation.evaluate import accuracies, choose, look_up, prepare
from benchmark.evaluation.redraw import redraw
from benchmark.evaluation.scores import ExitScores
from benchmark.evaluation.sweep import decide, without_exits
from benchmark.measure.price import price
from results.operating_point import Redrawn
from results.record import CostTable
from results.spec import Configured

BLOCKS = [4, 8, 12]
DROPS = (0.0, 0.02, 0.1)


@pytest.fixture(scope="module")
def costs() -> CostTable:
    return price("vit_nano_patch4_28", registry.configured("method", "lgvit", {}), (4, 8), 10)


def scores(samples: int, seed: int) -> ExitScores:
    """Three exits, of which a deeper one is more often right."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 10, (samples,), generator=generator)
    signal = torch.nn.functional.one_hot(labels, 10) * torch.tensor([1.5, 2.5, 4.0])[:, None, None]
    return ExitScores(torch.randn(3, samples, 10, generator=generator) + signal, labels, torch.arange(samples))


def only_final(of_split: ExitScores) -> ExitScores:
    return replace(of_split, logits=of_split.logits[-1:])


def intervals(
    val: ExitScores, test: ExitScores, costs: CostTable, static: dict[str, ExitScores] | None = None
) -> dict[float, Redrawn]:
    own = {"val": val, "test": test}
    policy, settings = prepare(Configured(name="confidence"), val, costs)
    reference = static or {split: only_final(of_split) for split, of_split in own.items()}
    of_val, of_test = (decide(policy, of_split, settings) for of_split in own.values())
    references = [without_exits(reference[split], of_split) for split, of_split in own.items()]
    return redraw(of_val, of_test, references, costs, BLOCKS, DROPS)


def test_the_results_lie_in_their_intervals_which_are_the_same_again(costs: CostTable) -> None:
    val, test = scores(400, 0), scores(500, 1)
    first = intervals(val, test, costs)
    assert first == intervals(val, test, costs)
    policy, settings = prepare(Configured(name="confidence"), val, costs)
    sweeps = {"val": decide(policy, val, settings).sweep(), "test": decide(policy, test, settings).sweep()}
    chosen = choose(sweeps["val"], costs, accuracies(val)[-1], DROPS, ())
    static = accuracies(test)[-1]
    for point in look_up("confidence", chosen, sweeps, costs, BLOCKS):
        assert point.test is not None
        interval = first[point.target]
        for value, (low, high) in (
            (static - point.test.accuracy, interval.drop),
            (12 / point.test.mean_block, interval.layer_speedup),
            (costs.baseline / point.test.mean_macs, interval.mac_speedup),
        ):
            assert low <= value <= high


def test_a_small_val_split_makes_the_speed_up_uncertain(costs: CostTable) -> None:
    test = scores(2000, 1)
    widths = [np.ptp(intervals(scores(size, 2), test, costs)[0.02].mac_speedup) for size in (100, 2000)]
    assert widths[0] > 2 * widths[1]


def test_the_order_of_the_backbones_samples_does_not_matter(costs: CostTable) -> None:
    val, test = scores(200, 0), scores(200, 1)
    turned = {
        split: ExitScores(of_split.logits[-1:].flip(1), of_split.labels.flip(0), of_split.sample_id.flip(0))
        for split, of_split in (("val", val), ("test", test))
    }
    assert intervals(val, test, costs, turned) == intervals(val, test, costs)


def test_a_drop_that_few_draws_reach_has_no_interval(costs: CostTable) -> None:
    val = scores(200, 0)
    better = ExitScores(val.logits[-1:] * 0 + torch.nn.functional.one_hot(val.labels, 10), val.labels, val.sample_id)
    assert 0.0 not in intervals(val, val, costs, {"val": better, "test": better})

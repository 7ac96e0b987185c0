"""Speed-up at equal accuracy: by hand, by simulation, and over runs."""

from __future__ import annotations

import numpy as np
import pytest

from results.stats import iso_accuracy as module
from results.stats.iso_accuracy import Corners, IsoAccuracy, costs_to_reach, iso_accuracy
from results.store.folder import Store
from results.tables.iso_accuracy import iso_table
from results.tables.loading import load_runs
from results.tables.run import STATIC
from tests.conftest import SmokeRun


def cost_to_reach(cost: np.ndarray, accuracy: np.ndarray, target: float) -> float:
    """The smallest cost of a method with these corners, [H], and this accuracy."""
    corners, static = Corners(accuracy[:, None], cost[:, None]), np.array([target])
    return float(costs_to_reach([corners], [static], 0.0)[0][0])


def test_the_cost_of_an_accuracy_by_hand() -> None:
    cost, accuracy = np.array([1.0, 0.5, 0.8]), np.array([0.9, 0.6, 0.8])
    assert cost_to_reach(cost, accuracy, 0.5) == 0.5
    assert cost_to_reach(cost, accuracy, 0.7) == pytest.approx(0.65)
    assert cost_to_reach(cost, accuracy, 0.9) == 1.0
    assert np.isnan(cost_to_reach(cost, accuracy, 0.91))


def method(rng: np.random.Generator, samples: int, accuracies: list[float], costs: list[float]) -> Corners:
    difficulty = rng.random(samples)
    right = np.stack([difficulty < accuracy for accuracy in accuracies])
    return Corners(right, np.repeat(np.array(costs)[:, None], samples, axis=1))


def compared(first: Corners, second: Corners, static: np.ndarray, drop: float, seed: int = 0) -> IsoAccuracy:
    return iso_accuracy(*costs_to_reach([first, second], [static, static], drop, seed=seed))


def test_the_interval_covers_the_true_speed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first method reaches accuracy 0.8 at cost 0.5 and the second at cost 0.75, so the true speed-up is 1.5."""
    monkeypatch.setattr(module, "REPLICATES", 300)
    rng = np.random.default_rng(0)
    hits = []
    for i in range(150):
        first = method(rng, 800, [0.7, 0.9], [0.4, 0.6])
        second = method(rng, 800, [0.7, 0.9], [0.5, 1.0])
        static = rng.random(800) < 0.81
        speedup = compared(first, second, static, 0.01, seed=i)
        hits.append(speedup.low <= 1.5 <= speedup.high)
    assert 0.90 <= np.mean(hits) <= 0.99


def test_an_interval_without_width_is_not_given() -> None:
    costs = np.full(1001, 0.5)
    speedup = iso_accuracy(costs, np.ones(1001))
    assert speedup.speedup == 2
    assert np.isnan([speedup.low, speedup.high]).all()


def test_points_that_are_not_reached() -> None:
    rng = np.random.default_rng(1)
    static = np.arange(500) < 400
    good, bad = method(rng, 500, [0.9], [0.5]), method(rng, 500, [0.3], [0.1])
    speedup = compared(bad, good, static, 0.01)
    assert np.isnan(speedup.speedup)
    assert (speedup.low, speedup.high, speedup.unreached) == (0.0, np.inf, 1.0)
    # Near its highest accuracy, some replicates reach the target and some do not.
    edge = Corners(static[None].copy(), np.full((1, 500), 0.5))
    edge.values[0, rng.permutation(400)[:5]] = False
    speedup = compared(edge, good, static, 0.01)
    assert 0.2 < speedup.unreached < 0.8
    assert (speedup.low, speedup.high) == (0.0, np.inf)


def test_a_method_against_itself_has_speed_up_one() -> None:
    rng = np.random.default_rng(2)
    same = method(rng, 300, [0.6, 0.9], [0.4, 1.0])
    speedup = compared(same, same, np.arange(300) < 240, 0.02)
    assert (speedup.speedup, speedup.unreached) == (1.0, 0.0)
    assert np.isnan([speedup.low, speedup.high]).all()  # no interval of zero width


def test_methods_computed_together_equal_each_alone() -> None:
    rng = np.random.default_rng(3)
    methods = [
        method(rng, 400, accuracies, [0.3, 0.7, 1.0][: len(accuracies)]) for accuracies in ([0.9], [0.5, 0.7, 0.9])
    ]
    static = [rng.random(400) < share for share in (0.7, 0.8)]
    together = costs_to_reach(methods, static, 0.02)
    for i, result in enumerate(together):
        np.testing.assert_array_equal(result, costs_to_reach([methods[i]], [static[i]], 0.02)[0])


def test_the_table_over_runs_equals_an_independent_computation(smoke: SmokeRun) -> None:
    store = Store(smoke.results)
    runs, _ = load_runs(store, store.run_ids())
    table = iso_table(runs)
    assert len(table) == 4 + 6
    assert ((table["unreached"] >= 0) & (table["unreached"] <= 1)).all()
    run = next(run for run in runs if run.method == "lgvit")
    costs = run.record.costs
    assert costs is not None
    # Slow computation: mean accuracy and cost of each corner, then the first segment that reaches the target accuracy.
    corners = []
    for _, rows in run.corners.groupby("threshold"):
        macs = [costs.cumulative[k] for k in rows["exit"]]
        corners.append((sum(macs) / len(macs) / costs.baseline, rows["right"].sum() / len(rows)))
    corners.sort()
    target = run.values(STATIC).mean() - 0.01
    before, after = None, None
    for corner in corners:
        if corner[1] >= target:
            after = corner
            break
        before = corner
    assert after is not None  # without early exits, the accuracy is that of static
    cost = after[0]
    if before is not None:
        cost = before[0] + (target - before[1]) / (after[1] - before[1]) * (after[0] - before[0])
    row = table[(table["first"] == "lgvit") & (table["second"] == STATIC)].iloc[0]
    assert row["speedup"] == pytest.approx(1 / cost)
    rounding = 1e-5  # if all samples exit at the first exit, replicates differ only by rounding
    assert row["low"] * (1 - rounding) <= row["speedup"] <= row["high"] * (1 + rounding)

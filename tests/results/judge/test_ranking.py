"""Rankings: over seeds, and only beyond the detectable difference."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.judge.contrast import contrast
from results.judge.ranking import best_and_second, is_told_apart, leads, pooled
from results.stats.statistics import over_seeds
from results.store.folder import Store
from results.tables.loading import load_runs
from results.tables.points import comparisons
from tests.conftest import SmokeRun

COLUMNS = ["first", "second", "seed", "difference", "low", "high", "detectable"]


def pairs(*rows: tuple[str, str, int, float, float, float, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=COLUMNS).assign(kind="equal-macs", target=0.5)


def test_one_seed_keeps_its_interval_over_test_samples() -> None:
    row = pooled(pairs(("a", "b", 0, 0.03, 0.01, 0.05, 0.02))).iloc[0]
    assert (row["difference"], row["low"], row["high"], row["detectable"]) == (0.03, 0.01, 0.05, 0.02)


def test_several_seeds_have_an_interval_over_seeds_in_either_order() -> None:
    same = pairs(
        ("a", "b", 0, 0.03, 0.02, 0.04, 0.01), ("a", "b", 1, 0.05, 0.04, 0.06, 0.01), ("a", "b", 2, 0.04, 0, 1, 0)
    )
    turned = pairs(
        ("a", "b", 0, 0.03, 0.02, 0.04, 0.01), ("b", "a", 1, -0.05, -0.06, -0.04, 0.01), ("a", "b", 2, 0.04, 0, 1, 0)
    )
    low, high = over_seeds([0.03, 0.05, 0.04])
    for table in (same, turned):
        (row,) = pooled(table).to_dict("records")
        assert (row["first"], row["second"], row["seeds"]) == ("a", "b", 3)
        assert (row["difference"], row["low"], row["high"]) == pytest.approx((0.04, low, high))
        assert row["detectable"] > (high - low) / 2  # power asks for more than an interval that excludes zero


def test_the_best_leads_all_and_the_second_all_but_it() -> None:
    clear = [
        ("a", "b", 0, 0.1, 0.09, 0.11, 0.01),
        ("a", "c", 0, 0.2, 0.19, 0.21, 0.01),
        ("b", "c", 0, 0.1, 0.09, 0.11, 0.01),
    ]
    assert best_and_second(pairs(*clear), ["a", "b", "c"]) == ("a", "b")
    tied = [*clear[:2], ("b", "c", 0, 0.1, 0.09, 0.11, 0.2)]
    assert best_and_second(pairs(*tied), ["a", "b", "c"]) == ("a", None)
    assert best_and_second(pairs(("a", "b", 0, 0.1, -0.01, 0.2, 0.05), *clear[1:]), ["a", "b", "c"]) == (None, None)
    assert best_and_second(pairs(clear[0]), ["a", "b"]) == ("a", None)


@given(st.permutations("abcde"), st.floats(0.001, 0.2), st.floats(0.0, 0.3))
def test_at_most_one_leads_and_never_one_within_the_detectable_difference(
    order: list[str], step: float, detectable: float
) -> None:
    rank = {name: i for i, name in enumerate(order)}
    rows = []
    for i, first in enumerate("abcde"):
        for second in "abcde"[i + 1 :]:
            value = step * (rank[second] - rank[first])
            rows.append((first, second, 0, value, value - 0.0005, value + 0.0005, detectable))
    table = pairs(*rows)
    leaders = [name for name in "abcde" if leads(table, name)]
    assert leaders == ([order[0]] if is_told_apart(step, step - 0.0005, step + 0.0005, detectable) else [])


def test_a_contrast_is_the_comparison_of_the_same_images(smoke: SmokeRun) -> None:
    store = Store(smoke.results)
    runs, _ = load_runs(store, store.run_ids())
    lgvit, vanilla = (next(run for run in runs if run.method == name) for name in ("lgvit", "vanilla"))
    point = "confidence/equal-macs-0.75"
    result = contrast([(lgvit, point)], [(vanilla, point)])
    rows = comparisons([lgvit, vanilla])
    row = rows[(rows["kind"] == "equal-macs") & (rows["target"] == 0.75)].iloc[0]
    assert result is not None
    sign = 1 if row["first"] == "lgvit" else -1
    assert result.estimate.value == pytest.approx(sign * row["difference"])
    assert result.detectable == pytest.approx(row["detectable"])
    alone = contrast([(lgvit, point)], [(lgvit, point)])
    assert alone is not None
    assert (alone.estimate.value, alone.told_apart) == (0, False)
    assert np.isclose(result.estimate.high - result.estimate.low, row["high"] - row["low"], rtol=1e-6)

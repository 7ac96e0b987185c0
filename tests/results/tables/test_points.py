from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from benchmark import registry
from benchmark.grid.load import grid_of
from results.store.folder import Store
from results.tables.loading import load_runs
from results.tables.points import comparable, points, timed_seeds
from results.tables.run import ORDERED
from tests.grids import tiny_grid
from tests.made_up_runs import make_finished


@pytest.mark.parametrize(
    ("devices", "named"),
    [
        (["a CPU", "", ""], "seed 0"),
        (["a CPU", None, "a CPU"], "seeds 0, 2"),
        (["a CPU", "a CPU", "a CPU"], ""),
        (["", None, ""], ""),
    ],
)
def test_seeds_are_named_where_not_all_were_timed(devices: list[str | None], named: str) -> None:
    assert timed_seeds(pd.DataFrame({"seed": [0, 1, 2], "time_device": devices})) == named


def test_policies_whose_decisions_depend_on_earlier_images_are_compared_with_nothing() -> None:
    cards = registry.table("policy")
    assert {name for name, card in cards.items() if card.load().ordered} == set(ORDERED)
    first, second = (
        SimpleNamespace(record=SimpleNamespace(run_id=run_id, own_policy=own))
        for run_id, own in (("a", "confidence"), ("b", "entropy"))
    )

    def compared(one: Any, policy: str, other: Any, against: str) -> bool:
        return comparable(one, policy, other, against)

    assert compared(first, "confidence", second, "entropy")
    assert compared(first, "margin", first, "confidence")
    assert not compared(first, "margin", second, "entropy")
    for policy in ("running-quantile", "running-quantile(order=1)"):
        assert not compared(first, policy, second, policy)
        assert not compared(first, policy, first, "confidence")


def test_intervals_with_val_drawn_anew_contain_the_speed_up_also_of_a_model_that_runs_its_blocks_twice(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path / "results")
    make_finished(grid_of(tiny_grid(methods=["two-resolutions", "vanilla"]), tmp_path / "grid.yaml"), store)
    runs, _ = load_runs(store, store.run_ids())
    rows = points(runs).dropna(subset=["layer_redrawn_low"])
    assert set(rows["method"]) == {"two-resolutions", "vanilla"}
    assert (rows["layer_redrawn_low"] <= rows["layer_speedup"]).all()
    assert (rows["layer_speedup"] <= rows["layer_redrawn_high"]).all()

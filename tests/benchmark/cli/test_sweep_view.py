"""The legend of `sweep` explains the columns that are shown, and no others."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from benchmark.cli import main
from benchmark.cli.sweep_view import LEGEND, NOT_REACHED, points
from benchmark.errors import UserError
from results.metric import MIOU

ROW = {
    "dataset": "d", "metric": "accuracy",
    "method": "lgvit", "policy": "confidence", "point": "equal-macs", "target": 0.5, "thresholds": "0.5", "accuracy": 0.8,
    "drop": 0.01, "mean_block": 6.0, "layer_speedup": 2.1, "mac_speedup": 2.0, "budget_drift": 1.0, "falls_0.1": 0.2,
}  # fmt: skip


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_legend_is_that_of_the_columns(width: int) -> None:
    lines = points(pd.DataFrame([ROW]), width)
    heading, text = lines[0].split(), " ".join(lines)
    for name, sentence in LEGEND.items():
        assert (sentence in text) is (name in heading)
    assert NOT_REACHED not in text


def test_a_point_that_is_not_reached_has_a_reason() -> None:
    missed = ROW | {"policy": "pcee", "accuracy": np.nan, "drop": np.nan}
    lines = points(pd.DataFrame([ROW, missed]), 80)
    assert NOT_REACHED in " ".join(lines)
    assert "-" in lines[2].split()
    # No row has thresholds, so the column holds missing numbers.
    lines = points(pd.DataFrame([missed | {"thresholds": np.nan}]), 80)
    assert NOT_REACHED in " ".join(lines)


def test_runs_of_two_tasks_are_told_apart() -> None:
    lines = points(pd.DataFrame([ROW, ROW | {"dataset": "scenes", "metric": "mIoU"}]), 200)
    first, second = lines.index("d:"), lines.index("scenes:")
    assert "accuracy" in lines[first + 1].split()
    assert "mIoU" in lines[second + 1].split()
    assert all(LEGEND[name] in " ".join(lines) for name in ("accuracy", "mIoU"))
    alone = " ".join(points(pd.DataFrame([ROW | {"metric": "mIoU"}]), 200))
    assert f"mIoU: in %, on test; {MIOU.note}" in alone
    assert "accuracy" not in alone


def test_long_names_fit_80_columns() -> None:
    rows = [
        ROW | {"dataset": dataset, "method": "homogeneous-convolution(regime=joint-frozen)", "policy": policy}
        for dataset in ("fashion-scenes-detection", "cifar-100")
        for policy in ("map-confidence(score=quantile)", "running-quantile(window=100)")
    ]
    lines = points(pd.DataFrame(rows), 80)
    assert max(map(len, lines)) <= 80
    text = " ".join(lines)
    assert all(row[name] in text for row in rows for name in ("dataset", "method", "policy"))


@pytest.mark.parametrize("command", ["sweep", "claims", "clean"])
def test_a_changed_value_needs_a_grid(command: str) -> None:
    done = CliRunner().invoke(main, [command, "--set", "seeds=[1]"])
    assert isinstance(done.exception, UserError)
    assert "--grid" in str(done.exception)

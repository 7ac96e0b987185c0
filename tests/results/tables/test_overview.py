"""The overview of a results folder: finished, failed and unreadable records."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from results.store.folder import Store
from results.tables.overview import overview
from tests.conftest import Command, SmokeRun
from tests.results.builders import failed_record
from tests.results.edited import edit_record


def test_each_run_has_a_row_with_the_numbers_of_its_record(smoke: SmokeRun) -> None:
    store = Store(smoke.results)
    table, problems = overview(store)
    assert problems == []
    assert table["run_id"].tolist() == store.run_ids()
    for _, row in table.iterrows():
        record = store.done_record(row["run_id"])
        points = {point.name: point for point in record.points if point.test is not None}
        if record.label == "static":
            assert pd.isna(row["point"])
        elif row["point"] in points:
            test = points[row["point"]].test
            assert test is not None
            assert row["accuracy"] == test.accuracy
            assert row["mac_speedup"] == pytest.approx(record.costs.baseline / test.mean_macs)
        assert row["static_accuracy"] == record.static_accuracy.test


def test_a_point_that_no_threshold_reaches_is_passed_over(smoke: SmokeRun, tmp_path: Path) -> None:
    store = Store(tmp_path)
    run_id = next(name for name in Store(smoke.results).run_ids() if name.startswith("lgvit-"))
    shutil.copytree(Store(smoke.results).run(run_id), store.run(run_id))
    reached = overview(store)[0].iloc[0]
    assert reached["point"].endswith("accuracy-drop-0.01")

    def unreached_first(record: dict[str, Any]) -> None:
        first = next(p for p in record["points"] if (p["kind"], p["target"]) == ("accuracy-drop", 0.01))
        record["points"].insert(0, first | {"settings": [], "val": None, "test": None})

    edit_record(store.run(run_id), unreached_first)
    pd.testing.assert_series_equal(overview(store)[0].iloc[0], reached)


def test_failed_and_damaged_records_are_listed(smoke: SmokeRun, tmp_path: Path, benchmark_command: Command) -> None:
    results = tmp_path / "results"
    shutil.copytree(smoke.results / "runs", results / "runs")
    store = Store(results)
    broken, strange, *others = store.run_ids()
    (store.run(broken) / "record.json").write_text("{")
    path = store.run(strange) / "record.json"
    edit_record(path.parent, lambda record: record.update(spec={}))
    spec = store.record(others[0]).spec
    with store.write_run(failed_record("failed-run", spec=spec, cause="out of memory")):
        pass
    done = benchmark_command("list", "--runs", "--results", results, "--out", tmp_path / "runs.csv")
    assert done.returncode == 0, done.stderr
    assert f"left out: {store.run(broken) / 'record.json'}: cannot be read" in done.stdout
    assert f"left out: {path}: spec.train: " in done.stdout
    assert "run failed: out of memory" in done.stdout
    assert all(run_id[-8:] in done.stdout for run_id in others)
    assert max(map(len, done.stdout[done.stdout.index("run  ") :].splitlines())) <= 100
    assert f"{len(others)} finished, 1 failed" in done.stdout
    assert len(pd.read_csv(tmp_path / "runs.csv")) == len(others) + 1

    empty = benchmark_command("list", "--runs", "--results", tmp_path / "none")
    assert empty.returncode == 2
    assert "there is no run in" in empty.stderr

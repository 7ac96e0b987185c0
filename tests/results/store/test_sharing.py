"""Shared runs are small, and a report made from them lacks only calibration."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reports.paper import build_report
from results.judge.reproduction import judge
from results.store.folder import Store
from results.store.run_files import TABLES
from results.store.sharing import share
from tests.conftest import SmokeRun
from tests.results.builders import failed_record

LOST = {"exits": ["ece", "nll"], "leaving": ["ece"]}
"""Columns of a report's tables that shared runs cannot fill."""


@pytest.fixture(scope="module")
def shared(smoke: SmokeRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of the grid smoke with its records."""
    store = Store(smoke.results)
    out = tmp_path_factory.mktemp("shared") / "smoke"
    assert build_report(store, store.run_ids(), title="smoke", out=out, formats=("csv", "records")) == []
    return out


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.parquet"))


def test_shared_runs_are_small(smoke: SmokeRun, shared: Path) -> None:
    assert size(shared / "runs") < 0.4 * size(smoke.results / "runs")
    assert not list(shared.rglob("*.safetensors"))


def test_a_report_of_shared_runs_lacks_calibration_alone(shared: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    store = Store(shared)
    assert build_report(store, store.run_ids(), title="smoke", out=again, formats=("csv", "pdf")) == []
    tables = sorted(path.name for path in shared.glob("*.csv"))
    assert tables == sorted(path.name for path in again.glob("*.csv"))
    for name in tables:
        first, second = (pd.read_csv(folder / name) for folder in (shared, again))
        lost = LOST.get(Path(name).stem, [])
        assert second[lost].isna().all(axis=None), name
        pd.testing.assert_frame_equal(first.drop(columns=lost), second.drop(columns=lost), check_exact=True)


def test_a_shared_run_is_reproduced_bit_identically(smoke: SmokeRun, shared: Path, tmp_path: Path) -> None:
    run_id = next(run_id for run_id in Store(shared).run_ids() if run_id.startswith("lgvit"))
    reproduction = judge(Store(shared), Store(smoke.results), run_id, run_id, bitwise=True)
    assert reproduction.reproduced
    assert {f"{name}.parquet" for name in TABLES} <= {part.what for part in reproduction.parts}

    shutil.copytree(smoke.results / "runs" / run_id, tmp_path / "runs" / run_id)
    path = tmp_path / "runs" / run_id / "outcomes.parquet"
    table = pd.read_parquet(path)
    table.loc[5, "prediction"] = (table.loc[5, "prediction"] + 1) % 10
    table.to_parquet(path, index=False)
    other = judge(Store(shared), Store(tmp_path), run_id, run_id, bitwise=True)
    assert [part.what for part in other.parts if not part.equal] == ["outcomes.parquet"]


def test_damaged_runs_are_skipped_and_failed_ones_kept(smoke: SmokeRun, tmp_path: Path) -> None:
    shutil.copytree(smoke.results / "runs", tmp_path / "from" / "runs")
    store = Store(tmp_path / "from")
    damaged, whole, failed, *_ = store.run_ids()
    (store.run(damaged) / "answers.parquet").write_bytes(b"no table")
    spec = store.record(failed).spec
    shutil.rmtree(store.run(failed))
    with store.write_run(failed_record(failed, spec=spec, cause="no memory")):
        pass
    share(store, [damaged, whole, failed, "never-run"], tmp_path / "to")
    copy = Store(tmp_path / "to")
    assert copy.run_ids() == sorted([whole, failed])
    assert copy.record(failed) == store.record(failed)
    first, second = (side.record(whole).model_copy(update={"files": ()}) for side in (copy, store))
    assert first == second
    answers = pd.read_parquet(copy.table(whole, "answers.parquet"))
    assert set(answers.columns) == {"exit", "sample_id", "label", "prediction"}
    assert (np.diff(answers["sample_id"]) >= 0).all()

"""A results folder with one finished run, for the tests of `deploy` and `predict`."""

from __future__ import annotations

from pathlib import Path

import pytest

from results.record import DoneRecord
from results.store.folder import Store
from tests.trained_runs import RUN, write_trained_run


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "results"
    write_trained_run(folder)
    return folder


@pytest.fixture(scope="module")
def record(results: Path) -> DoneRecord:
    return Store(results).done_record(RUN)

"""Every column of the tidy tables has a meaning, from which docs/results.md is made."""

from __future__ import annotations

import pytest

from reports.tidy_columns import COLUMNS, COMMON, meaning
from reports.tidy_tables import CONTENTS, tidy_tables
from results.store.folder import Store
from results.tables.loading import load_runs
from results.tables.tuning import COLUMNS as LEARNING_RATES
from tests.conftest import ROOT, SmokeRun
from tests.detection_runs import write_detection
from tests.segmentation_runs import write_segmentation

Seen = dict[str, set[str]]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory, smoke: SmokeRun) -> Seen:
    """The columns of every table of a classification, a segmentation and a detection, and of runs with probes."""
    folder = tmp_path_factory.mktemp("tasks")
    write_segmentation(folder / "segmentation")
    write_detection(folder / "detection")
    columns: Seen = {"learning-rates": set(LEARNING_RATES)}
    for path in smoke.out.glob("*.csv"):
        columns.setdefault(path.stem, set()).update(path.read_text().splitlines()[0].replace('"', "").split(","))
    for results in (folder / "segmentation", folder / "detection", ROOT / "results" / "reference-longer"):
        store = Store(results)
        runs, _ = load_runs(store, store.run_ids()[:12])
        for name, table in tidy_tables(runs, []).items():
            columns.setdefault(name, set()).update(table.columns)
    return columns


def test_every_table_is_described() -> None:
    assert set(COLUMNS) == set(CONTENTS)


def test_every_column_has_a_meaning(seen: Seen) -> None:
    assert set(CONTENTS) - set(seen) <= {"static-models"}  # needs runs on ImageNet-1k
    assert [
        (table, column) for table, columns in seen.items() for column in columns if not meaning(table, column)
    ] == []


def test_every_meaning_has_a_column(seen: Seen) -> None:
    described = [(COLUMNS[table], columns) for table, columns in seen.items()] + [(COMMON, set().union(*seen.values()))]
    for keys, columns in described:
        starts = [key.removesuffix("*") for key in keys]
        assert [start for start in starts if not any(column.startswith(start) for column in columns)] == []

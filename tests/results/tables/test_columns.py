"""The tables beside a record have the columns that docs/results.md lists."""

from __future__ import annotations

import pytest
from pyarrow.parquet import read_schema

from results.store.run_files import TABLES
from results.tables.columns import COLUMNS
from tests.conftest import SmokeRun


@pytest.mark.parametrize("name", TABLES)
def test_every_column_is_documented(smoke: SmokeRun, name: str) -> None:
    for method in ("lgvit", "static"):
        (path,) = smoke.results.glob(f"runs/{method}-*/{name}.parquet")
        assert read_schema(path).names == list(COLUMNS[name])

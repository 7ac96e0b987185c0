"""The small print below a table or figure: the file and command with its numbers, and the records that they come from."""

from __future__ import annotations

from collections.abc import Sequence

from reports.names import short_id
from results.tables.run import Run

FEW = 6
"""Largest number of records that are named; more are counted."""


def source(runs: Sequence[Run], table: str, command: str = "report --format csv") -> str:
    """
    Args:
        runs: whose records are shown.
        table: name of the tidy table with the numbers, or of a file of the runs; empty if the command prints them.
        command: of the suite.
    """
    ids = list(dict.fromkeys(short_id(run.record.run_id) for run in runs))
    records = f"records {' '.join(ids)}" if len(ids) <= FEW else f"{len(ids)} records, see the list of runs"
    file = f"{table}{'' if '.' in table else '.csv'}, " if table else ""
    return f"{file}python -m benchmark {command}; {records}"

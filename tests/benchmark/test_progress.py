"""Progress names what a task measures while it trains."""

from __future__ import annotations

import io

from rich.console import Console

from benchmark.progress import Reporter


def test_a_line_names_what_is_measured() -> None:
    out = io.StringIO()
    reporter = Reporter(Console(file=out, width=120))
    for measured in ("accuracy", "pixel accuracy"):
        with reporter.stage("training", 10, 1, measured):
            reporter.step(10, 0, lambda: {"total": 0.5, "accuracy": 0.625, "val accuracy": 0.5})
    lines = [line for line in out.getvalue().splitlines() if "62.5 %" in line]
    assert [", accuracy 62.5 % (val 50.0 %)" in line for line in lines] == [True, False]
    assert ", pixel accuracy 62.5 % (val 50.0 %)" in lines[1]

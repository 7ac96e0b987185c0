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


def test_a_training_that_was_stopped_before_its_result_was_written_resumes_in_its_last_epoch() -> None:
    out = io.StringIO()
    reporter = Reporter(Console(file=out, width=120))
    with reporter.stage("training", 20, 2):
        reporter.resumed(10, 1)
        reporter.resumed(20, 2)
    assert "epoch 2, step 10 of 20" in out.getvalue()
    assert "epoch 2, step 20 of 20" in out.getvalue()

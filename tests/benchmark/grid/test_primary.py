"""The primary endpoint of a grid file: what it reaches, and one sentence for every mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.stages.graph import run_stages
from tests.benchmark.grid.expansion import SOUND, expand, mistakes
from tests.conftest import Command, SmokeRun


def test_a_primary_endpoint_is_part_of_every_run_and_of_no_key(tmp_path: Path) -> None:
    methods = SOUND.replace("lgvit]", "lgvit, vanilla]")
    declared = expand(tmp_path, f"{methods}primary: {{method: lgvit, against: [vanilla], macs: 0.5}}")
    plain = expand(tmp_path, methods)
    assert {(run.primary.method, run.primary.against, run.primary.macs) for run in declared if run.primary} == {
        ("lgvit", ("vanilla",), 0.5)
    }
    assert [run_stages(run).run_id for run in declared] == [run_stages(run).run_id for run in plain]


@pytest.mark.parametrize(("primary", "parts"), [
    ("{method: lgvit, against: [vanila], macs: 0.5}", ["primary.against[0]", "vanila", "vanilla"]),
    ("{method: lgvit, against: [pabee], macs: 0.5}", ["primary", "pabee", "vanilla"]),
    ("{method: lgvit, against: [static], macs: 0.5}", ["primary", "static", "with exits"]),
    ("{method: lgvit, against: [lgvit], macs: 0.5}", ["primary", "once"]),
    ("{method: lgvit, against: [vanilla], macs: 0.55}", ["primary.macs", "0.4, 0.5, 0.6, 0.75", "0.55"]),
    ("{method: lgvit, against: [], macs: 0.5}", ["primary.against"]),
    ("{method: lgvit, against: [vanilla]}", ["primary.macs", "required"]),
    ("lgvit", ["primary", "lgvit"]),
])  # fmt: skip
def test_a_mistake_in_a_primary_endpoint_is_named(tmp_path: Path, primary: str, parts: list[str]) -> None:
    methods = SOUND.replace("lgvit]", "lgvit, vanilla]")
    message = mistakes(tmp_path, f"{methods}primary: {primary}")[0]
    assert [part for part in parts if part not in message] == []


def test_a_primary_endpoint_needs_a_method_with_exits(tmp_path: Path) -> None:
    methods = SOUND.replace("static, lgvit]", "static]")
    (message,) = mistakes(tmp_path, f"{methods}primary: {{method: lgvit, against: [vanilla], macs: 0.5}}")
    assert "primary: no method of this grid has exits" in message


def test_plan_warns_of_an_endpoint_that_finished_runs_do_not_have(smoke: SmokeRun, benchmark_command: Command) -> None:
    late = "primary={method: lgvit, against: [vanilla], macs: 0.4}"
    plain, warned = (
        benchmark_command("plan", "--grid", "smoke", "--results", smoke.results, *change).stdout
        for change in ((), ("--set", late))
    )
    assert "primary" not in plain
    sentence = "1 of 1 finished runs of lgvit were recorded before this endpoint was declared, so reports do not use it"
    assert sentence in " ".join(warned.split())

"""A GPU is marked "unverified device" in all outputs until its kind of machine has passed ``doctor --device``."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from reports.paper import build_report
from reports.report_folder import is_current
from reports.setup import facts
from results.check import Check
from results.provenance import Code, Machine
from results.store.devices import UNVERIFIED, DeviceCheck, is_unverified, read_checks, write_check
from results.store.folder import Store, StoreError
from results.tables.loading import load_runs
from results.tables.points import points
from tests.conftest import SmokeRun
from tests.results.builders import latency
from tests.results.edited import edit_record

GPU = "NVIDIA H100 80GB HBM3"
SOUND = (Check("logits", "ok", "the CPU answers alike"), Check("bf16", "warn", "none here", "leave it out"))
FAULT = (*SOUND, Check("resume", "fail", "with other bits in exits-0", "do not publish"))


def on_a_gpu(smoke: SmokeRun, folder: Path) -> tuple[Store, Machine]:
    """The runs of LGViT and static as if made on a GPU, and the GPU's machine."""
    machine: dict[str, Any] = {}
    for name in ("lgvit-vit", "static"):
        (source,) = smoke.results.glob(f"runs/{name}*")
        shutil.copytree(source, folder / "runs" / source.name)
        copy = folder / "runs" / source.name
        edit_record(copy, lambda record: record["provenance"]["machine"].update(device="cuda", gpu=GPU))
        machine = json.loads((copy / "record.json").read_text())["provenance"]["machine"]
    return Store(folder), Machine(**machine)


def check_of(machine: Machine, checks: tuple[Check, ...], day: int = 2) -> DeviceCheck:
    finished = datetime(2026, 1, day, tzinfo=UTC)
    return DeviceCheck(machine=machine, code=Code(commit=None, dirty=None), finished=finished, checks=checks)


def other(machine: Machine, **changes: Any) -> Machine:
    return machine.model_copy(update=changes)


@pytest.mark.slow
def test_a_report_flags_a_gpu_until_it_has_passed(smoke: SmokeRun, tmp_path: Path) -> None:
    store, machine = on_a_gpu(smoke, tmp_path / "results")
    run_ids, out = store.run_ids(), tmp_path / "report"

    def flagged() -> list[str]:
        assert not is_current(out, store, run_ids, ["csv"])
        build_report(store, run_ids, title="t", out=out, formats=["csv"])
        assert is_current(out, store, run_ids, ["csv"])
        table = pd.read_csv(out / "failures.csv")
        return sorted(table[table["signature"] == UNVERIFIED]["run_id"])

    assert flagged() == run_ids
    lines = dict(facts(load_runs(store, run_ids)[0]))
    assert lines["Hardware"].startswith(GPU)
    assert lines["Hardware"].endswith(UNVERIFIED)
    assert "Device check" not in lines

    write_check(store, check_of(machine, FAULT))
    assert flagged() == run_ids
    assert dict(facts(load_runs(store, run_ids)[0]))["Device check"] == (
        f"{GPU} failed on 2026-01-02. resume: with other bits in exits-0"
    )

    write_check(store, check_of(machine, SOUND, day=3))
    assert flagged() == []
    lines = dict(facts(load_runs(store, run_ids)[0]))
    assert UNVERIFIED not in lines["Hardware"]
    assert lines["Device check"].startswith(f"{GPU} passed on 2026-01-03. logits: the CPU answers alike")


def test_another_torch_or_gpu_changes_the_fingerprint(smoke: SmokeRun, tmp_path: Path) -> None:
    store, machine = on_a_gpu(smoke, tmp_path)
    path = write_check(store, check_of(machine, SOUND))
    checks = read_checks(store)
    assert list(checks) == [machine.fingerprint] == [path.stem]
    assert not is_unverified(machine, checks)
    assert not is_unverified(other(machine, device="cuda:3", threads=7), checks)
    assert not is_unverified(other(machine, gpu=None), {})
    assert is_unverified(other(machine, gpu="NVIDIA A100"), checks)
    assert is_unverified(other(machine, packages=machine.packages | {"torch": "3.0"}), checks)


def test_a_measured_time_has_the_flag_of_its_device(smoke: SmokeRun) -> None:
    """The run was made on the CPU, and its time was measured on a GPU."""
    store = Store(smoke.results)
    (run,) = load_runs(store, [run_id for run_id in store.run_ids() if run_id.startswith("lgvit-")])[0]
    machine = other(run.record.provenance.machine, gpu=GPU)
    point = next(point for point in run.record.points if point.test is not None)
    measured = latency(1, run_id=run.record.run_id, point=point.name, machine=machine)
    timed = replace(run, latencies=(measured,))
    assert f"{GPU}, fp32, {UNVERIFIED}" in set(points([timed])["time_device"])
    checked = replace(timed, device_checks={machine.fingerprint: check_of(machine, SOUND)})
    assert f"{GPU}, fp32" in set(points([checked])["time_device"])
    assert (run.unverified_devices, timed.unverified_devices, checked.unverified_devices) == ((), (GPU,), ())


@pytest.mark.parametrize("content", ["{", "[]", '{"checks": []}', '{"checks": [{"name": 1}]}'])
def test_a_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "devices").mkdir()
    (tmp_path / "devices" / "0.json").write_text(content)
    with pytest.raises(StoreError, match=r"0\.json"):
        read_checks(Store(tmp_path))
    damaged: list[str] = []
    assert read_checks(Store(tmp_path), damaged) == {}
    assert "0.json is damaged" in damaged[0]

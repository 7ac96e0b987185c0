"""The doctor: passes on a good machine, gives one line with the fix for each problem, and checks a device by running on it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections import Counter
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from benchmark.cli.doctor import command
from benchmark.doctor import checks as doctor
from benchmark.doctor.device import Examination
from benchmark.grid import load as grid
from benchmark.measure import cost
from benchmark.stages.graph import run_stages
from methods import lookup
from methods.policies import get_policy
from results.check import Check
from results.store.devices import read_checks
from results.store.folder import Store
from tests.conftest import Command, environment, torch_free
from tests.grids import bundled, write_grid
from tests.results.edited import edit_json

TINY = {"name": "smoke", "datasets": [bundled(60, 40, 60)]}


def test_the_doctor_passes_here_and_writes_nothing(tmp_path: Path, benchmark_command: Command) -> None:
    done = benchmark_command("doctor", "--json", "--results", tmp_path / "results")
    assert done.returncode == 0, done.stdout
    report = json.loads(done.stdout)
    assert [line["name"] for line in report["checks"]] == [*doctor.plain_checks(tmp_path, None)]
    assert all(line["status"] == "ok" or line["advice"] for line in report["checks"])
    assert report["failed"] == 0
    assert report["stored"] is None
    assert not list(tmp_path.iterdir())


def test_without_torch_it_names_the_missing_package(without_torch: dict[str, str], tmp_path: Path) -> None:
    done = torch_free(without_torch, "doctor", "--device", "cpu", "--results", tmp_path)
    assert done.returncode == 1
    lines = " ".join(done.stdout.split())
    assert "fail packages" in lines
    assert "torch is missing" in lines
    assert "-> in " in lines
    assert "pip install -e . -c constraints.txt" in lines
    assert "fail MAC counter cannot be checked: No module named 'torch'" in lines
    assert "fail device cpu was not checked" in lines
    assert "Traceback" not in done.stdout + done.stderr


def test_it_starts_with_click_alone(tmp_path: Path) -> None:
    import click

    (tmp_path / "click").symlink_to(Path(click.__file__).parent)
    done = torch_free(environment(PYTHONPATH=str(tmp_path)), "doctor")
    assert done.returncode == 1
    assert "cannot be checked: No module named 'packaging'" in " ".join(done.stdout.split())
    assert "Traceback" not in done.stdout + done.stderr


def test_an_unknown_device_is_an_error_and_a_missing_one_a_failed_check(tmp_path: Path) -> None:
    wrong = CliRunner().invoke(command, ["--device", "gpu"])
    assert str(wrong.exception) == "--device: cpu, cuda or cuda:N, not 'gpu'"
    absent = CliRunner().invoke(command, ["--device", "cuda:99", "--json", "--results", str(tmp_path)])
    assert absent.exit_code == 1
    (line,) = [line for line in json.loads(absent.stdout)["checks"] if line["status"] == "fail"]
    assert line["name"] == "device"
    assert "cuda:99: not usable here" in line["result"]


# Single checks on machines with a problem


@pytest.mark.parametrize(("requirement", "tested", "status", "part"), [
    ("numpy>=99", "numpy==99", "fail", "is not >=99"), ("no-such-thing>=1", "no-such-thing==1", "fail", "is missing"),
    ("numpy>=1", "numpy==1.0", "warn", "(1.0)"), ("numpy>=1", f"numpy=={doctor.version('numpy')}", "ok", "constraints.txt"),
])  # fmt: skip
def test_packages(
    requirement: str, tested: str, status: str, part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text(f'[project]\nrequires-python = ">=9"\ndependencies = ["{requirement}"]\n')
    (tmp_path / "constraints.txt").write_text(f"# tested\n{tested}\n")
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    check = doctor.packages()
    assert check.status == status
    assert part in check.result
    assert doctor.python().status == "fail"


def test_a_package_with_one_of_our_names_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "__init__.py").write_text("")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    check = doctor.names()
    assert check.status == "warn"
    assert f"datasets in {tmp_path}" in check.result


@pytest.mark.parametrize("kind", ["method", "backbone", "dataset", "policy"])
def test_a_broken_plug_in_is_its_own_check(kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    point = EntryPoint("theirs", "no_such_module:card", f"lgvit_bench.{kind}")
    monkeypatch.setattr(lookup, "entry_points", lambda group: [point] if group == point.group else [])
    lookup.registered_outside.cache_clear()
    try:
        lines = {name: doctor.examine(name, check) for name, check in doctor.plain_checks(tmp_path, None).items()}
        assert get_policy("confidence", threshold=0.5)
    finally:
        lookup.registered_outside.cache_clear()
    assert [name for name, line in lines.items() if line.status == "fail"] == ["plug-ins"]
    assert "no_such_module" in lines["plug-ins"].result


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert doctor.results_folder(tmp_path / "new" / "results").status == "ok"
    check = doctor.results_folder(tmp_path / "file" / "results")
    assert check.status == "fail"
    assert "--results" in check.advice


def test_present_and_missing_datasets(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "test_batch").write_text("")
    present, missing = doctor.datasets(tmp_path).result.split("; missing: ")
    assert "cifar-10" in present
    assert "cifar-100" in missing
    assert doctor.datasets(tmp_path / "no").status == "fail"


def test_present_weights(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "vit_base_patch16_224.augreg_in21k_ft_in1k.safetensors").write_text("")
    assert "vit_base_patch16_224.augreg_in21k_ft_in1k" in doctor.weights(tmp_path).result


def test_a_counter_without_attention_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    linear = 12 * 197 * 12 * 192 * 192 + 196 * 768 * 192 + 192 * 1000
    attention = 12 * 2 * 197 * 197 * 192
    assert linear + attention == doctor.KNOWN_MACS
    assert doctor.mac_counter().status == "ok"
    monkeypatch.setattr(cost, "_attention_macs", lambda *_: Counter())
    check = doctor.mac_counter()
    assert check.status == "fail"
    assert f"{linear:,}" in check.result


def program(folder: Path, name: str, output: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\necho '{output}'\n")
    (folder / name).chmod(0o755)


def test_slurm_is_complete_or_partial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    program(tmp_path, "sinfo", "slurm 24.05.1")
    assert doctor.slurm().status == "warn"
    program(tmp_path, "sbatch", "")
    assert doctor.slurm().result.startswith("slurm 24.05.1, sbatch: ")
    program(tmp_path, "sinfo", "")
    assert doctor.slurm().status == "warn"


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch uses the GPU here")
def test_a_gpu_that_torch_cannot_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin")
    assert doctor.gpu(tmp_path).status == "ok"
    program(tmp_path, "nvidia-smi", "NVIDIA H100 80GB HBM3, 550.54.15")
    check = doctor.gpu(tmp_path)
    assert check.status == "warn"
    assert check.result.startswith("1 x NVIDIA H100 80GB HBM3, driver 550.54.15, but torch")


def test_an_exception_in_a_check_is_its_line() -> None:
    def broken() -> Check:
        raise RuntimeError("undefined symbol")

    assert doctor.examine("x", broken).result == "RuntimeError: undefined symbol"


# The device, with a smaller grid of the same name


@pytest.fixture
def small_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = write_grid(tmp_path / "grid.yaml", **TINY)
    monkeypatch.setattr(grid, "find_grid", lambda name: path)
    return path


@pytest.mark.slow
def test_the_cpu_passes(tmp_path: Path, small_grid: Path) -> None:
    done = CliRunner().invoke(command, ["--device", "cpu", "--json", "--results", str(tmp_path / "results")])
    report = json.loads(done.stdout)
    assert done.exit_code == 0, report
    lines = {line["name"]: line["result"] for line in report["checks"]}
    assert lines["grid smoke"].startswith("2 runs in ")
    assert "60 images" in lines["logits"]
    assert "(limit 1e-05)" in lines["logits"]
    assert "(limit 0.1)" in lines["bf16"]
    assert lines["dynamic"].startswith("60 images ")
    assert lines["resume"].startswith("2 trainings ")
    assert lines["two ranks"].endswith(" by gloo")
    ((name, check),) = read_checks(Store(tmp_path / "results")).items()
    assert check.passed
    assert report["stored"] == str(tmp_path / "results" / "devices" / f"{name}.json")
    assert [line.name for line in check.checks] == ["grid smoke", "logits", "bf16", "dynamic", "resume", "two ranks"]


@pytest.mark.slow
def test_a_device_with_other_results_fails(tmp_path: Path, small_grid: Path) -> None:
    exam = Examination(grid.load_grid(small_grid), torch.device("cpu"), tmp_path)
    assert exam.runs().status == "ok"
    shutil.copytree(exam.store.root, tmp_path / "other")
    other = Store(tmp_path / "other")
    assert exam.differing(other) == []
    heads = run_stages(exam.tested).training[-1].name
    edit_json(other.stage(heads) / "manifest.json", lambda manifest: manifest["artifacts"][0].update(sha256="0" * 64))
    assert exam.differing(other) == [heads]
    logits = exam.stored.logits
    exam.stored = replace(exam.stored, logits=logits + 1e-3 * logits.abs().max() * torch.randn_like(logits))
    for check in (exam.logits(), exam.dynamic()):
        assert check.status == "fail"
        assert "do not publish" in check.advice


def test_after_a_failed_grid_the_dependent_checks_fail_too(tmp_path: Path, small_grid: Path) -> None:
    diverging = {"lr": 10, "clip_grad": None, "weight_decay": 10, "warmup": 0, "batch_size": 4}
    write_grid(small_grid, **TINY, recipes={"finetune": diverging})
    steps = Examination(grid.load_grid(small_grid), torch.device("cpu"), tmp_path).steps
    runs = doctor.examine("grid smoke", steps["grid smoke"])
    assert runs.status == "fail"
    assert "2 of 2 runs failed" in runs.result
    assert "nan" in runs.result
    assert doctor.examine("logits", steps["logits"]).status == "fail"

"""The command `run` on the grid `smoke`: its files, a second run, and common mistakes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from benchmark.cli.run import command as run_command
from benchmark.evaluation.scores import load_scores
from benchmark.grid.load import find_grid, load_grid
from benchmark.stages.plan import Plan, make_plan
from results.store.folder import Store
from tests.conftest import ROOT, Command, SmokeRun, environment, torch_free

METHODS = ["static", "lgvit", "vanilla", "homogeneous-local", "homogeneous-global"]


def plan_of(smoke: SmokeRun) -> Plan:
    return make_plan(load_grid(find_grid("smoke")), Store(smoke.results))


def test_every_run_is_recorded_with_its_provenance(smoke: SmokeRun) -> None:
    store = Store(smoke.results)
    records = [store.record(run.run_id) for run in plan_of(smoke).runs]
    assert [record.label for record in records] == METHODS
    for record in records:
        assert record.status == "done"
        assert record.provenance.code.frozen is None
        machine = record.provenance.machine
        assert machine.threads == 1
        assert machine.precision == "float32"
        assert machine.packages["torch"] == torch.__version__.split("+")[0]
        assert record.provenance.peak_memory_bytes > 50e6
        assert record.data.sizes == {"train": 500, "val": 300, "test": 500}
        for stage in record.stages:
            for artifact in stage.artifacts:
                path = smoke.results / artifact.path
                assert path.stat().st_size == artifact.bytes


def test_the_output_shows_each_step(smoke: SmokeRun) -> None:
    output = " ".join(smoke.output.split())  # long lines are wrapped
    for part in (
        "Grid smoke: 5 runs, 0 finished, 5 to run",
        "shared by 5 runs",
        "in one pass over the data: lgvit, vanilla, homogeneous-local, homogeneous-global",
        "run 1/5: fine-tuning vit_nano_patch4_28 on fashion-mnist-mini, seed 0",
        "loss ",
        "accuracy ",
        " left",
        "½ MACs",
        str(smoke.out),
        "paper.pdf",
    ):
        assert part in output


def test_files_of_interrupted_work_are_removed(smoke: SmokeRun) -> None:
    assert not list(smoke.results.glob("progress/*"))
    assert not list(smoke.results.rglob(".unfinished*"))


def test_the_frozen_backbone_has_the_logits_without_exits(smoke: SmokeRun) -> None:
    store = Store(smoke.results)
    for run in plan_of(smoke).runs:
        for split in ("val.safetensors", "test.safetensors"):
            with_exits = load_scores(store.artifact(run.scores.name, split))
            without = load_scores(store.artifact(run.static_scores.name, split))
            assert torch.equal(with_exits.logits[-1], without.logits[-1])
            assert torch.equal(with_exits.sample_id, without.sample_id)


def test_the_report_has_the_chosen_formats(smoke: SmokeRun, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["--grid", "smoke", "--results", str(smoke.results), "--out", str(out)]

    def run(*formats: str) -> Result:
        options = [part for name in formats for part in ("--format", name)]
        return CliRunner().invoke(run_command, [*arguments, *options], catch_exceptions=False)

    assert run("none").exit_code == 0
    assert not out.exists()
    assert run("csv").exit_code == 0
    assert {path.suffix for path in out.iterdir()} == {".csv", ".json", ".txt"}
    assert run("none", "csv").exit_code == 2


# Without torch


def test_a_second_run_executes_nothing_and_needs_no_torch(smoke: SmokeRun, without_torch: dict[str, str]) -> None:
    before = {path: path.stat().st_mtime_ns for folder in (smoke.results, smoke.out) for path in folder.rglob("*")}
    done = torch_free(without_torch, "run", "--grid", "smoke", "--results", smoke.results, "--out", smoke.out)
    assert done.returncode == 0, done.stderr
    assert "all 5 runs" in done.stdout
    assert "½ MACs" in done.stdout
    after = {path: path.stat().st_mtime_ns for folder in (smoke.results, smoke.out) for path in folder.rglob("*")}
    assert after == before


@pytest.mark.slow
def test_planning_listing_and_reporting_need_no_torch(
    smoke: SmokeRun, without_torch: dict[str, str], tmp_path: Path
) -> None:
    for arguments in (
        ("plan", "--grid", "quick"),
        ("list",),
        ("claims", "--results", smoke.results),
        ("compare", smoke.results, smoke.results),
        ("report", "--results", smoke.results, "--out", tmp_path / "r"),
    ):
        done = torch_free(without_torch, *arguments)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "r" / "paper.pdf").is_file()


def test_training_without_torch_is_one_sentence(without_torch: dict[str, str], tmp_path: Path) -> None:
    done = torch_free(without_torch, "run", "--grid", "smoke", "--results", tmp_path / "results")
    assert done.returncode == 2
    assert "'torch'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_new_method_trains_alone(smoke: SmokeRun, benchmark_command: Command, tmp_path: Path) -> None:
    results = tmp_path / "results"
    shutil.copytree(smoke.results, results)
    grid = tmp_path / "more.yaml"
    text = (
        find_grid("smoke")
        .read_text()
        .replace("homogeneous-global]", "homogeneous-global, {name: lgvit, set: {feature_terms: false}}]")
    )
    grid.write_text(text.replace("name: smoke", "name: more"))
    planned = benchmark_command("plan", "--grid", grid, "--results", results)
    assert "6 runs, 5 finished, 1 to run" in planned.stdout
    counts = {line[:22].strip(): line.split()[-2:] for line in planned.stdout.splitlines()}
    assert "shared by 6 runs" in planned.stdout
    assert counts["train the exits"] == ["4", "1"]

    before = {path: path.stat().st_mtime_ns for path in results.glob("stages/*/*")}
    done = benchmark_command("run", "--grid", grid, "--results", results, "--format", "none")
    assert done.returncode == 0, done.stderr
    assert "fine-tuning" not in done.stdout
    assert "training the exits of lgvit(feature_terms=False) on the frozen" in done.stdout
    after = {path: path.stat().st_mtime_ns for path in results.glob("stages/*/*")}
    assert before.items() <= after.items()
    history = [json.loads(path.read_text()) for path in after.keys() - before.keys() if path.name == "history.json"]
    assert len(history) == 1
    assert not {"heterogeneous", "homogeneous"} & history[0][0].keys()


def test_why_names_the_changed_fields(smoke: SmokeRun, benchmark_command: Command, tmp_path: Path) -> None:
    grid = tmp_path / "longer.yaml"
    grid.write_text(find_grid("smoke").read_text().replace("exits: {epochs: 2", "exits: {epochs: 3"))
    planned = benchmark_command("plan", "--grid", grid, "--results", smoke.results)
    run_id = next(line.split()[0] for line in planned.stdout.splitlines() if " lgvit " in line)
    why = benchmark_command("plan", "--grid", grid, "--results", smoke.results, "--why", run_id)
    assert "recipe.epochs: 2 -> 3" in why.stdout
    unknown = benchmark_command("plan", "--grid", grid, "--results", smoke.results, "--why", run_id[:-1] + "x")
    assert unknown.returncode == 2
    assert run_id in unknown.stderr


# Mistakes of new users


@pytest.mark.parametrize(("arguments", "sentence"), [
    (("run",), "run needs --grid"),
    (("run", "--grid", "smok"), "unknown grid 'smok'; did you mean 'smoke'?"),
    (("run", "--grid", "no/such.yaml"), "there is no file"),
    (("run", "--grid", "smoke", "--device", "cuda:7"), "--device cuda:7: not usable here"),
    (("run", "--grid", "smoke", "--device", "gpu"), "--device gpu: allowed are auto, cpu, cuda and cuda:N"),
    (("run", "--grid", "smoke", "--threads", "0"), "--threads"),
    (("run", "--gird", "smoke"), "--grid"),
    (("rnu",), "unknown command 'rnu'; did you mean 'run'?"),
    (("report", "--grid", "smoke"), "run this first: python -m benchmark run --grid smoke"),
])  # fmt: skip
def test_one_mistake_one_sentence(
    arguments: tuple[str, ...], sentence: str, benchmark_command: Command, tmp_path: Path
) -> None:
    where = () if arguments[0] == "rnu" else ("--results", tmp_path / "results")
    done = benchmark_command(*arguments, *where)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_head_that_does_not_fit_is_an_error_before_training(benchmark_command: Command, tmp_path: Path) -> None:
    grid = tmp_path / "grid.yaml"
    text = find_grid("smoke").read_text()
    methods = "[{name: homogeneous-global, set: {stride: 9}}, {name: homogeneous-global, set: {stride: 8}}]"
    grid.write_text(
        "\n".join(f"methods: {methods}" if line.startswith("methods") else line for line in text.splitlines())
    )
    done = benchmark_command("run", "--grid", grid, "--results", tmp_path / "results")
    assert done.returncode == 2
    assert "stride must be between 1 and 7 on a 7x7 grid, not 9" in done.stderr
    assert "stride must be between 1 and 7 on a 7x7 grid, not 8" in done.stderr
    assert not list(tmp_path.glob("results/stages/*"))


def test_a_results_folder_that_cannot_be_written_is_one_sentence(benchmark_command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = benchmark_command("run", "--grid", "smoke", "--results", tmp_path / "file" / "results")
    assert done.returncode == 2
    assert str(tmp_path / "file") in done.stderr
    assert "--results" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_full_disk_is_one_sentence_and_keeps_earlier_files(tmp_path: Path, smoke: SmokeRun) -> None:
    """A limit on the file size simulates a disk that fills up while the first checkpoint is written."""
    results = tmp_path / "results"
    command = [
        sys.executable,
        "-m",
        "benchmark",
        "run",
        "--grid",
        "smoke",
        "--results",
        results,
        "--out",
        tmp_path / "out",
    ]
    limited = subprocess.run(
        ["bash", "-c", 'ulimit -f 64; exec "$@"', "bash", *map(str, command)],
        cwd=ROOT, env=environment(PYTHONDONTWRITEBYTECODE="1"), capture_output=True, text=True,
    )  # fmt: skip
    assert limited.returncode == 2, limited.stderr
    assert str(results) in limited.stderr
    assert "Traceback" not in limited.stderr
    assert len(list(results.glob("stages/cost-*"))) == 1
    assert not list(results.glob("progress/*/*checkpoint*"))


def test_damaged_data_is_one_sentence(tmp_path: Path, benchmark_command: Command) -> None:
    grid = tmp_path / "full.yaml"
    text = find_grid("smoke").read_text().replace("name: fashion-mnist-mini", "name: fashion-mnist")
    grid.write_text(text)
    data = tmp_path / "data"
    data.mkdir()
    (data / "train-images-idx3-ubyte").write_bytes(b"not the images")
    done = benchmark_command("run", "--grid", grid, "--results", tmp_path / "results", "--data-dir", data)
    assert done.returncode == 2
    assert f"{data / 'train-images-idx3-ubyte'} is not the official file" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("results/stages/*"))


def test_a_second_command_in_the_same_folder_is_refused(tmp_path: Path, benchmark_command: Command) -> None:
    from filelock import FileLock

    results = tmp_path / "results"
    results.mkdir()
    with FileLock(results / ".lock"):
        done = benchmark_command("run", "--grid", "smoke", "--results", results)
    assert done.returncode == 2
    assert str(results) in done.stderr


def test_a_diverging_training_is_a_recorded_cause(benchmark_command: Command, tmp_path: Path) -> None:
    grid = tmp_path / "wild.yaml"
    text = find_grid("smoke").read_text().replace("name: smoke", "name: wild")
    wild = "recipes: {finetune: {epochs: 1, lr: 10, clip_grad: null, weight_decay: 10, warmup: 0}, exits: {epochs: 1}}"
    lines = [line for line in text.splitlines() if not line.startswith(("recipes", "  finetune", "  exits"))]
    grid.write_text("\n".join([*lines, wild]))
    results = tmp_path / "results"
    done = benchmark_command("run", "--grid", grid, "--results", results, "--out", tmp_path / "report")
    assert done.returncode == 1
    assert "5 of 5 runs failed" in done.stdout
    records = [json.loads(path.read_text()) for path in results.glob("runs/*/record.json")]
    failures = {record["spec"]["train"]["method"]["name"]: record["failure"] for record in records}
    # All runs share the stage; the first has its error.
    assert failures == {"static": "nan"} | dict.fromkeys(METHODS[1:], "blocked")
    assert all("loss is nan" in record["cause"] for record in records)


@pytest.mark.slow
def test_it_works_from_any_directory_and_with_strange_paths(tmp_path: Path, smoke: SmokeRun) -> None:
    folder = tmp_path / 'it\'s a "folder"'
    folder.mkdir()
    shutil.copytree(smoke.results, folder / "results")
    launcher = ROOT / "bin" / "lgvit-bench"
    done = subprocess.run(
        [launcher, "run", "--grid", "smoke", "--results", "results", "--out", "my report"],
        cwd=folder, env=environment(PYTHON=sys.executable), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (folder / "my report" / "paper.pdf").is_file()
    assert len(list(folder.glob("results/runs/*"))) == 5

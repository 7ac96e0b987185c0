"""Estimates of a submission: its work, throughput and wall time."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from benchmark import registry
from benchmark.cli import main
from benchmark.cli.slurm_plan import show_arrays, wall_hours
from benchmark.execution.estimate import Estimate, Estimator, backbone_size, total
from benchmark.execution.slurm.layout import ArrayTask, JobArray, arrays_of
from benchmark.execution.slurm.options import Resources, read_options
from benchmark.execution.slurm.throughput import Throughput, throughput
from benchmark.grid.load import find_grid, load_grid
from benchmark.stages.plan import make_plan
from results.store.folder import Store
from tests.benchmark.execution.slurm.conftest import plan_of
from tests.conftest import DATA, ROOT
from tests.results.builders import done_record, machine, stage_provenance


def test_the_longest_chain_of_arrays_is_the_wall_time() -> None:
    resources = Resources(gpus_per_node=1)
    tasks = [ArrayTask("finetune", ())] * 4
    arrays = [
        JobArray("0", resources, tasks, parallelism=2),
        JobArray("1", Resources(gpus_per_node=4), tasks[:1], parallelism=1, after=[0]),
        JobArray("2", resources, tasks[:1], parallelism=1),
    ]
    hour = Estimate(macs=3600e12 / 2)
    hours = wall_hours(arrays, [[hour] * 4, [hour], [hour]], 1.0)
    assert hours == pytest.approx(4 / 2 + 1 / 4)


def test_the_throughput_is_stated_measured_or_assumed(store: Store) -> None:
    plan = plan_of(store, methods=["static"])
    (first, second, third) = [one.reference for one in plan.runs]
    for stage, device in (
        (first, {"gpu": "NVIDIA A100-SXM4-80GB"}),
        (second, {"gpu": "NVIDIA H200", "ranks": 4}),
        (third, {}),
    ):
        with store.write_stage(stage.name, stage.fields, stage_provenance(seconds=10.0, machine=machine(**device))):
            pass
    plan = plan_of(store, methods=["static", "vanilla"])

    def estimated(**options: object) -> Throughput:
        choice = read_options(options, None)
        return throughput(plan, store, arrays_of(plan, choice, {}, 1001), choice, threads=1)

    assert estimated(gpus_per_node=1, tflops=60).tflops == 60
    a100, h200 = (estimated(sbatch=(f"gres=gpu:{name}:1",)) for name in ("a100", "h200"))
    assert "A100" in a100.basis
    assert "1 finished stage" in a100.basis
    assert a100.tflops == pytest.approx(4 * h200.tflops)  # of one GPU
    assert "H200" in estimated(gpus_per_node=1, constraint="h200").basis
    assert "assumed" in estimated(sbatch=("gres=gpu:v100:1",)).basis
    assert "EPYC" in estimated().basis
    # Runs of other grids in the folder count, too.
    plan = plan_of(store, methods=["vanilla"], seeds=[7])
    assert "assumed" in estimated().basis
    one = plan_of(store, methods=["static"]).runs[2]
    with store.write_run(done_record(one.run_id, spec=one.spec)):
        pass
    assert "EPYC" in estimated().basis


def test_a_plan_without_gpus_counts_no_gpu_hours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = make_plan(load_grid(find_grid("paper-cifar100")), Store(tmp_path))
    for gpus in (0, 1):
        choice = read_options({"gpus_per_node": gpus}, None)
        arrays = arrays_of(plan, choice, {}, 1001)
        estimator = Estimator(plan, Store(tmp_path))
        estimates = [[total(map(estimator.unit, task.units)) for task in array.tasks] for array in arrays]
        show_arrays(Console(width=80), arrays, estimates, choice.options, Throughput(10.0, "stated"), plan.grid.name)
        output = capsys.readouterr().out
        assert ("GPU-hours" in output) == bool(gpus)
        assert re.search(r"[1-9]\d+\.\d (GPU-)?hours", output)
        assert max(map(len, output.splitlines())) <= 80
        assert all(array.name in output for array in arrays)


def test_estimates_are_those_of_the_reference() -> None:
    published = json.loads((DATA / "cost_tables.json").read_text())["per_exit"]
    table = next(table for name, table in published.items() if name.startswith("ViT-B/16 (197"))
    macs, _ = backbone_size(registry.card("backbone", "vit_base_patch16_224"), 12)
    assert macs == pytest.approx(table["linconv_matmul"]["M0"], rel=1e-3)
    swin = next(table for name, table in published.items() if name.startswith("Swin"))
    macs, _ = backbone_size(registry.card("backbone", "swin_base_patch4_window7_224"), 24)
    assert macs == pytest.approx(swin["linconv_matmul"]["M0"], rel=1e-3)


def test_training_counts_three_forward_passes_per_image(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    plan = plan_of(store)
    (array,) = [a for a in arrays_of(plan, read_options({}, None), {}, 1001) if a.tasks[0].kind == "cost"]
    finetunes = [unit for task in array.tasks for unit in task.units if unit.kind == "finetune"]
    macs, weights = backbone_size(registry.card("backbone", "vit_nano_patch4_28"), 12)
    epochs = plan.runs[0].spec.train.recipes.finetune.epochs
    estimate = total(Estimator(plan, store).unit(unit) for unit in finetunes)
    assert estimate.macs == 3 * 3 * 200 * epochs * macs
    assert estimate.artifact_bytes == 3 * 4 * weights


SIZES = re.compile(r"^\| `([\w-]+)`(, five seeds)? \| .* \| ([\d,]+) \| ([\d,]+) \|$", flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("grid", "five_seeds", "runs", "hours"),
    SIZES.findall((ROOT / "docs" / "reproduce-paper.md").read_text(encoding="utf-8")),
)
def test_the_page_on_the_paper_has_the_runs_and_the_estimate_of_each_grid(
    grid: str, five_seeds: str, runs: str, hours: str, tmp_path: Path
) -> None:
    change = ["--set", "seeds=[0,1,2,3,4]"] if five_seeds else []
    options = ["--grid", grid, "--results", str(tmp_path), *change]
    planned = CliRunner().invoke(main, ["plan", *options])
    profile = str(ROOT / "docs" / "profiles" / "university.yaml")
    dry = ["--executor", "slurm", "--profile", profile, "--tflops", "60", "--dry-run"]
    estimated = CliRunner().invoke(main, ["run", *options, *dry])
    assert f"Grid {grid}: {runs.replace(',', '')} runs" in planned.output
    counted = re.search(r"([\d.]+) GPU-hours", estimated.output)
    assert counted is not None
    assert f"{float(counted[1]):,.0f}" == hours

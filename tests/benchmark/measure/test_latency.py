"""The command `latency` on a real run: measurement, checks before it, stored results, and bad input."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmark.errors import UserError
from benchmark.measure.checked_model import Subject, checked_model
from benchmark.measure.latency import time_batches
from benchmark.measure.server import ServerSetup, measure_server
from benchmark.measure.timed_run import measure_run
from methods.backbones.vit import ViT
from methods.policies import get_policy
from results.record import CostTable
from results.store.files import sha256
from results.store.folder import Store
from results.store.latency import Quantiles, read_latencies
from results.tables.loading import load_runs
from results.tables.points import points
from tests.benchmark.measure.test_dynamic import images_for, small_model
from tests.conftest import Command, SmokeRun
from tests.results.edited import edit_json
from tests.trained_runs import write_trained_run


@pytest.fixture(scope="module")
def results(smoke: SmokeRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("latency") / "results"
    shutil.copytree(smoke.results, folder)
    return folder


def run_named(results: Path, method: str) -> str:
    (path,) = results.glob(f"runs/{method}-*")
    return path.name


@pytest.mark.slow
def test_a_run_is_timed_once_and_reported_with_the_other_speed_ups(results: Path, benchmark_command: Command) -> None:
    run_id = run_named(results, "vanilla")
    command = ("latency", "--run", run_id, "--results", results, "--images", 40, "--warmup", 2, "--threads", 1)
    done = benchmark_command(*command, "--batch-size", 1, "--batch-size", 20)
    assert done.returncode == 0, done.stderr
    assert "0 of 40 samples" in done.stdout or "1 of 40 samples" in done.stdout
    store = Store(results)
    (latency,) = read_latencies(store)[run_id]
    assert [timing.batch_size for timing in latency.timings] == [1, 20]
    assert [timing.images for timing in latency.timings] == [40, 40]
    assert latency.machine.threads == 1
    assert latency.logit_error <= 1e-5
    assert (latency.execution, latency.attention) == ("executed", ("flash_attention_for_cpu",))
    assert latency.audit.answers == 10  # 1 % of 80 answers would be one
    assert latency.repeated.batch_size == 1
    assert "flash_attention_for_cpu" in done.stdout
    assert "data-dependent" in done.stdout
    for timing in latency.timings:
        assert 0 < timing.dynamic.p50 <= timing.dynamic.p95 <= timing.dynamic.p99
        assert timing.realised == pytest.approx(timing.speedup / timing.mac_speedup)

    runs, problems = load_runs(store, store.run_ids())
    assert problems == []
    (timed,) = (run for run in runs if run.record.run_id == run_id)
    exits = timed.point_outcomes[latency.point].exit[0, :40] + 1
    assert latency.repeated.exit == exits.min()  # the easiest of the timed images
    table = points(runs).set_index(["run_id", "point"])
    row = table.loc[(run_id, latency.point)]
    assert row["time_speedup"] == pytest.approx(latency.timings[0].speedup)
    assert "1 thread, fp32" in row["time_device"]
    assert table[table["policy"] != "static"]["time_speedup"].notna().sum() == 1

    files = {path: path.stat().st_mtime_ns for path in (results / "stages").glob("latency-*/*")}
    again = benchmark_command(*command, "--batch-size", 1, "--batch-size", 20)
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in (results / "stages").glob("latency-*/*")} == files
    reported = benchmark_command("report", "--full", "--results", results, "--out", results.parent / "report")
    assert reported.returncode == 0, reported.stderr
    assert "Time: measured one image at a time" in " ".join(reported.stdout.split())


def test_the_macs_are_those_of_the_images_that_were_timed() -> None:
    model, images = small_model("vit_nano_patch4_28"), images_for("vit_nano_patch4_28", 25)
    with torch.no_grad():
        offline = model(images)
    policy = get_policy("confidence", threshold=float(offline[:-1].softmax(-1).amax(-1).median()))
    costs = CostTable(
        stem=0, blocks=(1,) * 12, heads=(1,) * 5, cumulative=(10, 20, 30, 40, 50), depth=12, baseline=45, norms=0,
        linear_conv_cumulative=(10, 20, 30, 40, 50), linear_conv_baseline=45, parameters=0, heads_parameters=0, uncounted=(),
    )  # fmt: skip
    timing, answers = time_batches(model, model.backbone, policy, images, costs, batch_size=10, warmup=1)
    assert timing.images == 20  # the last five images do not fill a batch
    exits, _ = policy.choose(offline[:, :20])
    assert answers.samples.tolist() == list(range(20))
    assert (answers.exits == exits).float().mean() > 0.9
    assert timing.mac_speedup == pytest.approx(45 / np.mean([costs.cumulative[k] for k in exits]), rel=0.05)


def test_quantiles_are_in_milliseconds() -> None:
    quantiles = Quantiles.of([0.001 * i for i in range(1, 101)])
    assert (quantiles.p50, quantiles.mean) == (50.5, 50.5)
    assert quantiles.p99 == pytest.approx(99.01)


@pytest.mark.parametrize(("arguments", "parts"), [
    (("--run", "lgvit-nothing"), ["'lgvit-nothing'"]),
    (("--run", "static"), ["static"]),
    (("--run", "lgvit", "--point", "confidence/accuracy-drop-0.5"), ["'confidence/accuracy-drop-0.005'"]),
    (("--run", "lgvit", "--point", "confidence/equal-macs-0.5"), ["confidence/equal-macs-0.5", "confidence/accuracy-drop-"]),
    (("--run", "lgvit", "--device", "cuda:7"), ["--device", "cuda:7"]),
    (("--run", "lgvit", "--images", "4", "--batch-size", "8"), ["--images 4"]),
    (("--run", "lgvit", "--precision", "fp8"), ["--precision", "fp8"]),
    (("--run", "lgvit", "--load", "0.5"), ["--load", "--scenario server"]),
    (("--run", "lgvit", "--scenario", "server", "--batch-size", "4", "--batch-size", "8"), ["--batch-size"]),
    (("--run", "lgvit", "--scenario", "server", "--load", "0"), ["--load"]),
    ((), ["'--run'"]),
])  # fmt: skip
def test_mistakes_are_named_without_a_traceback(
    arguments: tuple[str, ...], parts: list[str], smoke: SmokeRun, benchmark_command: Command
) -> None:
    named = [run_named(smoke.results, a) if a in ("lgvit", "static") else a for a in arguments]
    done = benchmark_command("latency", "--results", smoke.results, *named)
    assert done.returncode == 2
    assert all(part in done.stderr for part in parts)
    assert "Traceback" not in done.stderr


def test_weights_that_disagree_with_the_scores_are_not_timed(
    smoke: SmokeRun, tmp_path: Path, benchmark_command: Command
) -> None:
    """Weights and their hash in the manifest are changed together, so only running the model can detect it."""
    results = tmp_path / "results"
    shutil.copytree(smoke.results, results)
    run_id = run_named(results, "vanilla")
    record = Store(results).record(run_id)
    (key,) = [reference.key for reference in record.stages if reference.stage == "exits"]
    weights = results / "stages" / f"exits-{key}" / "heads.safetensors"
    save_file({name: tensor * 1.5 for name, tensor in load_file(weights).items()}, weights)

    def rehash(manifest: dict[str, Any]) -> None:
        for artifact in manifest["artifacts"]:
            if artifact["path"] == weights.name:
                artifact["sha256"] = sha256(weights)

    edit_json(weights.with_name("manifest.json"), rehash)
    done = benchmark_command("latency", "--run", run_id, "--results", results, "--images", 20, "--batch-size", 1)
    assert done.returncode == 2
    assert f" {run_id}: " in done.stderr
    assert "--run" not in done.stderr  # the commands deploy and run time models, too
    assert "stored scores" in done.stderr
    assert not list(results.glob("stages/latency-*"))


def test_a_model_without_exits_is_timed_beside_the_backbone_with_all_tokens(tmp_path: Path) -> None:
    record = write_trained_run(tmp_path, method="tome", exits=())
    subject = Subject.of(
        Store(tmp_path), record.run_id, None, torch.device("cpu"), precision="fp32", images=20, threads=None, data_dir=None
    )  # fmt: skip
    backbone = checked_model(subject, lambda line: None).backbone
    assert type(backbone) is ViT
    assert len(backbone.block(1, backbone.embed(torch.zeros(1, 1, 28, 28))).values[0]) == 50
    _, latency = measure_run(subject, (10,), lambda line: None, warmup=0)
    (timing,) = latency.timings
    assert (latency.checked, latency.moved, latency.audit.answers) == (20, 0, 10)
    assert timing.mac_speedup == pytest.approx(record.costs.baseline / record.costs.cumulative[0])
    assert latency.attention
    queue = ServerSetup(batch_size=2, loads=(1.0,), requests=1, seed=0, limit_ms=None, warmup=0)
    with pytest.raises(UserError, match="no early exits"):
        measure_server(subject, queue, lambda line: None)

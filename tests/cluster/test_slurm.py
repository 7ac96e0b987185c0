"""Grids on a real Slurm: arrays, dependencies, GPUs, time limits, kills, failures and messages."""

from __future__ import annotations

import json
import os
import re
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from results.store.folder import Store
from tests.cluster.conftest import (
    MOST_TASKS,
    SLOW_AT_FIRST,
    Cluster,
    cluster_grid,
    manifests,
    on_slurm,
    records,
    same_bits,
    until,
)

# A training that fails in the first start of its job.
FAILS_AT_FIRST = 'export SLOW_FAILS=$([ "${SLURM_RESTART_COUNT:-0}" = 0 ] && echo 1 || echo 0)'
RESUMED = re.compile(r"from the checkpoint in epoch \d")


def exits_stage(results: Path) -> str:
    (name,) = Store(results).stages("exits")
    return name


@dataclass(frozen=True)
class Submitted:
    grid: Path
    results: Path


@pytest.fixture(scope="session")
def limited(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Submitted:
    """Submitted before anything else, as it takes longest: a training whose first attempt meets its limit of two minutes."""
    folder = tmp_path_factory.mktemp("limited")
    grid = cluster_grid(folder, "limited", ["slow"])
    (folder / "profile.yaml").write_text("time: 10\nsignal-delay: 20\nexits: {time: 0:02:00}\n")
    options = ("--profile", folder / "profile.yaml", "--setup", SLOW_AT_FIRST)
    done = cluster.command(*on_slurm(grid, folder / "results", *options))
    assert done.returncode == 0, done.stderr
    return Submitted(grid, folder / "results")


@pytest.fixture(scope="session")
def arrays(limited: Submitted, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a grid of six runs, submitted from a folder with special characters in its name."""
    folder = tmp_path_factory.mktemp("arrays") / 'it\'s a "home"'
    (folder / "datasets").mkdir(parents=True)  # another package `datasets` in the current folder
    (folder / "datasets" / "__init__.py").write_text("raise RuntimeError('the wrong datasets')")
    grid = cluster_grid(folder, "many", ["static", "vanilla", "homogeneous-local"], (0, 1))
    (folder / "profile.yaml").write_text("gpus-per-node: 1\nfinetune: {gpus-per-node: 2}\n")
    options = ("--profile", "profile.yaml", "--array-parallelism", 1, "--stages-per-task", 4, "--account", "bench")
    env = cluster.env | {"PYTHONPATH": f"{Path.cwd()}:{cluster.env['PYTHONPATH']}"}
    done = Cluster(cluster.folder, env).command(
        "run", "--grid", grid.name, "--results", "my results", "--out", "report", "--device", "cpu", "--executor", "slurm",
        *options, cwd=folder, safe_path=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    cluster.wait(folder / "my results")
    return folder / "my results"


def test_a_grid_becomes_records_and_a_report(arrays: Path, cluster: Cluster) -> None:
    on_arrays = records(arrays)
    assert [record["status"] for record in on_arrays] == ["done"] * 6, cluster.logs(arrays)
    (manifest,) = manifests(arrays)
    assert {record["provenance"]["code"]["frozen"] for record in on_arrays} == {manifest["code"]}
    assert {record["provenance"]["machine"]["threads"] for record in on_arrays} == {1}
    assert (arrays.parent / "report" / "paper.pdf").is_file()


def test_arrays_are_split_limited_and_tied_by_level(arrays: Path, cluster: Cluster) -> None:
    (manifest,) = manifests(arrays)
    assert max(len(array["tasks"]) for array in manifest["arrays"]) == MOST_TASKS
    assert {"1-exits-1", "1-scores-2"} <= {array["name"] for array in manifest["arrays"]}
    # A shared pass over the data is one task, and a stage that many runs share is made once.
    tasks = [task for array in manifest["arrays"] for task in array["tasks"]]
    assert [len(task["units"][0]) for task in tasks if task["kind"] == "exits"] == [2, 2]
    assert sum(task["kind"] == "finetune" for task in tasks) == 2
    started, ended = {}, {}
    for line in cluster.says(
        "sacct",
        "-n",
        "-P",
        "-X",
        "--format=JobID,Start,End",
        "-j",
        ",".join(array["job"] for array in manifest["arrays"]),
    ).splitlines():
        job, started[job], ended[job] = line.split("|")
    for array in manifest["arrays"]:
        names = [task["job"] for task in array["tasks"]]
        for job in names:
            # Every task starts after its dependencies have ended, and an array runs one task at a time.
            assert all(started[job] >= end for other, end in ended.items() if other.split("_")[0] in array["after"])
            assert sum(started[other] < ended[job] and started[job] < ended[other] for other in names) == 1


def test_tasks_get_the_gpus_of_their_kind_and_share_a_training(arrays: Path, cluster: Cluster) -> None:
    (manifest,) = manifests(arrays)
    expected_gpus = {"finetune": 2, "exits": 1, "scores": 1}
    for array in manifest["arrays"]:
        accounted = cluster.says("sacct", "-n", "-P", "-X", "--format=AllocTRES,Account", "-j", array["job"])
        kinds = {task["kind"] for task in array["tasks"]}
        (gpus,) = {expected_gpus.get(kind, 0) for kind in kinds}
        assert (f"gres/gpu={gpus}" in accounted) if gpus else ("gres/gpu" not in accounted), array["name"]
        assert {line.split("|")[1] for line in accounted.splitlines()} == {"bench"}

    store = Store(arrays)
    ranks = {kind: {store.provenance(name).machine.ranks for name in store.stages(kind)} for kind in expected_gpus}
    assert ranks == {"finetune": {2}, "exits": {1}, "scores": {1}}


def test_a_submission_is_readable_by_its_owner_only(arrays: Path) -> None:
    for folder in arrays.glob("submissions/*"):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_an_unknown_partition_shows_slurms_message(cluster: Cluster, tmp_path: Path) -> None:
    done = cluster.command(*on_slurm(cluster_grid(tmp_path, "x", ["static"]), tmp_path / "r", "--partition", "nowhere"))
    assert done.returncode == 2
    assert "invalid partition specified: nowhere" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("r/submissions/*"))


def test_a_failure_has_a_cause_and_blocks_dependent_stages(cluster: Cluster, tmp_path: Path) -> None:
    grid = cluster_grid(tmp_path, "nodata", ["static", "vanilla"])
    grid.write_text(grid.read_text().replace("fashion-mnist-mini", "cifar-10"))
    results = tmp_path / "results"
    done = cluster.command(*on_slurm(grid, results, "--data-dir", tmp_path))
    assert done.returncode == 0, done.stderr
    cluster.wait(results)
    by_method = {record["spec"]["train"]["method"]["name"]: record for record in records(results)}
    assert by_method["vanilla"]["failure"] == "blocked"
    assert by_method["vanilla"]["blocked_by"].startswith("finetune-")
    assert "cifar-10" in by_method["vanilla"]["cause"]
    shown = cluster.command("status", "--grid", grid, "--results", results)
    assert "1 failed, 1 blocked" in shown.stdout  # the first run of a failed stage has the stage's own cause
    assert "dataset cifar-10 was not found" in shown.stdout
    assert "_0_log.out" in shown.stdout
    assert "Traceback" not in cluster.logs(results)


def test_jobs_in_flight_stay_until_they_are_cancelled(cluster: Cluster, tmp_path: Path) -> None:
    grid, results = cluster_grid(tmp_path, "held", ["static", "vanilla"]), tmp_path / "results"
    assert cluster.command(*on_slurm(grid, results, "--sbatch", "hold")).returncode == 0
    again = cluster.command(*on_slurm(grid, results))
    assert "Nothing to submit: 0 runs are finished, 2 in flight" in again.stdout
    (manifest,) = manifests(results)
    count = sum(len(array["tasks"]) for array in manifest["arrays"])
    options = ("--grid", grid, "--results", results)
    assert "waits (JobHeldUser)" in cluster.command("status", *options).stdout
    assert f"cancelled {count} Slurm tasks" in cluster.command("cancel", *options).stdout
    shown = cluster.command("status", *options).stdout
    assert "its job was cancelled (job" in shown
    assert (
        f"{count} tasks in {len(manifest['arrays'])} arrays"
        in cluster.command(*on_slurm(grid, results, "--dry-run")).stdout
    )


def test_a_killed_task_resumes_at_the_next_run(cluster: Cluster, undisturbed: Path, tmp_path: Path) -> None:
    grid, results = cluster_grid(tmp_path, "limited", ["slow"]), tmp_path / "results"
    slowly = ("--setup", "export SLOW_SECONDS=0.3")
    assert cluster.command(*on_slurm(grid, results, *slowly)).returncode == 0

    def heartbeat() -> dict[str, Any] | None:
        heartbeats = [json.loads(path.read_text()) for path in results.glob("progress/exits-*/heartbeat.json")]
        return next((beat for beat in heartbeats if beat["epoch"] > 1), None)

    until(heartbeat, 120, lambda: cluster.logs(results))
    beat = heartbeat()
    assert beat is not None
    os.kill(beat["by"]["pid"], signal.SIGKILL)
    cluster.wait(results)
    (record,) = records(results)
    assert record["status"] == "failed"
    assert (record["failure"], "one of its processes was killed" in record["cause"]) == ("killed", True), record[
        "cause"
    ]
    assert cluster.command(*on_slurm(grid, results)).returncode == 0
    cluster.wait(results)
    (record,) = records(results)
    assert record["status"] == "done", cluster.logs(results)
    assert RESUMED.search(cluster.logs(results))
    same_bits(results, undisturbed)


def test_two_nodes_share_a_training(cluster: Cluster, tmp_path: Path) -> None:
    grid, results = cluster_grid(tmp_path, "nodes", ["static"]), tmp_path / "results"
    (tmp_path / "profile.yaml").write_text("finetune: {nodes: 2}\n")
    # The names of this cluster's nodes do not resolve.
    options = ("--profile", tmp_path / "profile.yaml", "--setup", "export MASTER_ADDR=127.0.0.1")
    assert cluster.command(*on_slurm(grid, results, *options)).returncode == 0
    cluster.wait(results)
    (record,) = records(results)
    assert record["status"] == "done", cluster.logs(results)
    (name,) = Store(results).stages("finetune")
    assert Store(results).provenance(name).machine.ranks == 2
    (job,) = {task["job"] for task in tasks_of(results) if task["kind"] == "finetune"}
    assert cluster.says("sacct", "-n", "-P", "-X", "--format=NNodes", "-j", job).split() == ["2"]


def test_a_requeued_task_retries_failures_of_its_first_start(cluster: Cluster, tmp_path: Path) -> None:
    grid, results = cluster_grid(tmp_path, "again", ["slow"]), tmp_path / "results"
    assert cluster.command(*on_slurm(grid, results, "--setup", FAILS_AT_FIRST)).returncode == 0
    cluster.wait(results)
    (record,) = records(results)
    assert record["status"] == "failed"
    assert "planned failure" in record["cause"]
    (job,) = {task["job"] for task in tasks_of(results) if task["kind"] == "exits"}
    cluster.says("scontrol", "requeue", job)
    until(lambda: Store(results).stages("exits"), 120, lambda: cluster.logs(results))
    cluster.wait(results)


def tasks_of(results: Path) -> list[dict[str, Any]]:
    return [task for manifest in manifests(results) for array in manifest["arrays"] for task in array["tasks"]]


def test_a_task_at_its_time_limit_is_requeued_and_ends_with_the_same_bits(
    limited: Submitted, undisturbed: Path, cluster: Cluster
) -> None:
    manifest = cluster.wait(limited.results)
    (record,) = records(limited.results)
    assert record["status"] == "done", cluster.logs(limited.results)
    (task,) = [task for array in manifest["arrays"] for task in array["tasks"] if task["kind"] == "exits"]
    (log,) = limited.results.glob(f"submissions/*/jobs/{task['job']}_0_log.out")
    output = log.read_text()
    assert f"Requeued job {task['job']}" in output
    assert "start 2" in output
    assert RESUMED.search(output)
    same_bits(limited.results, undisturbed)

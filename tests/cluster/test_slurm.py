"""Grids on a real Slurm: arrays, dependencies, GPUs, time limits, failures, messages and several users."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from results.store.folder import Store
from tests.cluster.conftest import (
    HERE,
    MOST_TASKS,
    SLOW_AT_FIRST,
    Cluster,
    cluster_grid,
    manifests,
    on_slurm,
    records,
    same_bits,
    small_disk,
    tasks_of,
)
from tests.conftest import ROOT, call


@pytest.fixture(scope="session")
def limited(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of two trainings side by side, which meet their limit of two minutes.

    Submitted before anything else, as it takes longest. The plug-in with their method is broken afterwards.
    """
    folder = tmp_path_factory.mktemp("limited")
    shutil.copytree(HERE / "plugin", folder / "plugin")
    grid = cluster_grid(folder, "limited", ["slow"], (0, 1))
    profile = "time: 10\nsignal-delay: 20\nstages-at-once: 2\nexits: {time: 0:02:00}\n"
    (folder / "profile.yaml").write_text(profile)
    options = ("--profile", folder / "profile.yaml", "--setup", SLOW_AT_FIRST)
    env = cluster.env | {"PYTHONPATH": str(folder / "plugin")}
    done = call(*on_slurm(grid, folder / "results", *options), env=env)
    assert done.returncode == 0, done.stderr
    (folder / "plugin" / "slow_method.py").write_text("raise RuntimeError('edited while the grid is queued')\n")
    return folder / "results"


@pytest.fixture(scope="session")
def arrays(limited: Path, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a grid of six runs, submitted from a folder with special characters in its name."""
    folder = tmp_path_factory.mktemp("arrays") / 'it\'s a "home"'
    (folder / "datasets").mkdir(parents=True)  # another package `datasets` in the current folder
    (folder / "datasets" / "__init__.py").write_text("raise RuntimeError('the wrong datasets')")
    grid = cluster_grid(folder, "many", ["static", "vanilla", "homogeneous-local"], (0, 1))
    (folder / "profile.yaml").write_text("gpus-per-node: 1\nfinetune: {gpus-per-node: 2}\n")
    options = ("--profile", "profile.yaml", "--array-parallelism", 1, "--stages-per-task", 4, "--account", "bench")
    env = cluster.env | {"PYTHONPATH": f"{ROOT}:{cluster.env['PYTHONPATH']}"}
    done = call(
        "run", "--grid", grid.name, "--results", "my results", "--out", "report", "--device", "cpu", "--executor", "slurm",
        *options, cwd=folder, env=env, safe_path=True,
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
    ids = ",".join(array["job"] for array in manifest["arrays"])
    for line in cluster.says("sacct", "-n", "-P", "-X", "--format=JobID,Start,End", "-j", ids).splitlines():
        job, started[job], ended[job] = line.split("|")
    for array in manifest["arrays"]:
        for task in array["tasks"]:  # starts after its dependencies have ended
            assert all(started[task["job"]] >= end for job, end in ended.items() if job.split("_")[0] in array["after"])
    pieces = [array for array in manifest["arrays"] if array["name"] in ("1-exits-1", "1-scores-2")]
    for together in (
        pieces,
        *([array] for array in manifest["arrays"]),
    ):  # one task of an array, or of its pieces, runs
        jobs = [task["job"] for array in together for task in array["tasks"]]
        for job in jobs:
            assert sum(started[other] < ended[job] and started[job] < ended[other] for other in jobs) == 1


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
    refused = cluster.command("retry", "--failed", *on_slurm(grid, results, "--partition", "nowhere")[1:])
    assert refused.returncode == 2
    assert [record["status"] for record in records(results)] == ["failed"] * 2


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
    planned = cluster.command(*on_slurm(grid, results, "--dry-run")).stdout
    assert f"{count} tasks in {len(manifest['arrays'])} arrays" in planned
    assert re.search(r"sbatch --test-only: 0-\S+ to start at", planned), planned


def test_nodes_test_where_they_meet(cluster: Cluster, tmp_path: Path) -> None:
    test = f"srun {sys.executable} -m benchmark doctor --nodes 2 --rendezvous 127.0.0.1:29517"
    cluster.says("sbatch", "--wait", "-N", "2", "--chdir", str(ROOT), "-o", str(tmp_path / "log"), "--wrap", test)
    log = (tmp_path / "log").read_text()
    assert len(re.findall(r"ok +gloo", log)) == 2, log


def test_a_full_disk_is_one_sentence(cluster: Cluster, tmp_path: Path) -> None:
    results = tmp_path / "results"
    with small_disk(results, megabytes=1):
        done = cluster.command(*on_slurm(cluster_grid(tmp_path, "full", ["static"]), results))
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "No space left" in done.stderr
        assert not list(results.glob("submissions/*"))


@dataclass(frozen=True)
class User:
    """A user whose files their group may write."""

    cluster: Cluster
    uid: int
    gid: int
    home: Path

    def command(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "benchmark", *map(str, arguments)],
            cwd=ROOT, env=self.cluster.env | {"HOME": str(self.home)}, user=self.uid, group=self.gid, extra_groups=[],
            umask=0o002, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip


@pytest.fixture
def team(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[User, User, Path]]:
    """Two users of one group, and a folder of the group."""
    name = f"colleague{os.getpid()}"
    if os.getuid() or subprocess.run(["useradd", "--no-create-home", name], capture_output=True).returncode:
        pytest.skip("this user cannot add another")
    folder = Path(tempfile.mkdtemp(prefix="team", dir="/tmp"))  # pytest's own folder is private
    try:
        colleague = pwd.getpwnam(name)
        cluster.says("sacctmgr", "--immediate", "add", "user", name, "account=bench")
        os.chown(folder, 0, colleague.pw_gid)
        folder.chmod(0o2775)
        users = [User(cluster, uid, gid, folder) for uid, gid in ((0, 0), (colleague.pw_uid, colleague.pw_gid))]
        needed = ["-x", sys.executable, "-a", "-r", __file__]
        if subprocess.run(["test", *needed], user=name, group=name, extra_groups=[]).returncode:
            pytest.skip(f"another user cannot run {sys.executable} or read this checkout")
        yield users[0], users[1], folder
    finally:
        subprocess.run(["userdel", name], check=True)
        shutil.rmtree(folder)


def test_two_users_share_a_folder(team: tuple[User, User, Path], cluster: Cluster, undisturbed: Path) -> None:
    first, second, folder = team
    results = folder / "results"
    results.mkdir(mode=0o2775)
    results.chmod(0o2775)
    small = cluster_grid(folder, "small", ["static"])
    assert first.command(*on_slurm(small, results, "--sbatch", "hold")).returncode == 0
    selection = ("--grid", small, "--results", results)
    assert "1 in flight" in second.command(*on_slurm(small, results)).stdout
    assert f"belong to {pwd.getpwuid(0).pw_name}" in second.command("cancel", *selection).stdout
    # A larger grid waits for what the first user's tasks make.
    larger = cluster_grid(folder, "small", ["static", "vanilla"])
    submitted = second.command(*on_slurm(larger, results))
    assert submitted.returncode == 0, submitted.stderr
    cluster.says("scontrol", "release", *cluster.queue(results))
    cluster.wait(results)
    assert [record["status"] for record in records(results)] == ["done"] * 2, cluster.logs(results)
    owners = {
        kind: {Store(results).stage(name).stat().st_uid for name in Store(results).stages(kind)}
        for kind in ("finetune", "exits")
    }
    assert owners == {"finetune": {first.uid}, "exits": {second.uid}}

    refused = second.command("run", "--grid", larger, "--results", undisturbed)
    assert refused.returncode == 2
    assert (refused.stderr.count("\n"), "ermission denied" in refused.stderr) == (1, True), refused.stderr


def test_trainings_at_their_time_limit_are_requeued_and_end_with_the_same_bits(
    limited: Path, undisturbed: Path, cluster: Cluster
) -> None:
    cluster.wait(limited)
    assert [record["status"] for record in records(limited)] == ["done"] * 2, cluster.logs(limited)
    (task,) = [task for task in tasks_of(limited) if task["kind"] == "exits"]
    (log,) = limited.glob(f"submissions/*/jobs/{task['job']}_0_log.out")
    output = log.read_text()
    assert f"Requeued job {task['job']}" in output
    assert "start 2" in output
    for name in Store(limited).stages("exits"):
        assert [attempt.outcome for attempt in Store(limited).provenance(name).earlier] == ["stopped"]
    same_bits(limited, undisturbed)

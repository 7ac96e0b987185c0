"""Interruptions of a training on a real Slurm. It resumes from its checkpoint, or its record says why it does not."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.cluster.conftest import (
    SCRIPT,
    Cluster,
    arguments,
    cluster_grid,
    on_slurm,
    records,
    same_bits,
    small_disk,
    tasks_of,
    until,
)
from tests.cluster.training import LONGEST, Training, copy_backbone

FAILS_AT_FIRST = 'export SLOW_FAILS=$([ "${SLURM_RESTART_COUNT:-0}" = 0 ] && echo 1 || echo 0)'
PREEMPTING = {"low": "requeued after 20 s", "now": "requeued at once", "lost": "cancelled at once"}


def test_a_stopped_rank_is_ended_and_the_training_goes_on(cluster: Cluster, undisturbed: Path, tmp_path: Path) -> None:
    (tmp_path / "profile.yaml").write_text("exits: {gpus-per-node: 2}\n")
    options = ("--profile", tmp_path / "profile.yaml", "--hang-minutes", 0.3)
    training = Training(cluster, undisturbed, tmp_path, *options)
    rank_0 = training.started().by.pid
    parent = int(Path(f"/proc/{rank_0}/stat").read_text().split()[3])
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    (rank_1,) = {int(child) for child in children} - {rank_0}
    os.kill(rank_1, signal.SIGSTOP)
    assert [attempt.failure for attempt in training.ends()] == ["hang"]
    assert "from the checkpoint in epoch" in training.output()


def test_preempted_trainings_go_on_or_are_cancelled(
    without_accounting: Cluster, undisturbed: Path, tmp_path: Path
) -> None:
    """On a cluster without accounting, where the queue alone tells how jobs ended."""
    trainings = {}
    for partition in PREEMPTING:
        (tmp_path / partition).mkdir()
        options = ("--partition", partition, "--signal-delay", 20)
        trainings[partition] = Training(without_accounting, undisturbed, tmp_path / partition, *options)
    for training in trainings.values():
        training.started()
    both_nodes = ("-p", "main", "-N", "2", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 1")
    without_accounting.says("sbatch", *both_nodes)
    for partition in ("low", "now"):
        trainings[partition].ends()
        assert "start 2" in trainings[partition].output()
        same_bits(trainings[partition].results, undisturbed, kinds=("finetune", "exits"))
    record = trainings["lost"].record()
    assert (record["status"], record["failure"]) == ("failed", "cancelled"), record["cause"]
    trainings["lost"].submit(*trainings["lost"].command)
    assert trainings["lost"].record()["status"] == "done"
    same_bits(trainings["lost"].results, undisturbed)


@contextmanager
def dead(cluster: Cluster, node: str) -> Iterator[None]:
    """Kill a node with all that runs there; it is repaired afterwards."""
    subprocess.run(["bash", SCRIPT, "node-down", node], env=cluster.env, check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["bash", SCRIPT, "node-up", node], env=cluster.env, check=True, capture_output=True)
        cluster.says("scontrol", "update", f"nodename={node}", "state=resume")


def test_a_training_goes_on_after_its_node_has_died(cluster: Cluster, undisturbed: Path, tmp_path: Path) -> None:
    training = Training(cluster, undisturbed, tmp_path)
    node = training.started().by.node
    assert node is not None
    with dead(cluster, node):
        cluster.says("scontrol", "update", f"nodename={node}", "state=down", "reason=test")  # else Slurm notices later
        earlier = training.ends()
    assert [attempt.node for attempt in earlier] == [node]
    assert "start 2" in training.output()
    same_bits(training.results, undisturbed, kinds=("finetune", "exits"))


def test_a_training_on_two_nodes_survives_the_loss_of_one(cluster: Cluster, undisturbed: Path, tmp_path: Path) -> None:
    (tmp_path / "profile.yaml").write_text("exits: {nodes: 2}\n")
    # The names of this cluster's nodes do not resolve.
    options = ("--profile", tmp_path / "profile.yaml", "--setup", "export MASTER_ADDR=127.0.0.1")
    training = Training(cluster, undisturbed, tmp_path, *options)
    (node,) = {"n1", "n2"} - {training.started().by.node}
    with dead(cluster, node):
        until(lambda: "PENDING" in cluster.says("squeue", "-h", "-o", "%T", "-j", training.job), 120)
    training.ends()
    assert "start 2" in training.output()
    assert training.store.provenance(training.stage).machine.ranks == 2
    assert cluster.says("sacct", "-n", "-P", "-X", "--format=NNodes", "-j", training.job).split() == ["2"]
    grid, two_processes = cluster_grid(tmp_path, "limited", ["slow"]), tmp_path / "two processes"
    copy_backbone(undisturbed, two_processes)
    done = cluster.command(*arguments(grid, two_processes), "--gpus", 2)
    assert done.returncode == 0, done.stderr
    same_bits(training.results, two_processes, kinds=("exits",))


def test_a_task_that_ran_out_of_memory_gets_twice_as_much(cluster: Cluster, undisturbed: Path, tmp_path: Path) -> None:
    if "ConstrainRAMSpace" not in (cluster.folder / "etc" / "cgroup.conf").read_text():
        pytest.skip("this machine has no memory cgroup to write to")
    (tmp_path / "profile.yaml").write_text("exits: {gpus-per-node: 2, mem: 2G}\n")
    options = ("--profile", tmp_path / "profile.yaml")
    training = Training(cluster, undisturbed, tmp_path, *options, setup="export SLOW_MEGABYTES=900")
    record = training.record()
    assert (record["status"], record["failure"]) == ("failed", "oom"), record["cause"]
    output = training.submit(
        "retry", "--failed", "--cause", "oom", *training.command[1:], "--setup", "export SLOW_MEGABYTES=900"
    )
    assert f"{training.stage} ran out of memory with 2G: it gets 4G" in output
    assert [attempt.failure for attempt in training.ends()][-1] == "oom"
    assert cluster.says("sacct", "-n", "-P", "-X", "--format=ReqMem", "-j", training.job).split() == ["4G"]


def test_a_disk_that_fills_up_is_the_cause(cluster: Cluster, undisturbed: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "results", megabytes=64):
        training = Training(cluster, undisturbed, tmp_path)
        training.started()
        rest = training.results / "rest"
        with suppress(OSError), rest.open("wb", buffering=0) as file:
            while file.write(bytes(2**20)):
                pass
        until(training.failures, LONGEST, training.output)
        cluster.cancel(training.results)
        cluster.wait(training.results)
        status = cluster.command("status", *training.selection).stdout  # without a record, for which there is no room
        assert "disk-full" in status
        rest.unlink()
        training.submit("retry", "--failed", "--cause", "disk-full", *training.command[1:])
        assert [attempt.failure for attempt in training.ends()] == ["disk-full"]
        cluster.wait(training.results)


def test_a_killed_task_resumes_at_the_next_run(cluster: Cluster, undisturbed: Path, tmp_path: Path) -> None:
    training = Training(cluster, undisturbed, tmp_path)
    os.kill(training.started().by.pid, signal.SIGKILL)
    record = training.record()
    assert (record["status"], record["failure"]) == ("failed", "killed"), record["cause"]
    assert "one of its processes was killed" in record["cause"]
    training.submit(*training.command)
    assert training.record()["status"] == "done", training.output()
    assert "from the checkpoint in epoch" in training.output()
    same_bits(training.results, undisturbed)


def test_a_requeued_task_retries_failures_of_its_first_start(
    cluster: Cluster, undisturbed: Path, tmp_path: Path
) -> None:
    training = Training(cluster, undisturbed, tmp_path, setup=FAILS_AT_FIRST)
    record = training.record()
    assert record["status"] == "failed"
    assert "planned failure" in record["cause"]
    cluster.says("scontrol", "requeue", training.job)
    training.ends()


def test_a_task_that_is_cancelled_while_it_waits_leaves_its_cause(
    cluster: Cluster, undisturbed: Path, tmp_path: Path
) -> None:
    results, mail = tmp_path / "results", tmp_path / "mail"
    grid = cluster_grid(tmp_path, "two", ["slow"], (0, 1))
    copy_backbone(undisturbed, results)
    done = cluster.command(*on_slurm(grid, results, "--sbatch", "hold", "--notify", f"cat > {mail}"))
    assert done.returncode == 0, done.stderr
    cancelled, _ = [task["job"] for task in tasks_of(results) if task["kind"] == "exits"]  # of one array
    cluster.says("scancel", cancelled)
    cluster.says("scontrol", "release", *cluster.queue(results))
    cluster.wait(results)
    causes = {record["spec"]["train"]["seed"]: record.get("failure") for record in records(results)}
    assert causes == {0: "cancelled", 1: None}
    assert "1 of 2 runs are finished" in mail.read_text()

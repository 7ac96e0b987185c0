"""Interruptions of a training on a real Slurm: a stopped rank, preemption, a dead node. Each resumes from its checkpoint."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from benchmark.execution.slurm import scheduler
from results.store.attempts import Attempt, Heartbeat
from results.store.folder import Store
from tests.cluster.conftest import (
    SCRIPT,
    SLOW_AT_FIRST,
    Cluster,
    cluster_grid,
    manifests,
    on_slurm,
    records,
    same_bits,
    until,
)

# A training whose steps after the first epoch are slow in the first start of its job.
SLOW_LATER = 'export SLOW_AFTER=10 SLOW_SECONDS=$([ "${SLURM_RESTART_COUNT:-0}" = 0 ] && echo 12 || echo 0)'
PREEMPTING = {"low": "requeued after 20 s", "now": "requeued at once", "lost": "cancelled at once"}


class Training:
    """A slow training of exits that was submitted; everything before it is finished.

    Args:
        finished: results whose stages are copied, except those of the slow method.
        slow: command that makes its first start slow.
    """

    def __init__(
        self, cluster: Cluster, finished: Path, folder: Path, *options: object, slow: str = SLOW_AT_FIRST
    ) -> None:
        self.cluster, self.results = cluster, folder / "results"
        self.store = Store(self.results)
        self.grid = cluster_grid(folder, "limited", ["slow"])
        for kind in ("finetune", "cost"):
            for name in Store(finished).stages(kind):
                shutil.copytree(Store(finished).stage(name), self.store.stage(name))
        done = cluster.command(*on_slurm(self.grid, self.results, "--setup", slow, *options))
        assert done.returncode == 0, done.stderr
        tasks = [task for array in manifests(self.results)[0]["arrays"] for task in array["tasks"]]
        ((self.job, self.stage),) = [(task["job"], task["units"][0][0]) for task in tasks if task["kind"] == "exits"]

    def heartbeat(self) -> Heartbeat | None:
        """The heartbeat of a training that has a checkpoint."""
        beat = self.store.progress(self.stage).heartbeat()
        return beat if beat is not None and beat.epoch > 1 else None

    def started(self) -> Heartbeat:
        until(self.heartbeat, 150, lambda: self.cluster.logs(self.results))
        beat = self.heartbeat()
        assert beat is not None
        return beat

    def failures(self) -> list[Attempt]:
        return [attempt for attempt in self.store.progress(self.stage).attempts() if attempt.failure is not None]

    def ends(self) -> None:
        """Wait for the stage, and cancel what comes after it."""
        until(lambda: self.store.has_stage(self.stage), 150, lambda: self.cluster.says("squeue") + self.output())
        self.cluster.says("scancel", *self.cluster.queue(self.results))

    def output(self) -> str:
        return self.cluster.logs(self.results)


def test_a_stopped_rank_is_ended_and_the_training_goes_on(cluster: Cluster, undisturbed: Path, tmp_path: Path) -> None:
    (tmp_path / "profile.yaml").write_text("exits: {gpus-per-node: 2}\n")
    options = ("--profile", tmp_path / "profile.yaml", "--hang-minutes", 0.3)
    training = Training(cluster, undisturbed, tmp_path, *options)
    rank_0 = training.started().by.pid
    parent = int(Path(f"/proc/{rank_0}/stat").read_text().split()[3])
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    (rank_1,) = {int(child) for child in children} - {rank_0}
    os.kill(rank_1, signal.SIGSTOP)
    until(training.failures, 60, training.output)
    assert [failure.failure for failure in training.failures()] == ["hang"]
    training.ends()
    earlier = training.store.provenance(training.stage).earlier
    assert [attempt.failure for attempt in earlier] == ["hang"]
    assert "from the checkpoint in epoch" in training.output()


def test_preempted_trainings_go_on_or_are_cancelled(
    cluster: Cluster, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings = {}
    for partition in PREEMPTING:
        (tmp_path / partition).mkdir()
        options = ("--partition", partition, "--signal-delay", 20)
        trainings[partition] = Training(cluster, undisturbed, tmp_path / partition, *options, slow=SLOW_LATER)
    for training in trainings.values():
        training.started()
    both_nodes = ("-p", "main", "-N", "2", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 5")
    urgent = cluster.says("sbatch", "--parsable", *both_nodes)
    for partition in ("low", "now"):
        trainings[partition].ends()
        assert "start 2" in trainings[partition].output()
        same_bits(trainings[partition].results, undisturbed, kinds=("finetune", "exits"))
    cluster.wait(trainings["lost"].results, 150)
    (record,) = records(trainings["lost"].results)
    assert (record["status"], record["failure"]) == ("failed", "cancelled"), record["cause"]

    # The queue alone, on a cluster without accounting, gives the same final states.
    jobs = [urgent.strip(), *(training.job for training in trainings.values())]
    for name in ("PATH", "SLURM_CONF"):
        monkeypatch.setenv(name, cluster.env[name])
    accounted = scheduler.states_of(jobs)
    (tmp_path / "sacct").write_text("#!/bin/sh\necho 'Slurm accounting storage is disabled' >&2; exit 1\n")
    (tmp_path / "sacct").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{cluster.env['PATH']}")
    assert {job: state.state for job, state in scheduler.states_of(jobs).items()} == {
        job: state.state for job, state in accounted.items()
    }


def test_a_training_goes_on_after_its_node_has_died(cluster: Cluster, undisturbed: Path, tmp_path: Path) -> None:
    training = Training(cluster, undisturbed, tmp_path)
    node = training.started().by.node
    assert node is not None
    subprocess.run(["bash", SCRIPT, "node-down", node], env=cluster.env, check=True, capture_output=True)
    try:
        cluster.says("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
        training.ends()
    finally:
        subprocess.run(["bash", SCRIPT, "node-up", node], env=cluster.env, check=True, capture_output=True)
        cluster.says("scontrol", "update", f"nodename={node}", "state=resume")
    provenance = training.store.provenance(training.stage)
    assert [attempt.node for attempt in provenance.earlier] == [node]
    assert "start 2" in training.output()
    same_bits(training.results, undisturbed, kinds=("finetune", "exits"))

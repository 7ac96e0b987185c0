"""``python -m benchmark.execution.slurm.node``: the work of one task of a job array, on each of its nodes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Collection, Iterable
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from submitit import JobEnvironment
from submitit.helpers import TorchDistributedEnvironment

from benchmark import registry
from benchmark.errors import HeldElsewhereError, Interrupted, UserError
from benchmark.execution.causes import failure_of
from benchmark.execution.config import ExecutionConfig
from benchmark.execution.launch import launch
from benchmark.execution.pool import WORKER_MODULE, WorkerPool
from benchmark.execution.slurm.failures import final_failure, last_failure, note_end, note_job_failures
from benchmark.execution.slurm.options import CPU_KINDS, TRAINING_KINDS
from benchmark.execution.slurm.staging import stage_data
from benchmark.execution.slurm.submission import Submission
from benchmark.execution.slurm.task import HELD, STOPPED, fruitless_starts
from benchmark.execution.task import StageFailure, run_task
from benchmark.progress import Reporter
from datasets.api import DataError
from results.record import FailureCause
from results.store.attempts import this_process
from results.store.folder import Store, StoreError

FAILED = 1
MAX_FRUITLESS = 5
"""Starts in a row that Slurm ends before they make anything, after which the task fails."""
LOCK_SECONDS = 60.0
"""How long a task holds its resources while another submission makes its stages."""
SIGNALS = (JobEnvironment._usr_sig(), signal.SIGTERM)


class NodeTask:
    """The part of a submission that this process works on.

    Args:
        folder: of the submission.
        kind: of the work.
        processes: ranks on each node.
    """

    def __init__(self, folder: str, kind: str, processes: str) -> None:
        self.submission, self.kind, self.processes = Submission(Path(folder)), kind, int(processes)
        self.settings = self.submission.settings()
        self.store = Store(self.settings.execution.results)
        self.store.prepare()
        self.plan = self.settings.plan(self.store)
        self.job = JobEnvironment()
        self.log = self.submission.log(self.job.job_id)
        self.worker = this_process(self.submission.name, self.log)
        self.restarts = self.worker.restarts

    def config(self, data_dir: Path | None) -> ExecutionConfig:
        changes = {"session": self.submission.name, "log": self.log, "processes": self.processes, "data_dir": data_dir}
        changes["lock_seconds"] = LOCK_SECONDS
        if self.kind in CPU_KINDS:
            changes["device"] = "cpu"
        return self.settings.execution.model_copy(update=changes)

    def record_runs(self, run_ids: Collection[str]) -> int:
        """Record runs whose stages other tasks made or failed to make. Returns the exit code."""
        note_job_failures(self.store, [run for run in self.plan.runs if run.run_id in run_ids])
        run_task(self.plan, self.config(self.settings.execution.data_dir), _reporter(), stages=(), runs=run_ids)
        return 0 if all(self.store.is_done(run_id) for run_id in run_ids) else FAILED

    def make_stages(self, names: Collection[str]) -> int:
        """Make stages in all ranks of the task. Returns the exit code."""
        failures: list[StageFailure] = []
        try:
            config = self.config(self._data_dir(names))
            if self.kind in TRAINING_KINDS and self.settings.stages_at_once > 1:
                self._side_by_side(config, names)
            # After a pool this makes what is left, and returns the failures that the pool has recorded.
            failures = self._in_all_ranks(self.submission.folder, config, names)
        except HeldElsewhereError as error:
            _say(f"{error}; the job is requeued, and waits without its resources")
            with self.submission.held_starts(self.job.job_id).open("ab") as file:
                file.write(b".")
            return HELD
        except Interrupted:
            return STOPPED
        except (
            UserError,
            DataError,
            StoreError,
        ) as error:  # a node that only lost the others does not replace their cause
            unexplained = [name for name in names if final_failure(self.store, name, self.worker) is None]
            self._note(unexplained, failure_of(error), str(error))
        for failure in failures:
            if final_failure(self.store, failure.name, self.worker) is None:  # a blocked stage has no attempt
                self._note([failure.name], failure.cause, failure.sentence)
        missing = [name for name in names if not self.store.has_stage(name)]
        if all(final_failure(self.store, name, self.worker) for name in missing):
            return FAILED if missing else 0
        return STOPPED  # rank 0 runs on another node, and was interrupted there

    def is_of_other_code(self, names: Collection[str]) -> bool:
        """Whether the code of this node makes other stages than those that were submitted, which becomes their cause."""
        known = {stage.name for stage in self.plan.stages} | {run.run_id for run in self.plan.runs}
        unknown = [name for name in names if name not in known]
        if not unknown:
            return False
        self._note(
            names,
            "error",
            f"the code on {node_name()} does not make {unknown[0]}: a plug-in or the checkout was edited while the grid was "
            f"submitted, or {self.submission.folder} was edited afterwards; submit the grid again",
        )
        return True

    def is_started_too_often(self, names: Collection[str]) -> bool:
        """Whether this start exceeds --max-requeues or follows too many without a result, which then ends the stages.

        Starts that only waited do not count.
        """
        fruitless = fruitless_starts(self.submission.folder, self.job.job_id)
        if (count := fruitless.stat().st_size if fruitless.exists() else 0) >= MAX_FRUITLESS:
            sentence = (
                f"Slurm ended each of its last {count} starts before it finished anything or wrote a checkpoint; if by the "
                "time limit, request more --time: a scoring, or an epoch's measurement on val, is repeated as a whole"
            )
            self._note(names, "time-limit", sentence)
            return True
        held = self.submission.held_starts(self.job.job_id)
        starts = self.restarts + 1 - (held.stat().st_size if held.exists() else 0)
        if starts <= self.settings.max_requeues + 1:
            return False
        sentence = f"it was started {starts} times; --max-requeues allows {self.settings.max_requeues + 1}"
        for name in names:
            last = last_failure(self.store, name)
            self._note([name], (last and last.failure) or "error", sentence)
        return True

    def _data_dir(self, names: Collection[str]) -> Path | None:
        """The folder from which this node reads datasets."""
        data_dir = self.settings.execution.data_dir
        stages = [stage for stage in self.plan.stages if stage.name in names and stage.kind != "cost"]
        if data_dir is None or not self.settings.stage_data or not stages:
            return data_dir
        datasets = dict.fromkeys(stage.run.train.dataset.name for stage in stages)
        try:
            return stage_data(data_dir, [registry.card("dataset", name) for name in datasets], _say)
        except DataError as error:  # the stages on this dataset will fail by it, and those on others need not
            _say(f"{error}; nothing is copied to this node's disk")
            return data_dir

    def _side_by_side(self, config: ExecutionConfig, names: Collection[str]) -> None:
        """Make stages in a pool of processes, one for each stage. Failures are in the attempts of the stages.

        Raises:
            Interrupted: Slurm ends the job; the checkpoints are written.
            UserError: the pool's processes die repeatedly.
        """
        for number in SIGNALS:  # for the processes of the pool, which asks them to stop
            signal.signal(number, signal.SIG_IGN)
        multiprocessing.get_context("forkserver").set_forkserver_preload([WORKER_MODULE, "timm"])
        forkserver.ensure_running()
        reporter = _reporter()
        workers = min(self.settings.stages_at_once, len(names))
        several = config.model_copy(update={"lock_seconds": None, "workers": workers, "join": True})
        logs = self.submission.jobs / f"{self.job.job_id}_workers"
        WorkerPool(self.plan, several, reporter, frozenset(names), logs).run()

    def _in_all_ranks(self, *arguments: Any) -> list[StageFailure]:
        """Call `make_stages` in every rank of the task. Returns the result of rank 0, if it is on this node."""
        ranks: dict[str, Any] = {"processes": self.processes, "session": f"{self.job.job_id}-{self.restarts}"}
        if self.job.num_nodes > 1:
            host = os.environ.get("MASTER_ADDR")  # for sites where the names of nodes do not resolve
            environment = TorchDistributedEnvironment()
            ranks |= {
                "nodes": self.job.num_nodes,
                "endpoint": f"{host or environment.master_addr}:{environment.master_port}",
                "address": host if host and self.job.node == 0 else self.job.hostnames[self.job.node],
            }
        elif self.processes == 1:
            return make_stages(*arguments)
        for number in SIGNALS:  # for the launcher and its helper processes; the ranks install their own handlers
            signal.signal(number, signal.SIG_IGN)
        return launch(make_stages, *arguments, **ranks) or []

    def _note(self, names: Iterable[str], cause: FailureCause, sentence: str) -> None:
        _say(sentence)
        missing = [name for name in names if not self.store.has_stage(name)]
        note_end(self.store, self.worker, missing, cause, sentence)


def make_stages(folder: Path, config: ExecutionConfig, names: Collection[str]) -> list[StageFailure]:
    """Make stages of a submission in this process, which may be one of several ranks: so it is a function that can be pickled.

    Raises:
        UserError: Slurm gave GPUs that torch cannot use.
        Exception: see `run_task`.
    """
    reporter = _reporter()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if config.device == "auto" and visible and not torch.cuda.is_available():
        raise UserError(f"Slurm gave GPU {visible} on {node_name()}, but torch cannot use it; --device cpu needs none")
    plan = Submission(folder).settings().plan(Store(config.results))
    return run_task(plan, config, reporter, stages=names)


def node_name() -> str:
    return os.environ.get("SLURMD_NODENAME") or JobEnvironment().hostname


def _reporter() -> Reporter:
    """A reporter that asks to stop after any of Slurm's signals, which every process may receive several times."""
    received: list[int] = []
    for number in SIGNALS:
        signal.signal(number, lambda number, frame: received.append(number))
    return Reporter(Console(file=sys.stdout, soft_wrap=True), lambda: bool(received))


def _say(text: str) -> None:
    print(text, flush=True)


def main(folder: str, kind: str, processes: str, *names: str) -> int:
    """The exit code: 0, `FAILED`, `STOPPED` or `HELD`."""
    task = NodeTask(folder, kind, processes)
    if task.job.global_rank == 0:
        _say(f"{kind} of {task.settings.grid} on {node_name()}, job {task.job.job_id}, start {task.restarts + 1}")
    missing = [name for name in names if not (task.store.has_stage(name) or task.store.is_done(name))]
    if not missing:
        return 0
    if task.is_of_other_code(missing) or task.is_started_too_often(missing):
        return FAILED
    return task.record_runs(missing) if kind == "records" else task.make_stages(missing)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

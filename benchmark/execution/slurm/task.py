"""What submitit pickles and runs on a node: does the work in a child process, and requeues the job when Slurm ends it.

Slurm sends its warning (USR2, `signal_delay` seconds before the time limit or with a preemption) to all processes of the job.
The working processes stop after the next step and write their checkpoint. submitit's handler calls `SlurmTask.checkpoint`,
which waits for them, and then requeues the job. SIGTERM alone comes from scancel, and from sites that preempt without a
warning: the checkpoint is written as well, and the job waits for Slurm to end or requeue it.

submitit's handlers must be installed quickly, so nothing here imports torch.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from submitit import JobEnvironment
from submitit.core.utils import DelayedSubmission

from benchmark.execution.watchdog import Watchdog
from results.store.folder import Store

STOPPED = 130
"""Exit code of a worker that stopped at a checkpoint."""
HELD = 131
"""Exit code of a worker whose stages another submission is making."""
NOT_REQUEUED = 124
"""Exit code of a task that Slurm ended and refused to requeue."""
TIMM_WARNING = ("-W", "ignore::FutureWarning:torch.jit._script")
"""A warning that timm causes on import, which users can do nothing about."""
POLL_SECONDS = 0.2
REQUEUE_SECONDS = 60.0
AGAIN_MINUTES = 10
END_SECONDS = 600.0
"""How long a stopped job waits for Slurm; no site waits longer between SIGTERM and SIGKILL."""


@dataclass
class SlurmTask:
    """One task of a job array.

    Attributes:
        folder: of the submission.
        kind: of the work, one of `benchmark.execution.slurm.options.KINDS`.
        names: stages to make, or ids of runs to record.
        processes: ranks on each node, which share the trainings.
        patience: seconds that the working processes get to write their checkpoint.
        results: the results folder.
        hang_minutes: a training that makes no step for this long is ended, and the job is requeued.
    """

    folder: str
    kind: str
    names: tuple[str, ...]
    processes: int
    patience: float
    results: str = ""
    hang_minutes: float = 15.0
    worker: subprocess.Popen[bytes] | None = field(default=None, init=False)
    before: list[object] = field(default_factory=list, init=False, compare=False)

    def __call__(self) -> None:
        """
        Raises:
            SystemExit: the work failed (the worker has noted why), or its process died.
        """
        module = f"benchmark.execution.slurm.{'report_job' if self.kind == 'report' else 'node'}"
        arguments = [self.folder, self.kind, str(self.processes), *self.names]
        self.before = self._work_done()
        try:
            self.worker = subprocess.Popen([sys.executable, "-P", *TIMM_WARNING, "-m", module, *arguments])
            # Not wait(): it would hold the lock that poll() in the signal handler needs.
            restarts = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
            watchdog = Watchdog(Store(Path(self.results)), Path(self.folder).name, self.hang_minutes, restarts)
            while (code := self.worker.poll()) is None:
                self._end_hang(watchdog)
                time.sleep(POLL_SECONDS)
            if code == HELD:
                self._requeue_after_others()
            if code in (STOPPED, HELD):
                time.sleep(END_SECONDS)
        except subprocess.SubprocessError as error:  # from scontrol, in submitit's handler
            print(f"the job is not requeued: {error}", flush=True)
            code = NOT_REQUEUED
        if code:
            sys.exit(code if code > 0 else 128 - code)

    def _end_hang(self, watchdog: Watchdog) -> None:
        """On the first node: record a training that makes no steps, and requeue the job, which ends all of its processes."""
        if int(os.environ.get("SLURM_PROCID", "0")) or not (silent := watchdog.silent(self.names)):
            return
        assert self.worker is not None
        for heartbeat in silent:
            print(watchdog.note(heartbeat, "failed"), flush=True)
        self.worker.kill()
        if job := os.environ.get("SLURM_JOB_ID"):
            subprocess.run(["scontrol", "requeue", job], timeout=REQUEUE_SECONDS, check=True)
            time.sleep(END_SECONDS)

    def _requeue_after_others(self) -> None:
        """On the first node: requeue the job, to start after the jobs of other submissions that make its stages.

        A process without a job, or an earlier start of this job on a lost node, has no end that Slurm knows: the job starts
        again after `AGAIN_MINUTES`.
        """
        job = os.environ.get("SLURM_JOB_ID")
        if job is None or int(os.environ.get("SLURM_PROCID", "0")):
            return
        store, own = Store(Path(self.results)), Path(self.folder).name
        beats = [store.progress(name).heartbeat() for name in self.names if not store.has_stage(name)]
        jobs = sorted({beat.by.job for beat in beats if beat and beat.by.job and beat.by.session != own})
        subprocess.run(["scontrol", "requeue", job], timeout=REQUEUE_SECONDS, check=True)
        after = f"Dependency=afterany:{':'.join(jobs)}" if jobs else f"StartTime=now+{AGAIN_MINUTES}minutes"
        # If Slurm refuses, the job starts again at once and waits again.
        subprocess.run(["scontrol", "update", f"JobId={job}", after], timeout=REQUEUE_SECONDS, check=False)

    def checkpoint(self) -> DelayedSubmission:
        """Called by submitit's signal handler before it requeues the job. Work that does not stop in time is ended by Slurm.

        Raises:
            SystemExit: the work is done, so there is nothing to requeue.
        """
        print(f"Slurm ends this job; it is requeued after the checkpoint, in {self.patience:g} s at most", flush=True)
        deadline = time.monotonic() + self.patience
        while self.worker is not None and self.worker.poll() is None and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        if self.worker is not None and self.worker.returncode == 0:
            sys.exit()
        self._count_fruitless()
        return DelayedSubmission(replace(self))

    def _count_fruitless(self) -> None:
        """Count the starts in a row that Slurm ended without a new checkpoint, stage or record."""
        if "SLURM_JOB_ID" not in os.environ or not self.names:
            return
        path = fruitless_starts(Path(self.folder), JobEnvironment().job_id)
        if self._work_done() != self.before:
            path.unlink(missing_ok=True)
        else:
            with path.open("ab") as file:
                file.write(b".")

    def _work_done(self) -> list[object]:
        """What of the work is finished, and the version of each checkpoint."""
        store = Store(Path(self.results))
        done: list[object] = [
            store.has_stage(name) or (store.run(name) / "record.json").is_file() for name in self.names
        ]
        for name in self.names:
            with suppress(FileNotFoundError):
                done.append((store.progress_dir(name) / "checkpoint.pt").stat().st_mtime_ns)
        return done


def fruitless_starts(submission: Path, job: str) -> Path:
    """A file with one byte for each of the last starts of a task that Slurm ended before it made anything."""
    return submission / "jobs" / f"{job}_fruitless"

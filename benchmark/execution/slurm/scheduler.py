"""What Slurm says of jobs: squeue for those that wait and run, sacct for those that ended. One call each for any number.

squeue must answer: without it nobody knows what is in flight; for some minutes it also knows jobs that have ended. sacct may be
missing or behind; then a job that has gone without a trace is ``LOST``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

from benchmark.errors import UserError

TIMEOUT = 60
LOST = "LOST"
WAITING = {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD", "SPECIAL_EXIT", "SUSPENDED"}
RUNNING = {"RUNNING", "COMPLETING", "CONFIGURING", "STAGE_OUT", "RESIZING", "SIGNALING", "STOPPED"}
SACCT_JOBS = 500
"""Ids in one call, which must fit into a command line."""


@dataclass(frozen=True)
class JobState:
    """A job, or one task of an array.

    Attributes:
        state: Slurm's word, such as PENDING, RUNNING, OUT_OF_MEMORY; ``LOST`` where neither program knows the job.
        reason: why it waits, or its exit code.
        node: where it runs or ran.
    """

    state: str
    reason: str = ""
    node: str = ""

    @property
    def waits(self) -> bool:
        return self.state in WAITING

    @property
    def runs(self) -> bool:
        return self.state in RUNNING

    @property
    def in_flight(self) -> bool:
        return self.waits or self.runs


def live_jobs() -> dict[str, JobState]:
    """The user's jobs that wait or run, and those that have just ended: ``job`` or ``array_task`` to state.

    Raises:
        UserError: squeue does not answer.
    """
    command = ["squeue", "--noheader", "--array", "--states=all", f"--user={os.getuid()}", "--format=%F|%K|%T|%r|%N"]
    done = _run(command)
    if done is None or done.returncode:
        raise UserError(f"squeue does not answer ({_why(done)}), so nobody knows what waits and runs; try again later")
    found = {}
    for line in done.stdout.splitlines():
        job, task, state, reason, node = [*line.strip().split("|"), "", "", "", ""][:5]
        found[job if task in ("", "N/A") else f"{job}_{task}"] = JobState(
            state, "" if reason == "None" else reason, node
        )
    return found


def ended_jobs(jobs: Iterable[str]) -> dict[str, JobState]:
    """What accounting says of jobs that are no longer in the queue; empty where there is no accounting."""
    from submitit.slurm.slurm import read_job_id

    wanted = set(jobs)
    arrays = sorted({job.split("_")[0] for job in wanted})
    found: dict[str, JobState] = {}
    for i in range(0, len(arrays), SACCT_JOBS):
        ids = ",".join(arrays[i : i + SACCT_JOBS])
        done = _run(
            [
                "sacct",
                "--noheader",
                "--parsable2",
                "--allocations",
                "--format=JobID,State,ExitCode,NodeList",
                f"--jobs={ids}",
            ]
        )
        if done is None or done.returncode:
            return found
        for line in done.stdout.splitlines():
            job, state, code, node = [*line.split("|"), "", "", ""][:4]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                parts = read_job_id(job)
            for main, *tasks in parts:  # tasks cancelled while they waited come as a range
                numbers = range(int(tasks[0]), int(tasks[-1]) + 1) if tasks else ()
                for name in [f"{main}_{number}" for number in numbers] or [main]:
                    if name in wanted:
                        found[name] = JobState(state.split()[0] if state else LOST, f"exit code {code}", node)
    return found


def states_of(jobs: Iterable[str]) -> dict[str, JobState]:
    """Of every job; ``LOST`` for one without a trace. Of what has ended accounting knows more than the queue, once it does.

    Raises:
        UserError: squeue does not answer.
    """
    jobs, live = list(jobs), live_jobs()
    gone = [job for job in jobs if job not in live or not live[job].in_flight]
    ended = {job: state for job, state in ended_jobs(gone).items() if not state.in_flight} if gone else {}
    return {job: ended.get(job) or live.get(job) or JobState(LOST) for job in jobs}


def cancel(jobs: Iterable[str]) -> None:
    """
    Raises:
        UserError: scancel refuses.
    """
    jobs = sorted(jobs)
    for i in range(0, len(jobs), SACCT_JOBS):
        done = _run(["scancel", *jobs[i : i + SACCT_JOBS]])
        if done is None or done.returncode:
            raise UserError(f"scancel: {_why(done)}")


def max_array_size() -> int:
    """Most tasks of one array on this cluster; Slurm's own default where it does not say."""
    done = _run(["scontrol", "show", "config"])
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", done.stdout if done else "", re.MULTILINE)
    return max(1, int(found[1])) if found else 1001


def is_there() -> bool:
    """Whether this machine can submit."""
    return all(shutil.which(program) for program in ("sbatch", "squeue", "scancel", "srun"))


def _run(command: list[str]) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None


def _why(done: subprocess.CompletedProcess[str] | None) -> str:
    return (
        " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        if done
        else "not found, or no answer in a minute"
    )

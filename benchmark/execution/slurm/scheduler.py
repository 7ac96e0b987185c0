"""States of Slurm jobs, from squeue (waiting and running jobs) and sacct (ended jobs): one call each for any number of jobs.

squeue must respond, because otherwise the jobs in flight are unknown; it also lists jobs for some minutes after their end.
sacct may be missing or late. A job that neither lists is `LOST`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace

from submitit.slurm.slurm import read_job_id

from benchmark.errors import UserError

TIMEOUT_SECONDS = 60
LOST = "LOST"
WAITING = {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD", "SPECIAL_EXIT", "SUSPENDED"}
RUNNING = {"RUNNING", "COMPLETING", "CONFIGURING", "STAGE_OUT", "RESIZING", "SIGNALING", "STOPPED"}
JOBS_PER_CALL = 500
"""Job ids in one call, whose command line is limited."""
DEFAULT_MAX_ARRAY_SIZE = 1001


@dataclass(frozen=True)
class JobState:
    """A job, or one task of an array.

    Attributes:
        state: Slurm's state, such as PENDING, RUNNING, OUT_OF_MEMORY; `LOST` if neither program lists the job.
        reason: why it waits, or its exit code.
        node: where it runs or ran.
        accounted: whether sacct knows its end.
    """

    state: str
    reason: str = ""
    node: str = ""
    accounted: bool = False

    @property
    def waits(self) -> bool:
        return self.state in WAITING

    @property
    def runs(self) -> bool:
        return self.state in RUNNING

    @property
    def in_flight(self) -> bool:
        return self.waits or self.runs


def live_jobs(owners: Iterable[int] = ()) -> dict[str, JobState]:
    """Jobs that wait, run or have just ended: ``job`` or ``array_task`` to state.

    Args:
        owners: ids of the users whose jobs are listed, besides this user.

    Raises:
        UserError: squeue does not respond.
    """
    users = ",".join(map(str, sorted({os.getuid(), *owners})))
    result = _run("squeue", "--noheader", "--array", "--states=all", f"--user={users}", "--format=%F|%K|%T|%r|%N")
    if result is None or result.returncode:
        raise UserError(
            f"squeue does not respond ({_problem(result)}), so it is unknown which jobs wait or run; try again later"
        )
    jobs = {}
    for line in result.stdout.splitlines():
        job, task, state, reason, node = [*line.strip().split("|"), "", "", "", ""][:5]
        name = job if task in ("", "N/A") else f"{job}_{task}"
        jobs[name] = JobState(state, "" if reason == "None" else reason, node)
    return jobs


def ended_jobs(jobs: Iterable[str]) -> dict[str, JobState]:
    """The final states of jobs by accounting; empty on a cluster without accounting."""
    requested = set(jobs)
    ids = sorted({job.split("_")[0] for job in requested})
    ended: dict[str, JobState] = {}
    for i in range(0, len(ids), JOBS_PER_CALL):
        selection = f"--jobs={','.join(ids[i : i + JOBS_PER_CALL])}"
        result = _run("sacct", "--noheader", "--parsable2", "--format=JobID,State,ExitCode,NodeList", selection)
        if result is None or result.returncode:
            break
        for line in result.stdout.splitlines():
            job, words, code, node = [*line.split("|"), "", "", ""][:4]
            job, _, step = job.partition(".")
            state = words.split()[0] if words else LOST  # "CANCELLED by 0"
            for name in _tasks(job) & requested:
                if not step:
                    ended[name] = JobState(state, f"exit code {code}", node, accounted=True)
                elif state == "OUT_OF_MEMORY" and name in ended and ended[name].state == "FAILED":
                    # Only the job step shows a process killed for memory; the job itself is FAILED.
                    ended[name] = replace(ended[name], state=state)
    return {name: state for name, state in ended.items() if not state.in_flight}


def _tasks(job: str) -> set[str]:
    """The names of tasks in an id of sacct, which is a range for tasks that were cancelled while they waited."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = read_job_id(job)
    return {
        name
        for main, *tasks in parts
        for name in ([f"{main}_{n}" for n in range(int(tasks[0]), int(tasks[-1]) + 1)] if tasks else [main])
    }


def states_of(jobs: Iterable[str], owners: Iterable[int] = ()) -> dict[str, JobState]:
    """The state of every job. For an ended job accounting knows more than the queue.

    Args:
        jobs: their ids.
        owners: see `live_jobs`.

    Raises:
        UserError: squeue does not respond.
    """
    jobs, live = list(jobs), live_jobs(owners)
    gone = [job for job in jobs if job not in live or not live[job].in_flight]
    ended = ended_jobs(gone) if gone else {}
    return {job: ended.get(job) or live.get(job) or JobState(LOST) for job in jobs}


def cancel(jobs: Iterable[str]) -> None:
    """
    Raises:
        UserError: scancel fails.
    """
    jobs = sorted(jobs)
    for i in range(0, len(jobs), JOBS_PER_CALL):
        result = _run("scancel", *jobs[i : i + JOBS_PER_CALL])
        if result is None or result.returncode:
            raise UserError(f"scancel: {_problem(result)}")


def test_only(script: str) -> tuple[bool, str]:
    """``sbatch --test-only``, which submits nothing.

    Returns:
        whether Slurm would accept the script, and Slurm's sentence: when and where its first task would start, or why not.
    """
    result = _run("sbatch", "--test-only", standard_input=script)
    sentence = " ".join(result.stderr.split()).removeprefix("sbatch: ") if result else _problem(result)
    return result is not None and result.returncode == 0, re.sub(r"^Job \d+ ", "", sentence)


def max_array_size() -> int:
    """Maximum number of tasks of an array on this cluster; Slurm's default if it is unknown."""
    result = _run("scontrol", "show", "config")
    match = re.search(r"^MaxArraySize\s*=\s*(\d+)", result.stdout if result else "", re.MULTILINE)
    return max(1, int(match[1])) if match else DEFAULT_MAX_ARRAY_SIZE


def is_installed() -> bool:
    """Whether this machine can submit."""
    return all(shutil.which(program) for program in ("sbatch", "squeue", "scancel", "srun"))


def _run(*command: str, standard_input: str = "") -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(
            command, input=standard_input, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None


def _problem(result: subprocess.CompletedProcess[str] | None) -> str:
    if result is None:
        return f"not found, or no response in {TIMEOUT_SECONDS} seconds"
    return " ".join(result.stderr.split()) or f"exit code {result.returncode}"

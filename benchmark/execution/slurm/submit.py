"""Submits arrays through submitit, or shows what would be submitted."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import submitit
from submitit.core.utils import FailedJobError

from benchmark.errors import UserError
from benchmark.execution.slurm import scheduler
from benchmark.execution.slurm.layout import JobArray, Task
from benchmark.execution.slurm.options import SlurmOptions
from benchmark.execution.slurm.submission import ArrayEntry, Manifest, Submission, TaskEntry
from benchmark.execution.slurm.task import SlurmTask


class _Executor(submitit.SlurmExecutor):
    """submitit's, also where Slurm is not installed: a dry run shows scripts on a laptop."""

    @classmethod
    def affinity(cls) -> int:
        return 2

    def script(self, tasks: int) -> str:
        """The text that sbatch gets for an array of so many tasks."""
        if tasks > 1:
            self.parameters["map_count"] = tasks
        return self._make_submission_file_text(self._submitit_command_str, "")


def executor_of(
    array: JobArray, submission: Submission, options: SlurmOptions, after: Sequence[str], grid: str
) -> _Executor:
    """
    Args:
        array: to submit.
        submission: in whose folder everything goes.
        options: of the command.
        after: job ids that must have ended.
        grid: name, for the job's.
    """
    asked = array.resources
    # -P: what lies in the folder that a job starts in is no package of ours, whatever it is called.
    executor = _Executor(
        submission.jobs, max_num_timeout=options.max_requeues, python=f"{shlex.quote(sys.executable)} -P"
    )
    path = f'export PYTHONPATH={shlex.quote(str(submission.code))}"${{PYTHONPATH:+:$PYTHONPATH}}"'
    setup = ["set -e", *asked.setup, "set +e", path] if asked.setup else [path]
    more: dict[str, Any] = {"chdir": str(submission.code), "requeue": True}
    more |= {key: value or True for key, value in asked.sbatch.items()}
    srun = ["--export=ALL"]  # sites that set SBATCH_EXPORT=NONE leave the step without a PATH
    if asked.cpus_per_task:
        srun += ["--cpus-per-task", str(asked.cpus_per_task)]  # since 22.05 srun does not take it over from sbatch
    given = {
        "job_name": f"{grid}-{array.name}",
        "time": asked.time,
        "nodes": asked.nodes,
        "ntasks_per_node": asked.processes_per_node if asked.processes_per_node > 1 else None,
        "partition": asked.partition,
        "gpus_per_node": asked.gpus_per_node,
        "account": asked.account,
        "qos": asked.qos,
        "constraint": asked.constraint,
        "mem": asked.mem,
        "cpus_per_task": asked.cpus_per_task,
        "exclude": asked.exclude,
        "dependency": "afterany:" + ":".join(after) if after else None,
    }
    executor.update_parameters(
        **{name: value for name, value in given.items() if value is not None and value != 0},
        setup=setup,
        additional_parameters=more,
        srun_args=srun,
        signal_delay_s=options.signal_delay,
        array_parallelism=array.at_once,
        stderr_to_stdout=True,
    )
    return executor


def entry_of(task: Task, job: str, gpus: int) -> TaskEntry:
    return TaskEntry(job=job, kind=task.kind, units=tuple(unit.names for unit in task.units), gpus=gpus)


def submit(arrays: Sequence[JobArray], submission: Submission, manifest: Manifest, options: SlurmOptions) -> Manifest:
    """Submit all arrays; all or none.

    Args:
        arrays: in an order in which every one comes behind those that it waits for.
        submission: with its code and order in place.
        manifest: without arrays; written again after each.
        options: of the command.

    Raises:
        UserError: sbatch refuses one; what was submitted before is cancelled.
    """
    ids: list[str] = []
    with _outside_of_jobs():
        for array in arrays:
            after = [*(ids[i] for i in array.after), *array.after_jobs]
            executor = executor_of(array, submission, options, after, manifest.grid)
            work = [SlurmTask(str(submission.folder), task.kind, entry_of(task, "", 0).units) for task in array.tasks]
            try:
                with executor.batch():
                    jobs = [executor.submit(each) for each in work]
                names = [job.job_id for job in jobs]
            except (FailedJobError, subprocess.SubprocessError, OSError) as error:
                with suppress(UserError):
                    scheduler.cancel(ids)
                taken = f"; the {len(ids)} arrays before it were cancelled" if ids else "; nothing was submitted"
                raise UserError(f"sbatch refuses the array {array.name}: {_said(error)}{taken}") from error
            ids.append(names[0].split("_")[0])
            tasks = tuple(
                entry_of(task, job, array.resources.gpus) for task, job in zip(array.tasks, names, strict=True)
            )
            entry = ArrayEntry(name=array.name, job=ids[-1], after=tuple(after), tasks=tasks)
            manifest = manifest.model_copy(update={"arrays": (*manifest.arrays, entry)})
            submission.write_manifest(manifest)
    return manifest


@contextmanager
def _outside_of_jobs() -> Iterator[None]:
    """Submitted from within a job, sbatch and srun would take that job's settings for the new one's."""
    inherited = {name: value for name, value in os.environ.items() if name.startswith("SLURM") and name != "SLURM_CONF"}
    for name in inherited:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(inherited)


def _said(error: BaseException) -> str:
    """sbatch's own words; submitit puts them at the end."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line.partition("error:")[2].strip() for line in lines if "sbatch: error:" in line]
    return " ".join(told or lines[-1:]) or type(error).__name__

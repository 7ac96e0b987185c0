"""Submits the job arrays of a plan through submitit, or returns the scripts that would be submitted."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import submitit
from submitit.core.utils import FailedJobError, FailedSubmissionError
from submitit.helpers import clean_env

from benchmark.errors import UserError
from benchmark.execution.slurm import scheduler
from benchmark.execution.slurm.freeze import SUBMISSIONS, freeze, frozen_code
from benchmark.execution.slurm.layout import JobArray
from benchmark.execution.slurm.options import SlurmOptions
from benchmark.execution.slurm.submission import (
    ArrayEntry,
    Manifest,
    Settings,
    Submission,
    TaskEntry,
    new_submission,
)
from benchmark.execution.slurm.task import SlurmTask
from benchmark.stages.plan import Plan
from results.store.folder import Store


class _Executor(submitit.SlurmExecutor):
    """submitit's executor, which a dry run also uses on machines without Slurm."""

    @classmethod
    def affinity(cls) -> int:
        return 2

    def script(self, tasks: int) -> str:
        """The script that sbatch would get for an array of this many tasks."""
        if tasks > 1:
            self.parameters["map_count"] = tasks
        return self._make_submission_file_text(self._submitit_command_str, "")


def executor_for(
    array: JobArray, submission: Submission, options: SlurmOptions, after: Sequence[str], grid: str
) -> _Executor:
    """The executor for one array, which waits for the jobs ``after``."""
    resources = array.resources
    # -P: files in the folder where the job starts cannot replace our packages, whatever their names are.
    python = f"{shlex.quote(sys.executable)} -P"
    # --max-requeues counts all starts, not only time-outs as submitit does, so the node checks it.
    executor = _Executor(submission.jobs, max_num_timeout=options.max_requeues + 1, python=python)
    folders = f"{submission.code}:{submission.plug_ins}"  # before the packages that are installed, or in PYTHONPATH
    path = f'export PYTHONPATH={shlex.quote(folders)}"${{PYTHONPATH:+:$PYTHONPATH}}"'
    # A process that ends with an error ends the others of its task, which would wait for it.
    srun_args = ["--kill-on-bad-exit=1", "--export=ALL"]  # SBATCH_EXPORT=NONE may be the site's default
    # One task a node, whose processes share its CPUs.
    cpus = resources.cpus_per_task and resources.cpus_per_task * max(array.processes, array.at_once)
    if array.at_once > 1 and not cpus:
        cpus = array.at_once
    if cpus:
        srun_args += ["--cpus-per-task", str(cpus)]  # since Slurm 22.05 srun does not inherit it from sbatch
    parameters = {
        "job_name": f"{grid}-{array.name}",
        "time": resources.time,
        "nodes": resources.nodes,
        "partition": resources.partition,
        "gpus_per_node": resources.gpus_per_node or None,
        "account": resources.account,
        "qos": resources.qos,
        "constraint": resources.constraint,
        "mem": resources.mem,
        "cpus_per_task": cpus,
        "exclude": resources.exclude,
        "dependency": "afterany:" + ":".join(after) if after else None,
        "setup": ["set -e", *resources.setup, "set +e", path] if resources.setup else [path],
        "additional_parameters": {
            "chdir": str(submission.code),
            "requeue": True,
            **{key: value or True for key, value in resources.sbatch.items()},
        },
        "srun_args": srun_args,
        "signal_delay_s": options.signal_delay,
        "array_parallelism": array.parallelism,
        "stderr_to_stdout": True,
    }
    executor.update_parameters(**{name: value for name, value in parameters.items() if value is not None})
    return executor


def scripts_of(arrays: Sequence[JobArray], store: Store, options: SlurmOptions, grid: str) -> list[str]:
    """The scripts that sbatch would get; ``<1>`` stands for the job id of the first array."""
    submission = Submission(store.root / SUBMISSIONS / f"<time>-{grid}-<code>")
    scripts = []
    for array in arrays:
        after = [*(f"<{i + 1}>" for i in array.after), *array.after_jobs]
        scripts.append(executor_for(array, submission, options, after, grid).script(len(array.tasks)))
    return scripts


def submit_plan(
    plan: Plan, arrays: Sequence[JobArray], store: Store, options: SlurmOptions, settings: Settings
) -> tuple[Submission, Manifest]:
    """Freeze the code and submit all arrays, or none. Failed records of the submitted runs are set aside afterwards.

    Raises:
        UserError: the submission cannot be written, or sbatch refuses an array.
    """
    names = {name for array in arrays for task in array.tasks for name in task.names}
    records = [store.run(run.run_id) / "record.json" for run in plan.missing_runs if run.run_id in names]
    failed = {path: path.stat().st_mtime_ns for path in records if path.is_file()}
    trained = [run.spec.train for run in plan.runs]
    files = frozen_code({train.dataset.name for train in trained}, {train.weights.source for train in trained})
    try:
        submission = new_submission(store.root, plan.grid.name, files.hash)
    except OSError as error:
        raise UserError(f"the submission cannot be written: {error}") from error
    ids: list[str] = []
    try:
        code = freeze(files, submission.code, submission.plug_ins)
        submission.write_settings(settings)
        manifest = Manifest(grid=plan.grid.name, submitted=datetime.now(UTC), code=code)
        manifest = _submit_arrays(arrays, submission, manifest, options, ids)
    except BaseException as error:  # also Ctrl-C: the arrays before it would run without a report
        outcome = _withdraw(ids)
        if not ids:  # else jobs that cannot be cancelled still need it
            shutil.rmtree(submission.folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise UserError(f"the submission cannot be written: {error}; {outcome}") from error
        if isinstance(error, UserError | KeyboardInterrupt):
            raise UserError(f"{str(error) or 'interrupted'}; {outcome}") from error
        error.add_note(outcome)
        raise
    for path, written in failed.items():
        with suppress(FileNotFoundError):
            if path.stat().st_mtime_ns == written:  # else a task has already written a new one
                store.remove_failed_run(path.parent.name)
    return submission, manifest


def _submit_arrays(
    arrays: Sequence[JobArray], submission: Submission, manifest: Manifest, options: SlurmOptions, ids: list[str]
) -> Manifest:
    """Submit arrays in order, add their job ids to ``ids``, and write the manifest after each.

    Raises:
        UserError: sbatch refuses one.
        OSError: the manifest cannot be written.
    """
    for array in arrays:
        after = [*(ids[i] for i in array.after), *array.after_jobs]
        patience = options.signal_delay / 2
        execution = submission.settings().execution
        work = [
            SlurmTask(
                str(submission.folder), task.kind, task.names, array.processes, patience, str(execution.results),
                # Stages side by side have a pool, which ends the silent one alone.
                execution.hang_minutes * (2 if array.at_once > 1 else 1),
            )
            for task in array.tasks
        ]  # fmt: skip
        try:
            with _outside_of_job():
                jobs = executor_for(array, submission, options, after, manifest.grid).submit_array(work)
        except (FailedJobError, FailedSubmissionError, subprocess.SubprocessError, OSError) as error:
            raise UserError(f"sbatch refuses the array {array.name}: {_message(error)}") from error
        ids.append(jobs[0].job_id.split("_")[0])
        tasks = tuple(
            TaskEntry(
                job=job.job_id,
                kind=task.kind,
                units=[unit.names for unit in task.units],
                gpus=array.resources.gpus,
                mem=array.resources.mem,
            )
            for task, job in zip(array.tasks, jobs, strict=True)
        )
        entry = ArrayEntry(name=array.name, job=ids[-1], after=tuple(after), tasks=tasks)
        manifest = manifest.model_copy(update={"arrays": (*manifest.arrays, entry)})
        submission.write_manifest(manifest)
    return manifest


def _withdraw(ids: Sequence[str]) -> str:
    """Cancel the arrays that were submitted. Returns what became of them."""
    if not ids:
        return "nothing was submitted"
    try:
        scheduler.cancel(ids)
    except UserError as error:
        return f"{len(ids)} submitted arrays could not be cancelled ({error}); cancel them: scancel {' '.join(ids)}"
    return f"{len(ids)} submitted arrays were cancelled"


@contextmanager
def _outside_of_job() -> Iterator[None]:
    """Hides the variables of a job that this process runs in: sbatch and srun would apply them to the new job."""
    if "SLURM_JOB_ID" not in os.environ:
        yield
        return
    configuration = {name: value for name, value in os.environ.items() if name == "SLURM_CONF"}
    with clean_env():
        os.environ.update(configuration)
        yield


def _message(error: BaseException) -> str:
    """sbatch's own message, which submitit puts at the end."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    own = [line.partition("error:")[2].strip() for line in lines if "sbatch: error:" in line]
    return " ".join(own or lines[-1:]) or type(error).__name__

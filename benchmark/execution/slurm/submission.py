"""The folder of a submission: what was submitted, from which code, and where the logs are.

results/submissions/<time>-<grid>-<code>/    only its owner may write there
    code/             our packages, as its tasks run them, with frozen.json
    plug-ins/         the installed packages that register cards, if there are any
    uncommitted.diff  changes of the copied code that were not committed, if there are any
    settings.json     what the tasks need to know of the command: runs, report, execution
    manifest.json     arrays, their job ids, and what each task makes; written again after every array
    jobs/             submitit's files: <array>_<task>_0_log.out is a task's log, over all its attempts
"""

from __future__ import annotations

import itertools
import stat
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from benchmark.execution.config import ExecutionConfig
from benchmark.execution.slurm.freeze import SUBMISSIONS
from benchmark.grid.load import Grid
from benchmark.stages.plan import Plan, make_plan
from results.spec import RunSpec
from results.store.files import write_file
from results.store.folder import Store

MANIFEST = "manifest.json"
SETTINGS = "settings.json"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")  # a newer version may have written more fields


class Settings(_Frozen):
    """What the tasks need to know of the command that submitted them. Paths are absolute."""

    grid: str
    source: Path
    """File of the grid, for messages."""
    runs: tuple[RunSpec, ...]
    """The submitted runs."""
    report_runs: tuple[str, ...]
    """Ids of all runs of the grid, which the report covers."""
    out: Path
    """The report's folder."""
    formats: tuple[str, ...]
    """The report's formats; empty for no report."""
    execution: ExecutionConfig
    """Its session, processes and log are those of the task."""
    max_requeues: int
    stages_at_once: int = 1
    notify: str | None = None
    """Shell command that the last job runs, with the summary on its standard input."""
    stage_data: bool

    def plan(self, store: Store) -> Plan:
        """The plan of the submitted runs, even if the grid's file has changed; what is done is looked up now."""
        return make_plan(Grid(self.grid, self.source, self.runs), store)


class TaskEntry(_Frozen):
    """One task of an array."""

    job: str
    """``array_task``, or the job's id if the array has one task."""
    kind: str
    units: tuple[tuple[str, ...], ...]
    """Names of stages or runs; those of one unit are made together."""
    gpus: int = 0
    mem: str | None = None
    """Requested memory; None for the cluster's default."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for unit in self.units for name in unit)


class ArrayEntry(_Frozen):
    name: str
    job: str
    after: tuple[str, ...]
    """Job ids that must end first."""
    tasks: tuple[TaskEntry, ...]


class Manifest(_Frozen):
    """What has been submitted so far."""

    grid: str
    submitted: datetime
    code: str
    """Hash of the code."""
    arrays: tuple[ArrayEntry, ...] = ()

    @property
    def tasks(self) -> tuple[TaskEntry, ...]:
        return tuple(task for array in self.arrays for task in array.tasks)


class Submission:
    """The folder of a submission."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def owner(self) -> int:
        """Id of the user who submitted it."""
        return self.folder.stat().st_uid

    @property
    def code(self) -> Path:
        return self.folder / "code"

    @property
    def plug_ins(self) -> Path:
        return self.folder / "plug-ins"

    @property
    def jobs(self) -> Path:
        return self.folder / "jobs"

    def log(self, job: str) -> Path:
        """The log of a task; it exists once the task has started."""
        return self.jobs / f"{job}_0_log.out"

    def held_starts(self, job: str) -> Path:
        """A file with one byte for each start of a task that only waited for other processes."""
        return self.jobs / f"{job}_held"

    def settings(self) -> Settings:
        return Settings.model_validate_json((self.folder / SETTINGS).read_bytes())

    def manifest(self) -> Manifest:
        return Manifest.model_validate_json((self.folder / MANIFEST).read_bytes())

    def write_manifest(self, manifest: Manifest) -> None:
        write_file(self.folder / MANIFEST, (manifest.model_dump_json(indent=1) + "\n").encode())

    def write_settings(self, settings: Settings) -> None:
        write_file(self.folder / SETTINGS, (settings.model_dump_json(indent=1) + "\n").encode())


def new_submission(root: Path, grid: str, code: str) -> Submission:
    """A new folder, named by time, grid and code.

    Only its owner may write into it, because its tasks run its code, and only its owner may enter it; if the results folder is
    group-writable, a team may enter it, too.
    """
    base = root / SUBMISSIONS
    base.mkdir(parents=True, exist_ok=True)
    mode = 0o750 if root.stat().st_mode & stat.S_IWGRP else 0o700
    name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{grid}-{code[:8]}"
    for number in itertools.count(1):
        folder = base / (name if number == 1 else f"{name}-{number}")
        with suppress(FileExistsError):  # submitted in the same second
            folder.mkdir(mode=mode)
            (folder / "jobs").mkdir(mode=mode)
            break
    return Submission(folder)


def submissions(root: Path, unreadable: list[str] | None = None) -> list[tuple[Submission, Manifest]]:
    """Every submission of a results folder with a readable manifest, oldest first.

    Args:
        root: the results folder.
        unreadable: receives the name of every other submission, whose jobs are unknown.
    """
    readable = []
    for path in sorted((root / SUBMISSIONS).glob("*")):
        submission = Submission(path)
        try:
            readable.append((submission, submission.manifest()))
        except (FileNotFoundError, NotADirectoryError):  # nothing is submitted yet, or no longer
            continue
        except (OSError, ValidationError):
            if unreadable is not None:
                unreadable.append(submission.name)
    return readable


def latest_tasks(root: Path) -> dict[str, tuple[Submission, TaskEntry]]:
    """Every stage and run that was ever submitted, to its latest submission and task."""
    return {
        name: (submission, task)
        for submission, manifest in submissions(root)
        for task in manifest.tasks
        for name in task.names
    }

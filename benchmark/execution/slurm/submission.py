"""A submission's folder: what was submitted, from which code, and where its logs are.

results/submissions/<time>-<grid>-<code>/    mode 0700
    code/             the code that its tasks run, with frozen.json; uncommitted.diff beside it
    runs.jsonl        the specs of its runs, one a line
    report.txt        the ids of all runs of the grid, which the report is about
    settings.json     what the tasks must know of the command
    manifest.json     arrays, their job ids, and what each task makes; written again after every array
    jobs/             submitit's files: <array>_<task>_0_log.out is a task's log, over all its attempts
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from benchmark.execution.slurm.freeze import SUBMISSIONS
from benchmark.grid.load import Grid
from benchmark.stages.plan import Plan, make_plan
from results.spec import RunSpec
from results.store.folder import Store, write_file

MANIFEST = "manifest.json"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Settings(_Frozen):
    """What tasks must know of the command that submitted them. Paths are absolute."""

    name: str
    """Of the submission: the session in which a failure is not tried again."""
    grid: str
    source: Path
    """Of the grid, for sentences about it."""
    results: Path
    data_dir: Path | None
    device: str
    threads: int
    """The same on every node, as bits depend on it."""
    loader_processes: int | None
    out: Path
    """The report's folder."""
    max_requeues: int
    stage_data: bool = False
    patience: float
    """Seconds after the scheduler's warning within which the running step must end."""


class TaskEntry(_Frozen):
    """One task of an array."""

    job: str
    """``array_task``, or the job's id where the array has one task."""
    kind: str
    units: tuple[tuple[str, ...], ...]
    """Stages or runs, those that are made together in one group."""
    gpus: int = 0

    @property
    def names(self) -> Iterator[str]:
        return (name for unit in self.units for name in unit)


class ArrayEntry(_Frozen):
    name: str
    job: str
    after: tuple[str, ...]
    tasks: tuple[TaskEntry, ...]


class Manifest(_Frozen):
    """What was submitted so far."""

    grid: str
    submitted: datetime
    code: str
    """Hash of the code."""
    arrays: tuple[ArrayEntry, ...] = ()


class Submission:
    """The folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def code(self) -> Path:
        return self.folder / "code"

    @property
    def jobs(self) -> Path:
        return self.folder / "jobs"

    def log(self, job: str) -> Path:
        """Of a task; there once it has started."""
        return self.jobs / f"{job}_0_log.out"

    def settings(self) -> Settings:
        return Settings.model_validate_json((self.folder / "settings.json").read_bytes())

    def manifest(self) -> Manifest:
        return Manifest.model_validate_json((self.folder / MANIFEST).read_bytes())

    def write_manifest(self, manifest: Manifest) -> None:
        write_file(self.folder / MANIFEST, (manifest.model_dump_json(indent=1) + "\n").encode())

    def write_order(self, settings: Settings, plan: Plan, reported: Sequence[str]) -> None:
        """What the tasks read."""
        write_file(self.folder / "report.txt", "".join(f"{run_id}\n" for run_id in reported).encode())
        write_file(self.folder / "settings.json", (settings.model_dump_json(indent=1) + "\n").encode())
        specs = "".join(run.spec.model_dump_json() + "\n" for run in plan.runs)
        write_file(self.folder / "runs.jsonl", specs.encode())

    def reported(self) -> list[str]:
        """The ids of the runs that the report is about."""
        return (self.folder / "report.txt").read_text(encoding="utf-8").split()

    def plan(self, store: Store) -> Plan:
        """Of the same runs as when it was submitted, whatever became of the grid's file; what is done is looked up now."""
        settings = self.settings()
        lines = (self.folder / "runs.jsonl").read_text(encoding="utf-8").splitlines()
        runs = tuple(RunSpec.model_validate_json(line) for line in lines)
        return make_plan(Grid(settings.grid, settings.source, runs), store)


def new_submission(root: Path, grid: str) -> Submission:
    """A folder that nobody else may look into, named by the time; the code's hash is added when it is known."""
    base = root / SUBMISSIONS
    base.mkdir(parents=True, exist_ok=True, mode=0o700)
    name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{grid}-new"
    while True:
        folder = base / f"{name}-{secrets.token_hex(2)}"
        with suppress(FileExistsError):  # submitted in the same second
            folder.mkdir(mode=0o700)
            (folder / "jobs").mkdir(mode=0o700)
            return Submission(folder)


def named_by_code(submission: Submission, code: str) -> Submission:
    """The same, with the code in its name; two of the same second and code are told apart by a number."""
    name = re.sub("new-[0-9a-f]+$", code[:8], submission.name)
    for number in range(1, 1000):
        folder = submission.folder.with_name(name if number == 1 else f"{name}-{number}")
        if not folder.exists():
            break
    submission.folder.rename(folder)
    return Submission(folder)


def submissions(root: Path) -> list[tuple[Submission, Manifest]]:
    """Every submission of a results folder whose manifest can be read, oldest first."""
    found = []
    for path in sorted((root / SUBMISSIONS).glob(f"*/{MANIFEST}")):
        submission = Submission(path.parent)
        try:
            found.append((submission, submission.manifest()))
        except (OSError, ValidationError):
            continue
    return found

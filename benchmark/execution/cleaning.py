"""Finds the stages and runs of a results folder that no grid names, and removes them under their locks. Imports no torch."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from benchmark.errors import UserError
from benchmark.grid.load import Grid
from benchmark.stages.graph import run_stages
from benchmark.stages.keys import USES
from results.spec import TrainSpec
from results.store.commands import LOCK
from results.store.files import unfinished
from results.store.folder import Store, StoreError
from results.store.locks import CannotLockError
from results.store.representations import KINDS

STAGE = re.compile(r"([a-z]+)-[0-9a-f]{16}")
OUTSIDE_GRIDS = ("imported-", "external-")
"""Beginnings of the ids of runs that `import-checkpoint` and `evaluate` made: they belong to no grid."""
Part = Literal["runs", "stages", "progress"]
PARTS: tuple[Part, ...] = ("runs", "stages", "progress")
"""Subfolders of a results folder, in the order in which their entries are removed: a run before what it rests on."""


@dataclass(frozen=True)
class Unused:
    """A folder that no grid names.

    Attributes:
        part: the subfolder that it is in; ``progress`` holds checkpoints of unfinished stages.
        name: of the stage or run.
        bytes: of its files.
    """

    part: Part
    name: str
    bytes: int


class _Named:
    """What grids name, and what may be theirs although their weights are not on this machine."""

    def __init__(self, grids: Iterable[Grid], store: Store) -> None:
        self.store = store
        self.runs: set[str] = set()
        self.stages: set[str] = set()
        self.weights: set[str | None] = {None}
        for run in (run for grid in grids for run in grid.runs):
            stages = run_stages(run)
            self.runs.add(stages.run_id)
            self.stages |= {stage.name for stage in stages.chain}
            self.weights |= set(_hashes(run.train))
        # Keys contain the hashes of weights. Where a grid's are unknown, results of other weights may be the grid's.
        self.any_weights = any(None in _hashes(run.train, scratch="") for grid in grids for run in grid.runs)

    def has_run(self, name: str) -> bool:
        if name in self.runs or name.startswith(OUTSIDE_GRIDS):
            return True
        if not self.any_weights:
            return False
        with suppress(StoreError):
            return not set(_hashes(self.store.record(name).spec.train)) <= self.weights
        return False

    def has_stage(self, name: str) -> bool:
        kind = STAGE.fullmatch(name)
        if name in self.stages or kind is None:
            return True
        try:
            fields = self.store.manifest(name)["fields"]
        except StoreError:  # it is unfinished or damaged
            return kind[1] not in USES or self.any_weights
        if kind[1] in ("latency", "server"):
            return self.has_run(str(fields.get("run")))
        if kind[1] in ("probes", *KINDS):
            return self.has_stage(str(fields.get("backbone")))
        if kind[1] not in USES or not isinstance(fields.get("parents"), Mapping):  # it was imported
            return True
        return self.any_weights and not self._known_weights(fields)

    def _known_weights(self, fields: Mapping[str, Any]) -> bool:
        """Whether a stage rests on no weights or on those of a grid, by its manifest and those of its parents."""
        if fields.get("weights") not in self.weights:
            return False
        parents = [f"{parent.partition(':')[2]}-{key}" for parent, key in fields["parents"].items()]
        try:
            unnamed = [self.store.manifest(name)["fields"] for name in parents if name not in self.stages]
        except StoreError:  # the parent is gone
            return False
        return all(map(self._known_weights, unnamed))


def unused(grids: list[Grid], store: Store) -> list[Unused]:
    """The runs, stages and unfinished stages that no grid names, in the order in which they may be removed.

    Imported runs are never among them, nor anything that a link leads to.

    Args:
        grids: whose runs and stages stay.
        store: the results folder.
    """
    named = _Named(grids, store)
    has_stage = cache(named.has_stage)
    entries = []
    for part in PARTS:
        for folder in _folders(store.root / part):
            is_run = part == "runs" or (part == "progress" and STAGE.fullmatch(folder.name) is None)
            if not (named.has_run(folder.name) if is_run else has_stage(folder.name)):
                entries.append(Unused(part, folder.name, _bytes(folder)))
    return entries


def remove(entries: Iterable[Unused], store: Store) -> Iterator[tuple[Unused, str | None]]:
    """Remove folders, each under its own lock, while no command runs in the results folder.

    Yields:
        each entry, with the reason if it was left alone.

    Raises:
        UserError: a command runs in the results folder.
    """
    try:
        with FileLock(store.root / LOCK, timeout=0):
            for entry in entries:
                yield entry, _remove(entry, store)
    except Timeout:
        raise UserError(f"a command is running in {store.root}; clean after its end") from None


def _remove(entry: Unused, store: Store) -> str | None:
    progress = store.progress(entry.name)
    lock = progress.lock()
    try:
        if not lock.acquire():
            return "a process is working on it"
    except CannotLockError:
        return "this file system has no locks, so other processes cannot be excluded"
    try:
        folder = store.root / entry.part / entry.name
        removed = unfinished(folder)
        try:
            folder.rename(removed)
        except OSError as error:
            return str(error.strerror)
        shutil.rmtree(removed, ignore_errors=True)
    finally:
        if entry.part != "progress":
            progress.remove_lock()
        lock.release()
    return None


def _hashes(train: TrainSpec, scratch: str | None = None) -> list[str | None]:
    """Hashes of the weights that a run reads; None for those that are not on this machine.

    Args:
        scratch: what stands for random initialisation.
    """
    sources = [train.weights, *([train.replacement.weights] if train.replacement else [])]
    return [scratch if weights.source == "scratch" else weights.sha256 for weights in sources]


def _folders(parent: Path) -> list[Path]:
    """The subfolders, without links and temporary ones; none if the parent itself is a link."""
    if parent.is_symlink() or not parent.is_dir():
        return []
    with os.scandir(parent) as entries:
        names = [e.name for e in entries if e.is_dir(follow_symlinks=False) and not e.name.startswith(".")]
    return [parent / name for name in sorted(names)]


def _bytes(folder: Path) -> int:
    total = 0
    for place, folders, files in os.walk(folder, followlinks=False):
        for name in [*folders, *files]:
            with suppress(OSError):
                total += os.lstat(os.path.join(place, name)).st_size if name in files else 0  # noqa: PTH118
    return total

"""The results folder. Everything in it is complete.

    stages/<stage>-<key>/    immutable: artifacts, manifest.json (their hashes), provenance.json (who, when, how long)
    runs/<run_id>/           record.json, thresholds.json; outcomes, curves, answers, corners (Parquet)
    progress/<stage>-<key>/  unfinished work: checkpoint, lock, heartbeat, attempts; see `results.store.attempts`
    progress/<run_id>/       earlier failures of a run: attempts.jsonl
    logs/<session>/          output of the workers of one command, one file each
    devices/                 results of `doctor --device`, one file per kind of machine; see `results.store.devices`

Folders are written under a temporary name and then renamed, so that readers never see an incomplete one.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from results.provenance import StageProvenance
from results.record import Artifact, DoneRecord, RunRecord, SchemaError, parse_record, record_fields
from results.sealed import sealed, unsealed
from results.store.attempts import Progress, note_failed_run
from results.store.files import (
    NO_ROOM,
    UNFINISHED,
    DamagedError,
    StoreError,
    read_file,
    sha256,
    sweep,
    sync,
    unfinished,
    unwritable,
)
from results.store.files import write_file as write_file
from results.text import printable

RECORD_BYTES = 2**24
"""Largest size of a record, a manifest or a provenance."""


class Store:
    """A results folder.

    Args:
        root: the folder; created by the first write.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def roots(self) -> list[Path]:
        """The folders that are read; several for `MergedFolders`."""
        return [self.root]

    def without_root(self, sentence: str) -> str:
        """A message without the path of this folder, for publication."""
        return sentence.replace(f"{self.root}/", "")

    # Stages

    def stage(self, name: str) -> Path:
        return self.root / "stages" / name

    def has_stage(self, name: str) -> bool:
        return (self.stage(name) / "manifest.json").is_file()

    def progress_dir(self, name: str) -> Path:
        return self.root / "progress" / name

    def logs(self, session: str) -> Path:
        """The folder for the output of a command's workers."""
        return self.root / "logs" / session

    def progress(self, name: str) -> Progress:
        """The progress of an unfinished stage."""
        return Progress(self.progress_dir(name))

    @contextmanager
    def write_stage(self, name: str, fields: dict[str, Any], provenance: StageProvenance) -> Iterator[Path]:
        """A temporary folder to write a stage's artifacts into; the end of the block adds the manifest and renames it.

        The manifest depends only on artifacts and fields; the provenance is a file of its own. If the stage was written in the
        meantime by another process, that result stays.

        Args:
            name: of the stage.
            fields: that the stage's key is a hash of.
            provenance: of this result.
        """
        with self._write_folder(self.stage(name)) as folder:
            yield folder
            files = [artifact.model_dump() for artifact in _artifacts(folder, folder)]
            manifest = json.dumps({"artifacts": files, "fields": fields}, sort_keys=True)
            _write_text(folder / "manifest.json", sealed(manifest, indent=1) + "\n")
            _write_text(folder / "provenance.json", sealed(provenance.model_dump_json(), indent=1) + "\n")
        shutil.rmtree(self.progress_dir(name), ignore_errors=True)

    def manifest(self, name: str) -> dict[str, Any]:
        """The fields of a stage's key and its artifacts.

        Raises:
            StoreError: it is missing or damaged.
        """
        path = self.stage(name) / "manifest.json"
        try:
            content = unsealed(read_file(path, RECORD_BYTES))
            return {"fields": content["fields"], "artifacts": [dict(entry) for entry in content["artifacts"]]}
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{path}: {error}; remove {path.parent} to make it again") from error

    def provenance(self, name: str) -> StageProvenance:
        """
        Raises:
            StoreError: it is missing or damaged.
        """
        path = self.stage(name) / "provenance.json"
        try:
            return StageProvenance.model_validate(unsealed(read_file(path, RECORD_BYTES)))
        except ValueError as error:
            raise StoreError(
                f"{path}: cannot be read ({_first_error(error)}); remove {path.parent} to make it again"
            ) from error

    def artifact(self, name: str, file: str) -> Path:
        """The path of an artifact, after a check of its hash.

        Raises:
            StoreError: it is missing or was changed.
        """
        path = self.stage(name) / file
        expected = {entry["path"]: entry["sha256"] for entry in self.manifest(name)["artifacts"]}
        if not path.is_file() or expected.get(file) != sha256(path):
            raise StoreError(
                f"{path} is missing or was changed since it was written; remove {path.parent} to make it again"
            )
        return path

    def artifacts(self, name: str) -> tuple[Artifact, ...]:
        """The stage's artifacts as a record refers to them."""
        prefix = self.stage(name).relative_to(self.root).as_posix()
        entries = self.manifest(name)["artifacts"]
        return tuple(Artifact(**{**entry, "path": f"{prefix}/{entry['path']}"}) for entry in entries)

    def stages(self, kind: str) -> list[str]:
        """Names of the finished stages of one kind."""
        return sorted(name for name in self.done_stages() if name.startswith(f"{kind}-"))

    def done_stages(self) -> frozenset[str]:
        """Names of all finished stages."""
        return frozenset(_folders_with(self.root / "stages", "manifest.json"))

    # Runs

    def run(self, run_id: str) -> Path:
        return self.root / "runs" / run_id

    def plain_file(self, path: Path) -> Path:
        """The path, after a check that it is no link out of this folder, which may come from a stranger, and no special file.

        Raises:
            StoreError: it is.
        """
        if path.is_symlink() or path.parent.is_symlink() or path.parent.parent.is_symlink():
            inside = path.resolve().is_relative_to(self.root.resolve())
            if not inside:
                raise StoreError(f"{path}: a link leads out of the results folder; it is not followed")
        if path.exists() and not path.is_file():
            raise StoreError(f"{path}: not a plain file")
        return path

    def table(self, run_id: str, name: str) -> Path:
        """The path of a file beside a record.

        Raises:
            StoreError: see `plain_file`.
        """
        return self.plain_file(self.run(run_id) / name)

    def is_readable(self, run_id: str) -> bool:
        """Whether there is an undamaged record."""
        try:
            self.record(run_id)
        except StoreError:
            return False
        return True

    def conflicts(self, run_ids: Sequence[str]) -> list[str]:
        """A sentence for each copy of these runs that differs from the preferred copy; see `MergedFolders`."""
        return []

    def is_done(self, run_id: str) -> bool:
        """
        Raises:
            StoreError: the record is damaged or has another schema.
        """
        path = self.run(run_id) / "record.json"
        if not path.is_file():
            return False
        with _reading(path):
            return record_fields(read_file(path, RECORD_BYTES)).get("status") == "done"

    @contextmanager
    def write_run(self, record: RunRecord) -> Iterator[Path]:
        """A temporary folder to write a run's tables into; the end of the block adds the record and renames it.

        A later record replaces a failed one; a done one stays.
        """
        with self._write_folder(self.run(record.run_id)) as folder:
            yield folder
            complete = record.model_copy(update={"files": tuple(_artifacts(folder, folder))})
            _write_text(folder / "record.json", sealed(complete.model_dump_json(), indent=1) + "\n")
            self.set_aside(record.run_id)

    def set_aside(self, run_id: str) -> bool:
        """Remove a failed record, so that the run can be tried again; its cause and traceback are logged.

        Returns:
            whether there was a failed record.
        """
        folder = self.run(run_id)
        if not folder.exists() or self.is_done(run_id):
            return False
        if (folder / "record.json").is_file():
            details = folder / "traceback.txt"
            text = details.read_text(encoding="utf-8") if details.is_file() else ""
            record = self.record(run_id)
            if record.status == "failed":
                note_failed_run(self.progress_dir(run_id), record, text)
        self.remove_run(run_id)
        return True

    def remove_run(self, run_id: str) -> None:
        """Remove a record and the files beside it."""
        folder = self.run(run_id)
        removed = unfinished(folder)
        with suppress(FileNotFoundError):  # another process removed it
            folder.rename(removed)
        shutil.rmtree(removed, ignore_errors=True)

    def record(self, run_id: str) -> RunRecord:
        """
        Raises:
            StoreError: there is no such record, or it is damaged.
        """
        path = self.table(run_id, "record.json")
        with _reading(path):
            record = parse_record(read_file(path, RECORD_BYTES))
        if record.run_id != run_id:
            raise StoreError(f"{path}: holds the record of {record.run_id!r}")
        return record

    def done_record(self, run_id: str) -> DoneRecord:
        """
        Raises:
            StoreError: there is no such record, it is damaged, or its run failed.
        """
        record = self.record(run_id)
        if record.status == "failed":
            raise StoreError(f"{self.run(run_id)}: the run failed ({record.cause})")
        return record

    def run_ids(self) -> list[str]:
        return sorted(_folders_with(self.root / "runs", "record.json"))

    # Housekeeping

    def prepare(self) -> None:
        """Create the folder and remove temporary files of killed writers.

        Raises:
            StoreError: it cannot be written.
        """
        try:
            for part in ("stages", "runs"):
                (self.root / part).mkdir(parents=True, exist_ok=True)
            probe = unfinished(self.root / "probe")
            probe.write_bytes(b"probe")
            probe.unlink()
        except OSError as error:
            raise unwritable(self.root, error) from error
        sweep([*self.root.glob(f"*/{UNFINISHED}*"), *self.root.glob(f"{UNFINISHED}*")])

    @contextmanager
    def _write_folder(self, target: Path) -> Iterator[Path]:
        folder = unfinished(target)
        try:
            with _writing(target):
                folder.mkdir(parents=True)
            try:
                yield folder
            except OSError as error:
                if error.errno in NO_ROOM:
                    raise unwritable(target, error) from error
                raise
            with _writing(target):
                for path in folder.rglob("*"):
                    sync(path)
                try:
                    folder.rename(target)
                except OSError as error:
                    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # these mean that another process was first
                        raise
                sync(target.parent)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise unwritable(target, error) from error


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except SchemaError as error:
        raise StoreError(
            f"{path}: {error}; remove {path.parent} and run its grid again, or read it with the version that wrote it"
        ) from None
    except ValueError as error:
        reason = _first_error(error)
        raise DamagedError(
            f"{path}: {reason if isinstance(error, ValidationError) else f'cannot be read ({reason})'}"
        ) from None


def _folders_with(folder: Path, file: str) -> list[str]:
    """Names of the subfolders that contain a file of that name. os.scandir takes a fifth of the time of pathlib."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if not entry.name.startswith(UNFINISHED)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [name for name in names if os.path.isfile(f"{folder}/{name}/{file}")]  # noqa: PTH113


def _artifacts(folder: Path, root: Path) -> Iterator[Artifact]:
    for path in sorted(folder.rglob("*")):
        yield Artifact(path=path.relative_to(root).as_posix(), sha256=sha256(path), bytes=path.stat().st_size)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _first_error(error: ValueError) -> str:
    """The first mistake with its place, without the value that was there."""
    if not isinstance(error, ValidationError):
        return printable(str(error))[:300]
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("done", "failed"))
    message = printable(first["msg"].removeprefix("Value error, "))
    return f"{where}: {message}" if where else message

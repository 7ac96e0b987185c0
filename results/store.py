"""The results folder: what is there is whole.

    stages/<stage>-<key>/    immutable: artifacts, manifest.json (their hashes), provenance.json (who, when, how long)
    runs/<run_id>/           record.json, thresholds.json; outcomes, curves, answers, corners (Parquet)
    progress/<stage>-<key>/  checkpoints of work that has not ended
    devices/                 what `doctor --device` found, a file a kind of machine; see `results.devices`

Folders are written beside their place and renamed into it, so that a half-written one never exists for a reader.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from results.record import SCHEMA, Artifact, RunRecord

UNFINISHED = ".unfinished-"


class StoreError(Exception):
    """The results folder cannot be read or written; the message says which file and why."""


class Store:
    """A results folder.

    Args:
        root: the folder; made when something is first written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def roots(self) -> list[Path]:
        """The folders that are read."""
        return [self.root]

    def told(self, sentence: str) -> str:
        """A sentence about something in here as it may be passed on: without where this folder lies."""
        return sentence.replace(f"{self.root}/", "")

    # Stages

    def stage(self, name: str) -> Path:
        return self.root / "stages" / name

    def has_stage(self, name: str) -> bool:
        return (self.stage(name) / "manifest.json").is_file()

    def progress(self, name: str) -> Path:
        return self.root / "progress" / name

    @contextmanager
    def write_stage(self, name: str, fields: dict[str, Any], provenance: dict[str, Any]) -> Iterator[Path]:
        """A folder to write a stage's artifacts into; it takes its place, complete with manifest, when the block ends.

        ``fields`` are what the stage's key was made of. The manifest is a function of the artifacts and the fields;
        what differs between two makings of the same stage goes to provenance.json.
        """
        with self._write_folder(self.stage(name)) as folder:
            yield folder
            files = [artifact.model_dump() for artifact in _artifacts(folder, folder)]
            _write_json(folder / "manifest.json", {"fields": fields, "artifacts": files})
            _write_json(folder / "provenance.json", provenance)
        shutil.rmtree(self.progress(name), ignore_errors=True)

    def manifest(self, name: str) -> dict[str, Any]:
        return _read_json(self.stage(name) / "manifest.json")

    def provenance(self, name: str) -> dict[str, Any]:
        return _read_json(self.stage(name) / "provenance.json")

    def artifact(self, name: str, file: str) -> Path:
        """The path of an artifact whose content is what the manifest says.

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
        return frozenset(_holding(self.root / "stages", "manifest.json"))

    # Runs

    def run(self, run_id: str) -> Path:
        return self.root / "runs" / run_id

    def own(self, path: Path) -> Path:
        """The path, if it is a plain file of this folder. A folder may come from anybody: no link leads out of it.

        Raises:
            StoreError: it is none.
        """
        if path.is_symlink() or path.parent.is_symlink() or path.parent.parent.is_symlink():
            inside = path.resolve().is_relative_to(self.root.resolve())
            if not inside:
                raise StoreError(f"{path}: a link leads out of the results folder; it is not followed")
        if path.exists() and not path.is_file():
            raise StoreError(f"{path}: not a plain file")
        return path

    def table(self, run_id: str, name: str) -> Path:
        """The path of a table beside a record.

        Raises:
            StoreError: it is no plain file of this folder.
        """
        return self.own(self.run(run_id) / name)

    def is_readable(self, run_id: str) -> bool:
        """Whether there is a whole record."""
        try:
            self.record(run_id)
        except StoreError:
            return False
        return True

    def set_aside(self, run_ids: Sequence[str]) -> list[str]:
        """A sentence for every copy of these runs that another copy of the same name displaces; see `results.folders`."""
        return []

    def is_done(self, run_id: str) -> bool:
        path = self.run(run_id) / "record.json"
        return path.is_file() and _read_json(path).get("status") == "done"

    @contextmanager
    def write_run(self, record: RunRecord) -> Iterator[Path]:
        """A folder to write a run's tables into; it takes its place, with the record, when the block ends.

        A failed record gives way to a later one; a done one stays.
        """
        target = self.run(record.run_id)
        if target.exists() and not self.is_done(record.run_id):
            shutil.rmtree(target)
        with self._write_folder(target) as folder:
            yield folder
            _write_text(folder / "record.json", record.model_dump_json(indent=1) + "\n")

    def record(self, run_id: str) -> RunRecord:
        """
        Raises:
            StoreError: there is no such record, or it is damaged.
        """
        path = self.table(run_id, "record.json")
        try:
            record = RunRecord.model_validate_json(path.read_bytes())
        except OSError as error:
            raise StoreError(f"{path}: cannot be read ({error})") from error
        except ValidationError as error:
            schema = _read_json(path).get("schema_version")
            if schema != SCHEMA:
                raise StoreError(f"{path}: schema {schema!r}, this version reads {SCHEMA}") from None
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise StoreError(f"{path}: {where}: {first['msg']}") from None
        if record.schema_version != SCHEMA:
            raise StoreError(f"{path}: schema {record.schema_version}, this version reads {SCHEMA}")
        if record.run_id != run_id:
            raise StoreError(f"{path}: holds the record of {record.run_id!r}")
        return record

    def run_ids(self) -> list[str]:
        return sorted(_holding(self.root / "runs", "record.json"))

    # Housekeeping

    def prepare(self) -> None:
        """Make the folder and sweep out what a killed writer left.

        Raises:
            StoreError: it cannot be written.
        """
        try:
            for part in ("stages", "runs"):
                (self.root / part).mkdir(parents=True, exist_ok=True)
            probe = self.root / f"{UNFINISHED}{uuid.uuid4().hex}"
            probe.write_bytes(b"probe")
            probe.unlink()
        except OSError as error:
            raise unwritable(self.root, error) from error
        for leftover in [*self.root.glob(f"*/{UNFINISHED}*"), *self.root.glob(f"{UNFINISHED}*")]:
            shutil.rmtree(leftover, ignore_errors=True)

    @contextmanager
    def _write_folder(self, target: Path) -> Iterator[Path]:
        folder = target.parent / f"{UNFINISHED}{uuid.uuid4().hex}"
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
                    _sync(path)
                if not target.exists():  # else another process made the same thing first
                    folder.rename(target)
                _sync(target.parent)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


NO_ROOM = {
    errno.ENOSPC: "free some space, then run the same command again: finished stages are kept",
    errno.EDQUOT: "your quota is used up; free some, then run the same command again: finished stages are kept",
    errno.EFBIG: "a file may not grow that large here (ulimit -f); finished stages are kept",
}


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise unwritable(target, error) from error


def unwritable(path: Path, error: OSError) -> StoreError:
    """The sentence about a place that cannot be written."""
    advice = NO_ROOM.get(error.errno or 0, "name a folder that you may write to with --results")
    return StoreError(f"cannot write {path}: {error.strerror or error}; {advice}")


def write_file(path: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all.

    Raises:
        StoreError: it cannot be written.
    """
    temporary = path.with_name(f"{UNFINISHED}{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        _sync(temporary)
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise unwritable(path, error) from error


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _holding(folder: Path, file: str) -> list[str]:
    """Names of the folders in a folder that hold a file of that name. pathlib takes five times as long."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if not entry.name.startswith(UNFINISHED)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [name for name in names if os.path.isfile(f"{folder}/{name}/{file}")]  # noqa: PTH113


def _artifacts(folder: Path, root: Path) -> Iterator[Artifact]:
    for path in sorted(folder.rglob("*")):
        yield Artifact(path=path.relative_to(root).as_posix(), sha256=sha256(path), bytes=path.stat().st_size)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _write_json(path: Path, content: dict[str, Any]) -> None:
    _write_text(path, json.dumps(content, indent=1, sort_keys=True) + "\n")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: cannot be read ({error})") from error
    if not isinstance(content, dict):
        raise StoreError(f"{path}: not a JSON object")
    return content

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
from results.record import SCHEMA, Artifact, DoneRecord, RunRecord, parse_record, printable
from results.store.attempts import Progress, note_failed_run
from results.store.files import NO_ROOM, UNFINISHED, StoreError, sha256, sweep, sync, unfinished, unwritable
from results.store.files import write_file as write_file

TABLES = ("outcomes", "curves", "answers", "corners")
"""The tables beside a finished record, one Parquet file each."""


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
            _write_json(folder / "manifest.json", {"fields": fields, "artifacts": files})
            _write_text(folder / "provenance.json", provenance.model_dump_json(indent=1) + "\n")
        shutil.rmtree(self.progress_dir(name), ignore_errors=True)

    def manifest(self, name: str) -> dict[str, Any]:
        return _read_json(self.stage(name) / "manifest.json")

    def provenance(self, name: str) -> StageProvenance:
        """
        Raises:
            StoreError: it is missing or damaged.
        """
        path = self.stage(name) / "provenance.json"
        try:
            return StageProvenance.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise StoreError(f"{path}: cannot be read ({_first_error(error)})") from error

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
        return path.is_file() and _read_record(path).get("status") == "done"

    @contextmanager
    def write_run(self, record: RunRecord) -> Iterator[Path]:
        """A temporary folder to write a run's tables into; the end of the block adds the record and renames it.

        A later record replaces a failed one; a done one stays.
        """
        with self._write_folder(self.run(record.run_id)) as folder:
            yield folder
            _write_text(folder / "record.json", record.model_dump_json(indent=1) + "\n")
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
        removed = unfinished(folder)
        with suppress(FileNotFoundError):  # another process removed it
            folder.rename(removed)
        shutil.rmtree(removed, ignore_errors=True)
        return True

    def record(self, run_id: str) -> RunRecord:
        """
        Raises:
            StoreError: there is no such record, or it is damaged.
        """
        path = self.table(run_id, "record.json")
        try:
            record = parse_record(path.read_bytes())
        except OSError as error:
            raise StoreError(f"{path}: cannot be read ({error})") from error
        except ValueError as error:
            _read_record(path)
            raise StoreError(f"{path}: {_first_error(error)}") from None
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


def _write_json(path: Path, content: dict[str, Any]) -> None:
    _write_text(path, json.dumps(content, indent=1, sort_keys=True) + "\n")


def _read_record(path: Path) -> dict[str, Any]:
    """The raw content of a record of this schema.

    Raises:
        StoreError: it cannot be read, or has another schema.
    """
    content = _read_json(path)
    schema = content.get("schema_version")
    if schema != SCHEMA:
        raise StoreError(
            f"{path}: another version of this suite wrote it (schema {schema!r}, this version reads {SCHEMA}); remove "
            f"{path.parent} and run its grid again, or read it with the version that wrote it"
        )
    return content


def _first_error(error: OSError | ValueError) -> str:
    """The first mistake with its place, without the value that was there."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("done", "failed"))
    message = printable(first["msg"].removeprefix("Value error, "))
    return f"{where}: {message}" if where else message


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: cannot be read ({error})") from error
    if not isinstance(content, dict):
        raise StoreError(f"{path}: not a JSON object")
    return content

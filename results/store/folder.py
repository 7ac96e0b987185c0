"""The results folder.

    stages/<stage>-<key>/    immutable: artifacts, manifest.json (their hashes), provenance.json (origin)
    runs/<run_id>/           record.json, thresholds.json; outcomes, curves, answers, corners (Parquet)
    progress/<stage>-<key>/  unfinished work: checkpoint, lock, heartbeat, attempts; see `results.store.attempts`
    progress/<run_id>/       earlier failures of a run: attempts.jsonl
    logs/<session>/          output of the workers of one command, one file each
    damaged/                 damaged stages and runs that `run` made again; nothing reads them
    devices/                 results of `doctor --device`, one file per kind of machine; see `results.store.devices`

Folders are written under a temporary name and then renamed, so readers never see an incomplete folder.
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from results.frozen import Frozen
from results.provenance import StageProvenance
from results.record import Artifact, DoneRecord, RunRecord
from results.record_parsing import SchemaError, parse_record, record_fields
from results.sealed import sealed, unsealed
from results.store.atomic_folders import artifacts_in, folders_with, write_folder
from results.store.attempts import Progress, log_failed_run
from results.store.files import UNFINISHED, DamagedError, StoreError, read_file, sha256, sweep, unfinished, unwritable
from results.text import printable

MADE_AGAIN = (
    "remove this folder, and run makes it again for unfinished runs; for a finished one: reproduce RUN --into FOLDER"
)
RECORD_BYTES = 2**24  # largest size of a record, a manifest or a provenance


class _Manifest(Frozen):
    """The content of manifest.json: artifacts with paths relative to the stage's folder, and the fields of the key."""

    artifacts: tuple[Artifact, ...]
    fields: dict[str, Any]


class Store:
    """A results folder.

    Args:
        root: the folder; created by the first write.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def roots(self) -> list[Path]:
        """The folders that are read: one, or several in `MergedFolders`."""
        return [self.root]

    def without_root(self, sentence: str) -> str:
        """The message with paths relative to this folder, for publication."""
        return sentence.replace(f"{self.root}/", "")

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
        """A temporary folder for the artifacts of a stage. At the end of the block, it gets the manifest and is renamed.

        The manifest depends only on artifacts and fields; the provenance is a separate file. If another process has written the
        stage in the meantime, its result is kept.

        Args:
            name: name of the stage.
            fields: the fields whose hash is the stage's key.
            provenance: origin of this result.
        """
        with write_folder(self.stage(name)) as folder:
            yield folder
            files = [artifact.model_dump() for artifact in artifacts_in(folder)]
            manifest = json.dumps({"artifacts": files, "fields": fields}, sort_keys=True)
            (folder / "manifest.json").write_text(sealed(manifest, indent=1) + "\n", encoding="utf-8")
            (folder / "provenance.json").write_text(
                sealed(provenance.model_dump_json(), indent=1) + "\n", encoding="utf-8"
            )
        shutil.rmtree(self.progress_dir(name), ignore_errors=True)

    def manifest(self, name: str) -> dict[str, Any]:
        """The manifest of a stage: ``fields`` of its key and ``artifacts``.

        Raises:
            StoreError: the manifest is missing or damaged.
        """
        path = self.stage(name) / "manifest.json"
        try:
            content = unsealed(read_file(path, RECORD_BYTES))
            _Manifest.model_validate(content)
        except ValueError as error:
            raise DamagedError(f"{path}: {_first_error(error)}; {MADE_AGAIN}") from error
        return content

    def provenance(self, name: str) -> StageProvenance:
        """The origin of a stage.

        Raises:
            StoreError: the file is missing or damaged.
        """
        path = self.stage(name) / "provenance.json"
        try:
            return StageProvenance.model_validate(unsealed(read_file(path, RECORD_BYTES)))
        except ValueError as error:
            raise DamagedError(f"{path}: cannot be read ({_first_error(error)}); {MADE_AGAIN}") from error

    def artifact(self, name: str, file: str) -> Path:
        """The path of an artifact, whose hash is verified.

        Raises:
            StoreError: the artifact is missing or was changed.
        """
        path = self.stage(name) / file
        expected = {entry["path"]: entry["sha256"] for entry in self.manifest(name)["artifacts"]}
        if not path.is_file() or expected.get(file) != sha256(path):
            raise DamagedError(f"{path} is missing or was changed since it was written; {MADE_AGAIN}")
        return path

    def check_stage(self, name: str, *, artifacts: bool) -> None:
        """Read the manifest and the provenance of a finished stage.

        Args:
            name: name of the stage.
            artifacts: whether to verify the hashes of all artifacts.

        Raises:
            StoreError: a file is missing or damaged.
        """
        entries = self.manifest(name)["artifacts"]
        self.provenance(name)
        for entry in entries if artifacts else ():
            self.artifact(name, entry["path"])

    def set_aside(self, folder: Path) -> Path:
        """Move a damaged stage or run to the folder ``damaged``, where nothing reads it.

        Returns:
            the new path.

        Raises:
            StoreError: the folder cannot be moved.
        """
        parent = self.root / "damaged"
        names = (f"{folder.name}-{number}" if number > 1 else folder.name for number in itertools.count(1))
        target = next(parent / name for name in names if not (parent / name).exists())
        try:
            parent.mkdir(exist_ok=True)
            folder.rename(target)
        except OSError as error:
            raise unwritable(target, error) from error
        return target

    def artifacts(self, name: str) -> tuple[Artifact, ...]:
        """The stage's artifacts, with paths relative to the results folder."""
        prefix = self.stage(name).relative_to(self.root).as_posix()
        entries = self.manifest(name)["artifacts"]
        return tuple(Artifact(**{**entry, "path": f"{prefix}/{entry['path']}"}) for entry in entries)

    def stages(self, kind: str) -> list[str]:
        """Names of the finished stages of one kind."""
        return sorted(name for name in self.done_stages() if name.startswith(f"{kind}-"))

    def done_stages(self) -> frozenset[str]:
        """Names of all finished stages."""
        return frozenset(folders_with(self.root / "stages", "manifest.json"))

    def run(self, run_id: str) -> Path:
        return self.root / "runs" / run_id

    def plain_file(self, path: Path) -> Path:
        """The path itself, which is checked because the folder may come from a stranger.

        Raises:
            StoreError: the path is a link out of this folder or a special file.
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
        """Whether the record exists and is undamaged."""
        try:
            self.record(run_id)
        except StoreError:
            return False
        return True

    def conflicts(self, run_ids: Sequence[str]) -> list[str]:
        """One sentence per copy of a run that differs from the preferred copy; see `MergedFolders`."""
        return []

    def is_done(self, run_id: str) -> bool:
        """Whether the run has a record and did not fail.

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
        """A temporary folder for the tables of a run. At the end of the block, the record is added and the folder renamed.

        The record of a failed run is replaced, that of a finished run is kept.
        """
        with write_folder(self.run(record.run_id)) as folder:
            yield folder
            complete = record.model_copy(update={"files": tuple(artifacts_in(folder))})
            (folder / "record.json").write_text(sealed(complete.model_dump_json(), indent=1) + "\n", encoding="utf-8")
            self.remove_failed_run(record.run_id)

    def remove_failed_run(self, run_id: str) -> bool:
        """Remove the record of a failed run, so that the run can be repeated. Its cause and traceback are logged.

        Returns:
            whether there was such a record.
        """
        folder = self.run(run_id)
        if not folder.exists() or self.is_done(run_id):
            return False
        if (folder / "record.json").is_file():
            path = folder / "traceback.txt"
            traceback = path.read_text(encoding="utf-8") if path.is_file() else ""
            record = self.record(run_id)
            if record.status == "failed":
                log_failed_run(self.progress_dir(run_id), record, traceback)
        self.remove_run(run_id)
        return True

    def remove_run(self, run_id: str) -> None:
        """Remove a record and the files beside it."""
        folder = self.run(run_id)
        removed = unfinished(folder)
        with suppress(FileNotFoundError):  # another process has removed it
            folder.rename(removed)
        shutil.rmtree(removed, ignore_errors=True)

    def record(self, run_id: str) -> RunRecord:
        """The record of a run.

        Raises:
            StoreError: the record is missing or damaged.
        """
        path = self.table(run_id, "record.json")
        with _reading(path):
            record = parse_record(read_file(path, RECORD_BYTES))
        if record.run_id != run_id:
            raise StoreError(f"{path}: holds the record of {record.run_id!r}")
        return record

    def done_record(self, run_id: str) -> DoneRecord:
        """The record of a finished run.

        Raises:
            StoreError: the record is missing or damaged, or the run failed.
        """
        record = self.record(run_id)
        if record.status == "failed":
            raise StoreError(f"{self.run(run_id)}: the run failed ({record.cause})")
        return record

    def run_ids(self) -> list[str]:
        return sorted(folders_with(self.root / "runs", "record.json"))

    def prepare(self) -> None:
        """Create the folder and remove temporary files of killed writers.

        Raises:
            StoreError: the folder cannot be written.
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


def _first_error(error: ValueError) -> str:
    """The first error of a validation with the name of its field, but without the invalid value."""
    if not isinstance(error, ValidationError):
        return printable(str(error))[:300]
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("done", "failed"))
    message = printable(first["msg"].removeprefix("Value error, "))
    return f"{where}: {message}" if where else message

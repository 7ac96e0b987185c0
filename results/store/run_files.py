"""The files beside a record. Their sizes and SHA-256, which are in the record, are compared before a file is used."""

from __future__ import annotations

import hashlib
from pathlib import Path

from results.record import Artifact, DoneRecord, RunRecord
from results.store.files import DamagedError, read_file, sha256

TABLES = ("outcomes", "curves", "answers", "corners")  # of a finished run, one Parquet file each
GROUND_TRUTH = "ground_truth"
"""Table of the labelled boxes, beside those of a detection."""
MAX_BYTES = 2**31  # of one file


def tables_of(record: DoneRecord) -> tuple[str, ...]:
    """Names of the tables beside a record."""
    return (*TABLES, GROUND_TRUTH) if record.data.task == "detection" else TABLES


def read_run_file(path: Path, record: RunRecord) -> bytes:
    """The content of a file beside a record.

    Raises:
        DamagedError: the file is missing, or was changed since the record was written.
    """
    artifact = _artifact(path, record)
    if artifact.bytes > MAX_BYTES:
        raise DamagedError(f"{path}: larger than {MAX_BYTES:,} bytes")
    content = read_file(path, artifact.bytes)
    if hashlib.sha256(content).hexdigest() != artifact.sha256:
        raise _changed(path)
    return content


def check_run_files(folder: Path, record: RunRecord) -> None:
    """Compare the sizes and hashes of all files beside a record.

    Raises:
        DamagedError: a file is missing, or was changed since the record was written.
    """
    tables = [f"{name}.parquet" for name in tables_of(record)] if isinstance(record, DoneRecord) else []
    for name in dict.fromkeys([*tables, *(artifact.path for artifact in record.files)]):
        path = folder / name
        artifact = _artifact(path, record)
        if not path.is_file():
            raise DamagedError(f"{path}: missing")
        if path.stat().st_size != artifact.bytes or sha256(path) != artifact.sha256:
            raise _changed(path)


def _artifact(path: Path, record: RunRecord) -> Artifact:
    artifact = next((entry for entry in record.files if entry.path == path.name), None)
    if artifact is None:
        raise DamagedError(f"{path}: the record has no checksum of this file")
    return artifact


def _changed(path: Path) -> DamagedError:
    return DamagedError(f"{path}: damaged: it was changed since it was written")

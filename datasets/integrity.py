"""Files from elsewhere: compared with their checksums, and unpacked without trusting what is inside."""

from __future__ import annotations

import hashlib
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from datasets.errors import DataError

# An archive of images hardly shrinks; one that grows more than this is not what it says.
MOST_GROWTH = 30
MOST_FILES = 3_000_000
PART = 2**20
UNFINISHED = ".unfinished-"


def digest_of(path: Path, algorithm: str) -> str:
    """Hexadecimal digest of a file's content.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, algorithm).hexdigest()
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror})") from error


def is_archive(name: str) -> bool:
    return name.endswith((".zip", ".tar", ".tar.gz", ".tgz"))


def unpack(archive: Path, target: Path, *, most_growth: int = MOST_GROWTH, most_files: int = MOST_FILES) -> None:
    """Unpack a tar or zip archive below ``target``; what is there under the same names stays as it is.

    Files appear in their place only after everything has been unpacked. Folders and regular files alone are made: a link, a
    device, a name that leaves the target, more files or more bytes than an archive of this size should hold end it.

    Args:
        archive: the file.
        target: a folder; made if need be.
        most_growth: unpacked bytes over the archive's own, with 1 MiB free.
        most_files: entries.

    Raises:
        DataError: the archive is damaged or asks for something unsafe; nothing was put in place.
    """
    staging = target / f"{UNFINISHED}{archive.name}"
    shutil.rmtree(staging, ignore_errors=True)
    room = archive.stat().st_size * most_growth + PART
    try:
        staging.mkdir(parents=True)
        with _entries(archive) as entries:
            for count, (name, source) in enumerate(entries, start=1):
                if count > most_files:
                    raise DataError(f"{archive} has more than {most_files:,} entries; it was not unpacked")
                room -= _write(staging / _safe(name, archive), source, room, archive)
        for path in sorted(staging.iterdir()):
            _move(path, target / path.name)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise DataError(f"{archive} is damaged or no archive ({error}); nothing was unpacked") from error
    except OSError as error:
        raise DataError(f"cannot unpack {archive} below {target} ({error})") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def _entries(archive: Path) -> Iterator[Iterator[tuple[str, IO[bytes] | None]]]:
    """Names and contents; None for a folder."""
    if archive.name.endswith(".zip"):
        with zipfile.ZipFile(archive) as opened:
            yield _zip_entries(opened, archive)
    else:
        with tarfile.open(archive) as tar:
            yield _tar_entries(tar, archive)


def _zip_entries(opened: zipfile.ZipFile, archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    for entry in opened.infolist():
        mode = entry.external_attr >> 16
        if mode and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_IFMT(mode) == 0):
            raise DataError(f"{archive}: {entry.filename!r} is neither a file nor a folder; it was not unpacked")
        if entry.is_dir():
            yield entry.filename, None
        else:
            with opened.open(entry) as source:
                yield entry.filename, source


def _tar_entries(tar: tarfile.TarFile, archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    for entry in tar:
        if entry.isdir():
            yield entry.name, None
        elif entry.isreg():
            yield entry.name, tar.extractfile(entry)
        else:
            raise DataError(f"{archive}: {entry.name!r} is neither a file nor a folder; it was not unpacked")


def _safe(name: str, archive: Path) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or not path.name:
        raise DataError(f"{archive}: the name {name!r} leaves the folder; it was not unpacked")
    return path


def _write(path: Path, source: IO[bytes] | None, room: int, archive: Path) -> int:
    """The bytes written."""
    if source is None:
        path.mkdir(parents=True, exist_ok=True)
        return 0
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with path.open("xb") as file:
        while part := source.read(PART):
            written += len(part)
            if written > room:
                raise DataError(f"{archive} unpacks to far more than an archive of its size holds; it was not unpacked")
            file.write(part)
    return written


def _move(path: Path, target: Path) -> None:
    """Into place; folders that are there are filled up, files that are there stay."""
    if path.is_dir() and target.is_dir():
        for child in sorted(path.iterdir()):
            _move(child, target / child.name)
    elif not target.exists():
        path.replace(target)

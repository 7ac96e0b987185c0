"""Checksums of downloaded files, and archives unpacked without trusting their content."""

from __future__ import annotations

import hashlib
import shutil
import stat
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from datasets.errors import DataError

MAX_GROWTH = 30  # images hardly compress, so an archive of images unpacks to less than this multiple of its size
MAX_ENTRIES = 3_000_000
CHUNK_BYTES = 2**20
STAGING_PREFIX = ".unfinished-"


def digest_of(path: Path, algorithm: str) -> str:
    """Hexadecimal digest of a file's content.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, algorithm).hexdigest()
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror})") from error


class DamagedArchiveError(DataError):
    """An archive cannot be read to its end."""


def is_archive(name: str) -> bool:
    return name.endswith((".zip", ".tar", ".tar.gz", ".tgz"))


def unpack(archive: Path, target: Path, *, max_growth: int = MAX_GROWTH, max_entries: int = MAX_ENTRIES) -> None:
    """Unpack a tar or zip archive below ``target``; files that exist there are not replaced.

    Everything is unpacked into a temporary folder and then moved. An archive is refused as a whole if it contains a link,
    a device, a name outside the target, too many entries, or too many bytes for its size.

    Args:
        archive: the file.
        target: a folder, created if it does not exist.
        max_growth: largest ratio of unpacked to packed bytes; 1 MiB more is always allowed.
        max_entries: largest number of files and folders.

    Raises:
        DamagedArchiveError: the archive is damaged; no file was added to ``target``.
        DataError: the archive is refused, or the files cannot be written; likewise.
    """
    staging = target / f"{STAGING_PREFIX}{archive.name}"
    shutil.rmtree(staging, ignore_errors=True)
    limits = _Limits(archive, archive.stat().st_size * max_growth + CHUNK_BYTES, max_entries)
    try:
        staging.mkdir(parents=True)
        if archive.name.endswith(".zip"):
            _unpack_zip(archive, staging, limits)
        else:
            _unpack_tar(archive, staging, limits)
        for path in sorted(staging.iterdir()):
            _move(path, target / path.name)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise DamagedArchiveError(f"{archive} is damaged or not an archive ({error}); nothing was unpacked") from error
    except OSError as error:
        raise DataError(f"cannot unpack {archive} below {target} ({error})") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@dataclass
class _Limits:
    """Bytes and entries that an archive may still contain. Unpacking reads no more than the size that an entry declares."""

    archive: Path
    bytes: int
    entries: int

    def admit(self, name: str, size: int, *, plain: bool) -> None:
        """Count one entry.

        Args:
            name: path of the entry.
            size: its declared size in bytes.
            plain: whether it is a file or a folder.

        Raises:
            DataError: the entry is a link or a device, its path leaves the target folder, or a limit is exceeded.
        """
        path = PurePosixPath(name)
        if not plain:
            raise DataError(f"{self.archive}: {name!r} is neither a file nor a folder; it was not unpacked")
        if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or not path.name:
            raise DataError(f"{self.archive}: the name {name!r} leaves the folder; it was not unpacked")
        self.bytes -= size
        self.entries -= 1
        if self.entries < 0:
            raise DataError(f"{self.archive} has too many entries; it was not unpacked")
        if self.bytes < 0:
            raise DataError(
                f"{self.archive} unpacks to far more than an archive of its size holds; it was not unpacked"
            )


def _unpack_tar(archive: Path, staging: Path, limits: _Limits) -> None:
    def admit(entry: tarfile.TarInfo, path: str) -> tarfile.TarInfo:
        limits.admit(entry.name, entry.size, plain=entry.isreg() or entry.isdir())
        return tarfile.data_filter(entry, path)

    with tarfile.open(archive) as tar:
        tar.extractall(staging, filter=admit)


def _unpack_zip(archive: Path, staging: Path, limits: _Limits) -> None:
    with zipfile.ZipFile(archive) as zip_file:
        for entry in zip_file.infolist():
            kind = stat.S_IFMT(entry.external_attr >> 16)  # 0 if the archive was not made on Unix
            limits.admit(entry.filename, entry.file_size, plain=kind in (0, stat.S_IFREG, stat.S_IFDIR))
        zip_file.extractall(staging)


def _move(path: Path, target: Path) -> None:
    """Move a file or folder to ``target``. Existing folders are merged; existing files are kept."""
    if path.is_dir() and target.is_dir():
        for child in sorted(path.iterdir()):
            _move(child, target / child.name)
    elif not target.exists():
        path.replace(target)

"""Downloads of the official files: resumed after an interruption, verified and unpacked.

The library pooch is not used because it cannot resume a download, and the archives have gigabytes.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from datasets.api import Archive, DataError, DatasetCard
from datasets.integrity import CHUNK_BYTES, DamagedArchiveError, digest_of, is_archive, unpack

TIMEOUT_SECONDS = 30.0

Progress = Callable[[str, int, int | None], None]  # file name, received bytes, total bytes if known


def fetch(card: DatasetCard, data_dir: Path, progress: Progress) -> list[str]:
    """Download the files of a dataset and unpack them.

    Args:
        card: the dataset.
        data_dir: the user's folder for datasets, where the files are written.
        progress: called after every mebibyte.

    Returns:
        one line per file: its path and how it was verified.

    Raises:
        DataError: the download requires an account, the server cannot be reached, a file is not the official one, or another
            command is fetching it.
    """
    if not card.archives or any(archive.url is None for archive in card.archives):
        raise DataError(f"dataset {card.name} cannot be fetched: {card.how_to_get}")
    lines = []
    for archive in card.archives:
        folder = data_dir / archive.folder
        path = folder / archive.name
        with _alone(path):
            if not path.is_file():
                _download(archive, path, progress)
            lines.append(f"{path}  {_verify(archive, path)}")
            if is_archive(archive.name):
                _unpack(path, folder)
    return lines


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a file against other commands that fetch it: they would write to the same temporary files.

    Raises:
        DataError: another command is fetching it, or its folder cannot be written.
    """
    lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise DataError(
            f"another command is fetching {path}; wait until it has ended (if none runs, remove {lock.lock_file})"
        ) from None
    except OSError as error:
        raise DataError(f"cannot write {lock.lock_file} ({error.strerror})") from error
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def _unpack(path: Path, folder: Path) -> None:
    """`unpack`. A damaged archive is removed, so that the next attempt downloads it again."""
    try:
        unpack(path, folder)
    except DamagedArchiveError as error:
        path.unlink()
        raise DataError(f"{error}. It was removed; fetch it again") from error


def _verify(archive: Archive, path: Path) -> str:
    """How the file was verified. A wrong file is removed, so that the next attempt downloads it again."""
    if archive.md5 is None:
        return f"no published checksum is known; its SHA-256 is {digest_of(path, 'sha256')}"
    digest = digest_of(path, "md5")
    if digest != archive.md5:
        path.unlink()
        raise DataError(
            f"{path} is not the official file: its MD5 is {digest}, not {archive.md5}. It was removed; fetch it again"
        )
    return "MD5 as published"


def _download(archive: Archive, path: Path, progress: Progress) -> None:
    """Download to a ``.part`` file, which is renamed when it is complete."""
    assert archive.url is not None
    part = path.with_name(f"{path.name}.part")
    try:
        offset = part.stat().st_size if part.is_file() else 0
        _receive(archive.url, part, offset, lambda done, total: progress(archive.name, done, total))
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise DataError(
            f"cannot download {archive.url} ({reason}). Without a network, get it on another machine and put it at {path}; "
            "the same command then verifies and unpacks it"
        ) from error
    except OSError as error:
        raise DataError(f"cannot write {part} ({error.strerror})") from error
    part.replace(path)


def _receive(url: str, part: Path, offset: int, progress: Callable[[int, int | None], None]) -> None:
    request = urllib.request.Request(url, headers={"Range": f"bytes={offset}-"} if offset else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == 416 and offset:  # the part file is already complete; the checksum decides
            return
        raise
    with response:
        resumed = response.status == 206
        done = offset if resumed else 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length and length.isdecimal() else None
        with part.open("ab" if resumed else "wb") as file:
            while received := response.read(CHUNK_BYTES):
                file.write(received)
                done += len(received)
                progress(done, total)
    if total is not None and done < total:
        raise ConnectionError(f"it ended after {done:,} of {total:,} bytes; the same command resumes it")

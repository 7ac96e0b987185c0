"""Downloads of the official files: resumed after an interruption, verified, unpacked.

Written by hand because we know of no way to resume a download in the library pooch, and the archives are gigabytes large.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from datasets.api import Archive, DataError, DatasetCard
from datasets.integrity import PART, digest_of, is_archive, unpack

SECONDS = 30.0

Progress = Callable[[str, int, int | None], None]  # file name, bytes so far, bytes in all where known


def fetch(card: DatasetCard, data_dir: Path, progress: Progress) -> list[str]:
    """Download a dataset's files below a folder and unpack them.

    Args:
        card: of the dataset.
        data_dir: the user's folder for datasets.
        progress: called after every megabyte.

    Returns:
        one line per file: its path and how it was verified.

    Raises:
        DataError: the publisher asks for an account, cannot be reached, or sent something else.
    """
    if not card.archives or any(archive.url is None for archive in card.archives):
        raise DataError(f"dataset {card.name} cannot be fetched: {card.how_to_get}")
    lines = []
    for archive in card.archives:
        folder = data_dir if is_archive(archive.name) else data_dir / card.name
        path = folder / archive.name
        if not path.is_file():
            _download(archive, path, progress)
        lines.append(f"{path}  {_verify(archive, path)}")
        if is_archive(archive.name):
            unpack(path, folder)
    return lines


def _verify(archive: Archive, path: Path) -> str:
    """How the file was verified. A wrong one is removed, so that the next attempt starts from the beginning."""
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
    """Into a ``.part`` file, which is renamed when it is complete."""
    assert archive.url is not None
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        have = part.stat().st_size if part.is_file() else 0
        _receive(archive.url, part, have, lambda done, total: progress(archive.name, done, total))
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise DataError(
            f"cannot download {archive.url} ({reason}). Without a network here, download it elsewhere and put it at {path}; "
            "the same command then verifies and unpacks it"
        ) from error
    except OSError as error:
        raise DataError(f"cannot write {part} ({error.strerror})") from error
    part.replace(path)


def _receive(url: str, part: Path, have: int, progress: Callable[[int, int | None], None]) -> None:
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # the part file is complete already; the checksum decides
            return
        raise
    with response:
        resumed = response.status == 206
        done = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length and length.isdecimal() else None
        with part.open("ab" if resumed else "wb") as file:
            while received := response.read(PART):
                file.write(received)
                done += len(received)
                progress(done, total)
    if total is not None and done < total:
        raise ConnectionError(f"it ended after {done:,} of {total:,} bytes; the same command resumes it")

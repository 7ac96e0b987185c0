"""Copies datasets to a node's own disk: each dataset's folder once per node, under a lock, every file compared by its hash.

The disk is ``$SLURM_TMPDIR``, else ``$TMPDIR``, else /tmp. Data that have no folder of their own below the user's data folder
(the bundled images, `folder:PATH`) are read in place, and so is everything if the disk has too little space.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from datasets.api import DataError, DatasetCard
from results.store.files import sha256
from results.store.locks import CannotLockError, Lock

SPACE_FACTOR = 1.1
"""Required free space in sizes of the copy."""
DISK_VARIABLES = ("SLURM_TMPDIR", "TMPDIR")
POLL_SECONDS = 0.5
WEIGHTS = "weights"


def stage_data(data_dir: Path, cards: Iterable[DatasetCard], say: Callable[[str], None]) -> Path:
    """The folder to read datasets from on this node: a copy, or ``data_dir`` itself.

    Args:
        data_dir: the user's.
        cards: of the required datasets.
        say: receives a sentence for every copy.

    Raises:
        DataError: a dataset is missing, or a copy differs from its original.
    """
    sources = dict.fromkeys(card.find(data_dir) for card in cards)
    folders = [source for source in sources if source != data_dir and source.is_relative_to(data_dir)]
    if not folders:
        return data_dir
    try:
        return _staged(data_dir, folders, say)
    except (OSError, CannotLockError) as error:  # as when another job fills the disk meanwhile
        say(f"{data_dir} cannot be copied to this node's disk, and is read in place ({str(error)[:200]})")
        return data_dir


def _staged(data_dir: Path, folders: Sequence[Path], say: Callable[[str], None]) -> Path:
    """The folder with the copies, or ``data_dir`` where they have no room."""
    disk = Path(next((os.environ[name] for name in DISK_VARIABLES if os.environ.get(name)), "/tmp"))
    root = disk / f"lgvit-bench-{os.getuid()}" / _version(data_dir, folders)
    root.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if root.parent.stat().st_uid != os.getuid():
        raise DataError(f"{root.parent} belongs to another user; without --stage-data the data are read in place")
    root.mkdir(exist_ok=True)
    for folder in folders:
        target = root / folder.relative_to(data_dir)
        lock = Lock(root / f"{target.name}.lock")
        while not lock.acquire():
            time.sleep(POLL_SECONDS)
        try:
            if not target.is_dir():
                size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
                if shutil.disk_usage(disk).free < SPACE_FACTOR * size:
                    say(f"not enough space on {disk} for {folder} ({size / 1e9:.1f} GB), which is read in place")
                    return data_dir
                start = time.monotonic()
                _copy(folder, target)
                say(f"copied {folder} to {target} in {time.monotonic() - start:.0f} s, every file compared")
        finally:
            lock.release()
    if (data_dir / WEIGHTS).is_dir():
        with suppress(FileExistsError):  # pretrained weights are read once, so they are not copied
            (root / WEIGHTS).symlink_to(data_dir / WEIGHTS, target_is_directory=True)
    return root


def _version(data_dir: Path, folders: Iterable[Path]) -> str:
    """16 hex digits that change when an entry at the top level of a dataset's folder changes."""
    digest = hashlib.sha256(str(data_dir).encode())
    for folder in folders:
        for path in sorted(folder.iterdir()):
            status = path.stat()
            digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _copy(source: Path, target: Path) -> None:
    """The target appears complete or not at all. The caller holds its lock, so a partial copy is one of a killed process."""
    partial = target.with_name(f".{target.name}-partial")
    shutil.rmtree(partial, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copytree(source, partial)
        for path in source.rglob("*"):
            if path.is_file() and sha256(path) != sha256(partial / path.relative_to(source)):
                raise DataError(f"{path}: its copy in {target.parent} differs; the disk may be damaged")
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)

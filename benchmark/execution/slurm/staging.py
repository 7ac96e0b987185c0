"""Data on a node's own disk: a dataset's folder is copied once, under a lock, every file compared by its hash.

The place is ``$SLURM_TMPDIR``, else ``$TMPDIR``, else /tmp. What has no folder of its own below the user's folder of datasets
is read where it lies (the bundled images, `folder:PATH`), and so is everything where the disk has no room.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from datasets.api import DataError, DatasetCard
from results.store.files import sha256
from results.store.locks import Lock

MARGIN = 1.1
"""Of the copied size, so that a full disk is not what ends the task."""
PLACES = ("SLURM_TMPDIR", "TMPDIR")
WEIGHTS = "weights"


def staged(data_dir: Path, cards: Iterable[DatasetCard], say: Callable[[str], None]) -> Path:
    """The folder to read datasets from on this node: a copy, or ``data_dir`` itself.

    Args:
        data_dir: the user's.
        cards: of the datasets that are wanted.
        say: told what was done.

    Raises:
        DataError: a dataset is not there, or a copy differs from its original.
    """
    sources = [card.find(data_dir) for card in cards]
    sources = [source for source in dict.fromkeys(sources) if source != data_dir and source.is_relative_to(data_dir)]
    if not sources:
        return data_dir
    disk = Path(next((os.environ[name] for name in PLACES if os.environ.get(name)), "/tmp"))
    root = disk / f"lgvit-bench-{os.getuid()}" / _as_it_is(data_dir, sources)
    root.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if root.parent.stat().st_uid != os.getuid():
        raise DataError(
            f"{root.parent} belongs to somebody else; without --stage-data the data are read where they lie"
        )
    root.mkdir(exist_ok=True)
    for source in sources:
        target = root / source.relative_to(data_dir)
        lock = Lock(root / f"{target.name}.lock")
        while not lock.take():
            time.sleep(0.5)
        try:
            if not target.is_dir():
                size = sum(path.stat().st_size for path in source.rglob("*") if path.is_file())
                if shutil.disk_usage(disk).free < MARGIN * size:
                    say(f"{disk} has no room for {source} ({size / 1e9:.1f} GB); it is read where it lies")
                    return data_dir
                begun = time.monotonic()
                _copy(source, target)
                say(f"copied {source} to {target} in {time.monotonic() - begun:.0f} s, every file compared")
        finally:
            lock.release()
    if (data_dir / WEIGHTS).is_dir():
        with suppress(FileExistsError):  # pretrained weights are read once, so they stay
            (root / WEIGHTS).symlink_to(data_dir / WEIGHTS, target_is_directory=True)
    return root


def _as_it_is(data_dir: Path, sources: Iterable[Path]) -> str:
    """16 hex digits that change when somebody changes a dataset's folder, as far as its first level tells."""
    digest = hashlib.sha256(str(data_dir).encode())
    for source in sources:
        for path in sorted(source.iterdir()):
            status = path.stat()
            digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _copy(source: Path, target: Path) -> None:
    """Appears whole or not at all."""
    part = target.with_name(f".{target.name}-{uuid.uuid4().hex}")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copytree(source, part)
        for path in source.rglob("*"):
            if path.is_file() and sha256(path) != sha256(part / path.relative_to(source)):
                raise DataError(f"{path}: its copy in {target.parent} differs; is that disk sound?")
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)

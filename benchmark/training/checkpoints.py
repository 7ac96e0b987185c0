"""Checkpoint files. Each ends with the SHA-256 of its content, and the previous one is kept.

A damaged checkpoint is recognised before anything of it is used. A step depends only on the weights and the step's number, so a
training that resumes from an earlier checkpoint gives the same bits.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from results.store.files import write_file

DIGEST_BYTES = 32


def previous(path: Path) -> Path:
    """The checkpoint before the one at this path."""
    return path.with_name(f"{path.stem}-previous{path.suffix}")


def write_checkpoint(path: Path, content: bytes) -> None:
    """Write a checkpoint with its checksum; the file that was there becomes the previous one.

    Raises:
        StoreError: it cannot be written.
    """
    if path.is_file():
        path.replace(previous(path))
    write_file(path, content + hashlib.sha256(content).digest())


def read_checkpoint(path: Path) -> tuple[bytes, str]:
    """The latest undamaged checkpoint.

    Damaged files are removed, so that they do not replace a good one later.

    Returns:
        its content, empty if there is none; and a sentence that names the damaged files and what is used instead, empty if
        none is damaged.
    """
    damaged = []
    content = b""
    for file in (path, previous(path)):
        if not file.is_file():
            continue
        stored = file.read_bytes()
        body = stored[:-DIGEST_BYTES]
        if body and stored[-DIGEST_BYTES:] == hashlib.sha256(body).digest():
            content = body
            break
        damaged.append(str(file))
        file.unlink()
    if not damaged:
        return content, ""
    instead = f"the training resumes from {file.name}" if content else "the training starts again"
    return content, f"{' and '.join(damaged)}: damaged (the checksum does not fit); {instead}"

"""Files in a folder of images that the reader does not use: other formats, images too deep inside, links to nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from datasets.api import ImageSplit
from datasets.images import EXTENSIONS, ImageFiles

UNREAD = (
    ".heic",
    ".heif",
    ".avif",
    ".svg",
    ".jxl",
    ".jp2",
    ".psd",
    ".raw",
    ".dng",
    ".cr2",
    ".nef",
    ".arw",
    ".ico",
    ".tga",
)
"""Image formats that are not read."""


def skipped_files(root: Path, splits: Iterable[ImageSplit]) -> list[str]:
    """A sentence for each kind of skipped file, with the number of files and an example.

    Args:
        root: the folder.
        splits: that were read from it. Hidden files are not counted.
    """
    used = {
        bytes(name) for split in splits if isinstance(split.images, ImageFiles) for name in split.images.names.tolist()
    }
    found: dict[str, list[str]] = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.relpath(os.path.join(folder, name), root)  # noqa: PTH118
            if name.startswith(".") or os.fsencode(path) in used:
                continue
            kind = _kind(Path(folder) / name)
            if kind:
                found.setdefault(kind, []).append(path)
    return [
        f"{root}: {len(paths):,} skipped, {kind}; the first is {min(paths)}" for kind, paths in sorted(found.items())
    ]


def _kind(path: Path) -> str:
    """Why an image file is skipped; empty for a file that is no image."""
    ending = path.suffix.lower()
    if ending in UNREAD:
        return f"as the format {ending} is not read"
    if ending not in EXTENSIONS:
        return ""
    return (
        "as they lie in no class folder, or in a folder inside one" if path.is_file() else "as the link leads nowhere"
    )

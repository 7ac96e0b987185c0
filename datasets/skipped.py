"""Image files in a dataset folder that the reader skips: unsupported formats, images outside class folders, broken links."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from datasets.api import ImageSplit
from datasets.images import EXTENSIONS, ImageFiles

UNSUPPORTED = (
    ".heic", ".heif", ".avif", ".svg", ".jxl", ".jp2", ".psd", ".raw", ".dng", ".cr2", ".nef", ".arw", ".ico", ".tga",
)  # fmt: skip


def skipped_files(root: Path, splits: Iterable[ImageSplit]) -> list[str]:
    """One sentence per reason, with the number of skipped files and the first of them. Hidden files are not counted.

    Args:
        root: folder of the dataset.
        splits: the splits that were read from it.
    """
    read_names = {
        bytes(name) for split in splits if isinstance(split.images, ImageFiles) for name in split.images.names.tolist()
    }
    paths_by_reason: dict[str, list[str]] = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.relpath(os.path.join(folder, name), root)  # noqa: PTH118
            if name.startswith(".") or os.fsencode(path) in read_names:
                continue
            reason = _reason(Path(folder) / name)
            if reason:
                paths_by_reason.setdefault(reason, []).append(path)
    return [
        f"{root}: {len(paths):,} skipped, {reason}; the first is {min(paths)}"
        for reason, paths in sorted(paths_by_reason.items())
    ]


def _reason(path: Path) -> str:
    """Why an image file is skipped; empty if the file is not an image."""
    ending = path.suffix.lower()
    if ending in UNSUPPORTED:
        return f"because the format {ending} is not supported"
    if ending not in EXTENSIONS:
        return ""
    if path.is_file():
        return "because they are not directly in a class folder"
    return "because the link is broken"

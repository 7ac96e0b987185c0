"""The user's image files: found by file name, folder or glob, and read in the form that a dataset's reader returns."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from benchmark.errors import UserError
from datasets.api import DatasetCard
from datasets.crops import resize_center_crop
from datasets.images import EXTENSIONS, decode_file


def image_files(names: Sequence[str]) -> list[Path]:
    """The image files that the user names, each once, in the order of the names.

    Args:
        names: files, folders (searched with their subfolders for image files; hidden ones are skipped), or glob patterns.

    Raises:
        UserError: every name that leads to no file.
    """
    files: dict[Path, None] = {}
    problems = []
    for name in names:
        path = Path(name)
        if path.is_file():
            paths = [path]
        elif path.is_dir():
            paths = _files_in(path)
            if not paths:
                problems.append(
                    f"{name}: the folder contains no image file; image files end with {', '.join(EXTENSIONS)}"
                )
        else:
            matches = sorted(glob.glob(name, recursive=True))  # noqa: PTH207 (Path.glob refuses absolute patterns)
            paths = [Path(match) for match in matches if Path(match).is_file()]
            if not paths:
                kind = "no file matches this pattern" if glob.has_magic(name) else "there is no such file or folder"
                problems.append(f"{name}: {kind}")
        files |= dict.fromkeys(paths)
    if problems:
        raise UserError(*problems)
    return list(files)


def _files_in(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.name.lower().endswith(EXTENSIONS)
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def stored_form(image: np.ndarray, card: DatasetCard, size: int) -> np.ndarray:
    """An image in the form of the dataset's stored images.

    Grey datasets get grey images (luminance by PIL). An image of another size is resized on its shorter side and center-cropped
    to the size of the dataset's images, or to the input size of the model if the dataset has no fixed size.

    Args:
        image: uint8 [H, W, 3], or [H, W] or [H, W, 1] for a grey image.
        card: of the dataset that the model was trained on.
        size: side of the model's input in pixels.

    Returns:
        uint8 [S, S, C] with the side and the channels of the dataset.

    Raises:
        ValueError: the array has another type or shape.
    """
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[-1] not in (1, 3) or not image.size or image.dtype != np.uint8:
        raise ValueError(f"an image is uint8 [H, W, 3], [H, W, 1] or [H, W], not {image.dtype} {list(image.shape)}")
    if card.channels == 1 and image.shape[-1] == 3:
        image = np.asarray(Image.fromarray(image).convert("L"))[..., None]
    elif card.channels == 3 and image.shape[-1] == 1:
        image = np.repeat(image, 3, axis=-1)
    side = card.image_size or size
    return image if image.shape[:2] == (side, side) else resize_center_crop(image, side)


def read_image(path: Path, card: DatasetCard, size: int) -> np.ndarray:
    """An image file in the form of the dataset's stored images; see `stored_form`.

    Raises:
        DataError: it cannot be decoded; the message names the file.
    """
    return stored_form(decode_file(path), card, size)

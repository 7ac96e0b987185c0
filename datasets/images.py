"""Image files, decoded on demand to uint8 RGB arrays."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from datasets.errors import DataError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
MAX_PIXELS = 100_000_000  # of an image that is decoded; a small file can describe an image that fills the memory


@dataclass(frozen=True)
class ImageFiles:
    """Image files in one folder tree, decoded on demand; only the paths are in memory.

    Attributes:
        root: the folder.
        names: bytes [N], paths relative to ``root``.
    """

    root: Path
    names: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: np.ndarray) -> ImageFiles:
        return ImageFiles(self.root, self.names[index])

    def path(self, position: int) -> Path:
        return self.root / os.fsdecode(bytes(self.names[position]))

    def decode(self) -> list[np.ndarray]:
        """The images, each uint8 [H, W, 3].

        Raises:
            DataError: a file cannot be decoded; the message names it.
        """
        return [decode_file(self.path(i)) for i in range(len(self))]


@dataclass(frozen=True)
class ImageList:
    """Decoded images of different sizes, each uint8 [H, W, C]; or masks, each uint8 [H, W]."""

    arrays: tuple[np.ndarray, ...]

    def __len__(self) -> int:
        return len(self.arrays)

    def __getitem__(self, index: np.ndarray) -> ImageList:
        return ImageList(tuple(self.arrays[i] for i in np.arange(len(self))[index]))

    def decode(self) -> list[np.ndarray]:
        return list(self.arrays)


def join(
    first: np.ndarray | ImageFiles | ImageList, second: np.ndarray | ImageFiles | ImageList
) -> np.ndarray | ImageFiles:
    """The images of ``first`` followed by those of ``second``.

    Raises:
        DataError: they are of different types, or their files are in different folders.
    """
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return np.concatenate([first, second])
    if isinstance(first, ImageFiles) and isinstance(second, ImageFiles) and first.root == second.root:
        return ImageFiles(first.root, np.concatenate([first.names, second.names]))
    raise DataError("train and val images are stored in different folders or formats and cannot be merged")


def decoded(images: np.ndarray | ImageFiles | ImageList) -> np.ndarray | list[np.ndarray]:
    """Arrays unchanged; other images as a list of uint8 [H, W, C]."""
    return images if isinstance(images, np.ndarray) else images.decode()


def packed(arrays: Sequence[np.ndarray]) -> np.ndarray | ImageList:
    """One array if all arrays have the same shape, and an `ImageList` otherwise."""
    if len({array.shape for array in arrays}) == 1:
        return np.stack(arrays)
    return ImageList(tuple(arrays))


def shrunk(image: np.ndarray, side: int = 256, *, smooth: bool) -> np.ndarray:
    """An image uint8 [H, W, C] or a mask [H, W] of at most ``side`` pixels a side, for display.

    Args:
        image: the image.
        side: of the result.
        smooth: False for masks, whose values must not be mixed.
    """
    scale = side / max(image.shape[:2])
    if scale >= 1:
        return image
    size = tuple(max(1, round(scale * length)) for length in image.shape[1::-1])
    method = Image.Resampling.BOX if smooth else Image.Resampling.NEAREST
    shown = Image.fromarray(image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image)
    return np.asarray(shown.resize(size, method)).reshape(size[1], size[0], *image.shape[2:])


def decode_file(path: Path) -> np.ndarray:
    """An image file as uint8 [H, W, 3].

    Grey, palette and CMYK images are converted to RGB, transparent images are composited on white, and 16-bit values are
    scaled to 8 bits. The EXIF orientation tag is ignored, as in torchvision.

    Raises:
        DataError: the file is missing, damaged or too large, or its pixels are floating-point numbers.
    """
    with _opened(path) as image:
        return np.asarray(_as_colour(image, path))


def decode_indices(path: Path) -> np.ndarray:
    """An image file whose pixels are indices, uint8 [H, W]: the values of a grey image, or the positions in a palette.

    Raises:
        DataError: the file is missing, damaged or too large, or it is neither grey nor a palette image of up to 8 bits.
    """
    with _opened(path) as image:
        return np.asarray(_as_indices(image, path)).astype(np.uint8, copy=False)


def image_shape(path: Path) -> tuple[int, int]:
    """Height and width of an image file in pixels, from its header.

    Raises:
        DataError: the file is missing, too large, or no image.
    """
    with _opened(path) as image:
        return image.height, image.width


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore")  # warnings about metadata, which is not used
            if image.width * image.height > MAX_PIXELS:
                size = f"{image.width:,} x {image.height:,}"
                raise DataError(f"{path} has {size} pixels, more than {MAX_PIXELS:,}; make it smaller or remove it")
            yield image
    except DataError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        reason = str(error).replace(repr(str(path)), "the file").replace(str(path), "the file")
        raise DataError(f"{path} cannot be read as an image ({reason}); replace or remove it") from error


def _as_colour(image: Image.Image, path: Path) -> Image.Image:
    if image.mode == "F":
        raise DataError(f"{path} holds floating-point pixels, whose range is not defined; convert it to 8 or 16 bits")
    if image.mode.startswith("I"):  # 16 bits; PIL's convert would clip them to 8
        return Image.fromarray((np.asarray(image).clip(0, 65535) / 257 + 0.5).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _as_indices(image: Image.Image, path: Path) -> Image.Image:
    if image.mode not in ("1", "L", "P"):
        raise DataError(
            f"{path} holds pixels of the kind {image.mode}; a mask holds class indices, in a grey or palette image of 8 bits"
        )
    return image


def decoded_bytes(images: ImageFiles, sampled: int = 50) -> float:
    """Estimated size of the decoded images in bytes, from the headers of ``sampled`` evenly spaced files."""
    sizes = [3 * math.prod(_size(images.path(i))) for i in _spread(len(images), sampled)]
    return sum(sizes) / max(len(sizes), 1) * len(images)


def _spread(count: int, sampled: int) -> np.ndarray:
    """At most ``sampled`` evenly spaced positions among ``count`` images."""
    return np.unique(np.linspace(0, max(count - 1, 0), min(sampled, count)).astype(int))


def _size(path: Path) -> tuple[int, int]:
    """Width and height in pixels, from the file's header; (0, 0) if it cannot be read, which decoding will report."""
    try:
        with Image.open(path) as image:
            return image.width, image.height
    except (OSError, SyntaxError, Image.DecompressionBombError):
        return 0, 0


def typical_side(images: np.ndarray | ImageFiles | ImageList, sampled: int = 50) -> int:
    """Median of the shorter side in pixels, over at most ``sampled`` evenly spaced images; 0 without images."""
    if isinstance(images, np.ndarray):
        return min(images.shape[1:3])
    if isinstance(images, ImageList):
        sides = [min(images.arrays[i].shape[:2]) for i in _spread(len(images), sampled)]
    else:
        sides = [min(_size(images.path(i))) for i in _spread(len(images), sampled)]
    return int(np.median(sides)) if sides else 0


def image_names(folder: Path) -> list[str]:
    """The sorted names of the image files in a folder, without hidden files and other file types."""
    with os.scandir(folder) as entries:
        return sorted(
            entry.name
            for entry in entries
            if entry.name.lower().endswith(EXTENSIONS) and not entry.name.startswith(".") and entry.is_file()
        )


def encoded(names: Sequence[str]) -> np.ndarray:
    """Relative paths as `ImageFiles.names`, bytes [N]."""
    return np.array([os.fsencode(name) for name in names], dtype=np.bytes_)

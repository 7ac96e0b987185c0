"""Labelled boxes of images, for detection: a ragged list, because images show different numbers of objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from datasets.errors import DataError


@dataclass(frozen=True, eq=False)
class Boxes:
    """The labelled boxes of N images.

    Attributes:
        offsets: int64 [N + 1]; image i shows the boxes from ``offsets[i]`` to ``offsets[i + 1]``.
        corners: left, top, right and bottom in pixels of the stored image, whose left upper corner is (0, 0) and right lower
            corner (width, height); float32 [T, 4].
        labels: class indices, int64 [T].
        ignored: objects that count neither as found nor as missed, such as crowds; bool [T].
        sizes: width and height of each image as the file with its boxes states them, float64 [N, 2]; None if no file does.
    """

    offsets: np.ndarray
    corners: np.ndarray
    labels: np.ndarray
    ignored: np.ndarray
    sizes: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: np.ndarray) -> Boxes:
        """The boxes of the images at these positions, or of those where a bool mask [N] is True."""
        rows = np.arange(len(self))[index]
        lengths = np.diff(self.offsets)[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        chosen = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - self.offsets[rows], lengths)
        sizes = None if self.sizes is None else self.sizes[rows]
        return Boxes(offsets, self.corners[chosen], self.labels[chosen], self.ignored[chosen], sizes)

    def of(self, image: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Corners [M, 4], labels [M] and marks of ignored boxes [M] of one image."""
        rows = slice(self.offsets[image], self.offsets[image + 1])
        return self.corners[rows], self.labels[rows], self.ignored[rows]

    @property
    def counts(self) -> np.ndarray:
        """Number of boxes of each image, int64 [N]."""
        return np.diff(self.offsets)

    @staticmethod
    def of_images(
        images: Sequence[Sequence[tuple[tuple[float, float, float, float], int, bool]]],
        sizes: Sequence[tuple[float, float]] | np.ndarray | None = None,
    ) -> Boxes:
        """From the (corners, label, ignored) of every box of each image, and their stated sizes."""
        boxes = [box for image in images for box in image]
        return Boxes(
            np.concatenate([[0], np.cumsum([len(image) for image in images])]).astype(np.int64),
            np.array([corners for corners, _, _ in boxes], np.float32).reshape(-1, 4),
            np.array([label for _, label, _ in boxes], np.int64),
            np.array([ignored for _, _, ignored in boxes], bool),
            None if sizes is None else np.array(sizes, np.float64).reshape(-1, 2),
        )

    def check(self, image: int, size: tuple[int, int], name: str) -> None:
        """Check the boxes of one image, and its stated size.

        Args:
            image: position.
            size: width and height of the image.
            name: of the image, for messages.

        Raises:
            DataError: the image has another size than is stated, or a box is empty or inverted, or is not within the image.
        """
        if self.sizes is not None and tuple(self.sizes[image]) != size:
            stated = " x ".join(f"{side:g}" for side in self.sizes[image])
            raise DataError(
                f"{name} has {size[0]} x {size[1]} pixels, and the file with its boxes states {stated}; they must be equal"
            )
        for number, corners in enumerate(self.of(image)[0].tolist(), start=1):
            if problem := mistake(corners, size):
                raise DataError(f"{name}: object {number} {problem}")


def mistake(corners: Sequence[float], size: tuple[int, int]) -> str | None:
    """What is wrong with a box in an image of this width and height; None if nothing is."""
    left, top, right, bottom = corners
    shown = "(" + ", ".join(f"{value:g}" for value in corners) + ")"
    if not (left < right and top < bottom):  # also where a number is NaN
        return f"has the box {shown}, which is empty or inverted: left < right and top < bottom are required"
    if left < 0 or top < 0 or right > size[0] or bottom > size[1]:
        return f"has the box {shown}, which is not within the image of {size[0]} x {size[1]} pixels"
    return None


def join_boxes(first: Boxes | None, second: Boxes | None) -> Boxes | None:
    """The boxes of ``first`` followed by those of ``second``, two parts of one set; None if neither has any.

    Raises:
        DataError: only one of them has boxes.
    """
    if first is None and second is None:
        return None
    if first is None or second is None:
        raise DataError("only one of train and val has boxes, so they cannot be merged")
    sizes = None
    if first.sizes is not None and second.sizes is not None:
        sizes = np.concatenate([first.sizes, second.sizes])
    return Boxes(
        np.concatenate([first.offsets, first.offsets[-1] + second.offsets[1:]]),
        np.concatenate([first.corners, second.corners]),
        np.concatenate([first.labels, second.labels]),
        np.concatenate([first.ignored, second.ignored]),
        sizes,
    )

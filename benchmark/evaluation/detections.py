"""The boxes that every exit of a detector finds in every image, and the labelled ones: ragged, in flat arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

FOUND = ("offsets", "boxes", "scores", "labels")
"""Fields of `Detections` that hold what the exits find; in a file their names begin with ``detection_``."""


@dataclass(frozen=True)
class Detections:
    """Boxes are left, top, right and bottom in pixels of the stored image, which may differ from the input of the model.

    Attributes:
        offsets: int64 [K * N + 1]; exit k finds the boxes from ``offsets[k * N + n]`` to ``offsets[k * N + n + 1]`` in image n.
        boxes: float32 [M, 4], of each exit and image in order of falling scores, at most 100.
        scores: float32 [M], in [0, 1].
        labels: class indices, int16 [M].
        truth_offsets: int64 [N + 1]; image n shows the labelled boxes from ``truth_offsets[n]`` to ``truth_offsets[n + 1]``.
        truth_boxes: float32 [T, 4].
        truth_labels: int16 [T].
        truth_ignored: bool [T], boxes that an exit need not find and may find: crowds in COCO, difficult objects in VOC.
    """

    offsets: Tensor
    boxes: Tensor
    scores: Tensor
    labels: Tensor
    truth_offsets: Tensor
    truth_boxes: Tensor
    truth_labels: Tensor
    truth_ignored: Tensor

    def __post_init__(self) -> None:
        if (len(self.offsets) - 1) % max(self.images, 1):
            raise ValueError(f"{len(self.offsets) - 1} ranges of detections are not those of {self.images} images")

    @property
    def images(self) -> int:
        """N."""
        return len(self.truth_offsets) - 1

    @property
    def exits(self) -> int:
        """K."""
        return (len(self.offsets) - 1) // max(self.images, 1)

    def found(self, exit_index: int, image: int) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes, scores and labels that an exit finds in an image."""
        row = exit_index * self.images + image
        rows = slice(int(self.offsets[row]), int(self.offsets[row + 1]))
        return self.boxes[rows], self.scores[rows], self.labels[rows]

    def part(self, samples: slice | Tensor) -> Detections:
        """The boxes of some images: a range, or positions."""
        images = torch.arange(self.images)[samples]
        rows = (self.images * torch.arange(self.exits)[:, None] + images).flatten()
        offsets, found = _selected(self.offsets, rows)
        truth_offsets, labelled = _selected(self.truth_offsets, images)
        return Detections(
            offsets, self.boxes[found], self.scores[found], self.labels[found],
            truth_offsets, self.truth_boxes[labelled], self.truth_labels[labelled], self.truth_ignored[labelled],
        )  # fmt: skip

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All arrays by their names in a file."""
        return {_stored_name(field.name): getattr(self, field.name) for field in fields(self)}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Detections | None:
        """The boxes in a file with these arrays, which may have others; None if it has none."""
        if "detection_offsets" not in tensors:
            return None
        return cls(**{field.name: tensors[_stored_name(field.name)] for field in fields(cls)})

    @classmethod
    def joined(cls, parts: Sequence[Detections]) -> Detections:
        """The boxes of the images of several parts, which have the same exits."""
        of_exits = [_join([part._of_exit(k) for part in parts]) for k in range(parts[0].exits)]
        found = _join(of_exits)
        labelled = _join([(p.truth_offsets, p.truth_boxes, p.truth_labels, p.truth_ignored) for p in parts])
        return cls(*found, *labelled)

    def _of_exit(self, exit_index: int) -> tuple[Tensor, ...]:
        """``offsets`` from 0, boxes, scores and labels of one exit."""
        offsets = self.offsets[exit_index * self.images : (exit_index + 1) * self.images + 1]
        rows = slice(int(offsets[0]), int(offsets[-1]))
        return offsets - offsets[0], self.boxes[rows], self.scores[rows], self.labels[rows]


def _stored_name(field: str) -> str:
    return f"detection_{field}" if field in FOUND else field


def _selected(offsets: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Offsets of some rows of a ragged array, and the positions of their entries in the flat array."""
    lengths = offsets.diff()[rows]
    selected = torch.cat([offsets.new_zeros(1), lengths.cumsum(0)])
    within = torch.arange(int(selected[-1])) - selected[:-1].repeat_interleave(lengths)
    return selected, offsets[rows].repeat_interleave(lengths) + within


def _join(parts: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Ragged arrays one after the other, each its offsets followed by flat arrays."""
    lengths = torch.cat([offsets.diff() for offsets, *_ in parts])
    offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    columns = zip(*(arrays for _, *arrays in parts), strict=True)
    return offsets, *(torch.cat(column) for column in columns)

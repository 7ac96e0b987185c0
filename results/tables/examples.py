"""A few test images of a segmentation run, with their labels and the answers of every exit, for figures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

EXAMPLES = "examples.parquet"
COUNT = 6
"""Images of a run whose examples are kept."""
MAX_SIDE = 1024
IMAGE, LABEL, LEFT = "image", "label", "left"
IGNORED = 255
"""Label of pixels without a class."""
COLUMNS = ("sample_id", "what", "height", "width", "channels", "pixels")


@dataclass(frozen=True)
class Example:
    """One test image.

    Attributes:
        sample_id: of the image.
        image: uint8 [H, W, channels].
        label: class of each pixel, uint8 [h, w]; 255 without a label.
        answers: class of each patch by exit, shallow to deep, uint8 [K, g, g].
        left: where tokens leave, the 0-based exit at which that of each patch left, uint8 [g, g]; the number of exits for those
            that did not leave. None elsewhere.
    """

    sample_id: int
    image: np.ndarray
    label: np.ndarray
    answers: np.ndarray
    left: np.ndarray | None = None


def examples_frame(examples: list[Example]) -> pd.DataFrame:
    """The table of examples: one row per image, label and answer, with the pixels as bytes."""
    rows = []
    for example in examples:
        parts = [(IMAGE, example.image), (LABEL, example.label)]
        parts += [(f"exit {k}", answer) for k, answer in enumerate(example.answers)]
        parts += [] if example.left is None else [(LEFT, example.left)]
        for what, pixels in parts:
            height, width, *channels = pixels.shape
            row = (example.sample_id, what, height, width, *(channels or (1,)), np.ascontiguousarray(pixels).tobytes())
            rows.append(row)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def examples_of(table: pd.DataFrame) -> list[Example]:
    """The examples of a table, in its order.

    Raises:
        ValueError: a row is missing or does not have the pixels that it states.
    """
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise ValueError(f"the table of examples has no column {', '.join(missing)}")
    examples = []
    for sample_id, rows in table.groupby("sample_id", sort=False):
        parts = {str(row.what): pixels_of(row) for row in rows.itertuples()}
        answers = [parts[name] for k in range(len(parts)) if (name := f"exit {k}") in parts]
        if IMAGE not in parts or LABEL not in parts or not answers:
            raise ValueError(f"the example {sample_id} has no image, no label or no answer")
        if len({answer.shape for answer in answers}) > 1:
            raise ValueError(f"the answers of the example {sample_id} differ in size")
        if LEFT in parts and parts[LEFT].shape != answers[0].shape:
            raise ValueError(f"the exits of the tokens of the example {sample_id} have another size than its answers")
        left = parts[LEFT][..., 0] if LEFT in parts else None
        label = parts[LABEL][..., 0]
        examples.append(Example(int(rows["sample_id"].iloc[0]), parts[IMAGE], label, np.stack(answers)[..., 0], left))
    return examples


def pixels_of(row: object) -> np.ndarray:
    """The pixels of a row with their size, uint8 [H, W, channels].

    Raises:
        ValueError: it does not have the pixels that it states, or too many.
    """
    height, width, channels, pixels = (getattr(row, name) for name in COLUMNS[2:])
    if not all(isinstance(side, int | np.integer) and 0 < side <= MAX_SIDE for side in (height, width)):
        raise ValueError(f"an example has {height} x {width} pixels; at most {MAX_SIDE} are read")
    if channels not in (1, 3):
        raise ValueError(f"an example has {channels} channels; 1 and 3 are read")
    if not isinstance(pixels, bytes) or len(pixels) != height * width * channels:
        raise ValueError(f"an example of {height} x {width} pixels in {channels} channels has other pixels")
    return np.frombuffer(pixels, np.uint8).reshape(height, width, channels)

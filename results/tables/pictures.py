"""A few test images of a detection run, for figures; the boxes in them are in the run's tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from results.tables.examples import pixels_of

PICTURES = "pictures.parquet"
COLUMNS = ("sample_id", "scale", "height", "width", "channels", "pixels")


@dataclass(frozen=True)
class Picture:
    """One test image.

    Attributes:
        sample_id: of the image.
        image: uint8 [H, W, channels].
        scale: of this image against the stored one, in whose pixels boxes are.
    """

    sample_id: int
    image: np.ndarray
    scale: float


def pictures_frame(pictures: list[Picture]) -> pd.DataFrame:
    """The table of pictures, one row each, with the pixels as bytes."""
    rows = [(one.sample_id, one.scale, *one.image.shape, np.ascontiguousarray(one.image).tobytes()) for one in pictures]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def pictures_of(table: pd.DataFrame) -> list[Picture]:
    """The pictures of a table, in its order.

    Raises:
        ValueError: a column is missing, or a row does not have the pixels that it states or has no scale in (0, 1].
    """
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise ValueError(f"the table of pictures has no column {', '.join(missing)}")
    pictures = []
    for sample_id, scale, row in zip(
        table["sample_id"].tolist(), table["scale"].tolist(), table.itertuples(), strict=True
    ):
        if not 0 < scale <= 1:
            raise ValueError(f"the picture {sample_id} has a scale of {scale:g}; allowed is more than 0 and at most 1")
        pictures.append(Picture(sample_id, pixels_of(row), scale))
    return pictures

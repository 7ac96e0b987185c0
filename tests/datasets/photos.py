"""A realistic folder of images: few files of many sizes and formats, in classes of different sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = {"cats": 20, "dogs": 14, "a b (c)": 6}
KINDS = (
    "rgb.jpg",
    "grey.jpg",
    "palette.png",
    "rgba.png",
    "cmyk.jpg",
    "grey16.png",
    "grey16.tif",
    "black-white.png",
    "rgb.webp",
)


def write_photo(path: Path, kind: str, rng: np.random.Generator) -> None:
    width, height = (int(side) for side in rng.integers(9, 70, 2))
    rgb = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
    grey16 = Image.fromarray(rng.integers(0, 65536, (height, width), dtype=np.uint16))
    image = {
        "rgb": rgb, "grey": rgb.convert("L"), "palette": rgb.convert("P"), "rgba": rgb.convert("RGBA"),
        "cmyk": rgb.convert("CMYK"), "grey16": grey16, "black-white": rgb.convert("1"),
    }[kind.split(".")[0]]  # fmt: skip
    image.save(path)


def write_photos(root: Path, classes: dict[str, int] = CLASSES, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    for name, count in classes.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            kind = KINDS[i % len(KINDS)]
            write_photo(root / name / f"{i:02d} {kind}", kind, rng)
    (root / "notes.txt").write_text("not an image")
    (root / ".hidden").mkdir()

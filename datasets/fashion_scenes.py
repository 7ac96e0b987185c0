"""The cards of fashion-scenes: garments on a textured ground, with masks or boxes. `datasets.compose_scenes` makes them."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from datasets.fashion_mnist import BUNDLE_SHA256, CLASSES, MINI
from datasets.splits import SPLIT_SEED

SIDE = 64
SIZES = {"train": 2_000, "val": 500, "test": 1_000}

FASHION_SCENES = replace(
    MINI,
    name="fashion-scenes",
    target="datasets.compose_scenes:read",
    summary="2,000 / 500 / 1,000 grey 64x64 scenes of 2 to 5 garments with masks, 10 classes and the ground: real photos, "
    "synthetic layout; ships with the suite",
    task="segmentation",
    classes=("ground", *CLASSES),
    image_size=SIDE,
    recipe_size=SIDE,
    mean=(0.5233,),
    std=(0.2058,),
    sizes=SIZES,
    val_rule=f"scenes of the photos in val of {MINI.name}, seed {SPLIT_SEED}",
    fingerprint=hashlib.sha256(
        f"fashion-scenes {BUNDLE_SHA256} {SPLIT_SEED} {sorted(SIZES.items())}".encode()
    ).hexdigest(),
    citation=f"{MINI.citation}; real photos, synthetic layout: the scenes are this suite's own",
    has_official_splits=False,
    code_version=3,
)

FASHION_SCENES_DETECTION = replace(
    FASHION_SCENES,
    name="fashion-scenes-detection",
    target="datasets.compose_scenes:read_with_boxes",
    summary="the scenes of fashion-scenes with the boxes of the garments' visible parts, 10 classes: real photos, synthetic "
    "layout; ships with the suite",
    task="detection",
    classes=CLASSES,
    fingerprint=hashlib.sha256(f"boxes {FASHION_SCENES.fingerprint}".encode()).hexdigest(),
    code_version=1,
)

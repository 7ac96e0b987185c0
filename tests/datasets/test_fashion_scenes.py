"""Scenes of garments: what is in them, and that masks and boxes fit exactly."""

from __future__ import annotations

import numpy as np

from datasets import DATASETS
from datasets.api import ImageSplit
from datasets.compose_scenes import THRESHOLD, boxes, compose, cut_out, ground, silhouettes, textures
from datasets.fashion_scenes import SIDE

CARD = DATASETS["fashion-scenes"]
SCENES = CARD.read(None)
GARMENTS = DATASETS["fashion-mnist-mini"].read(None)


def masks(split: ImageSplit) -> np.ndarray:
    assert isinstance(split.masks, np.ndarray)
    return split.masks


def test_scenes_have_the_documented_form() -> None:
    for split in SCENES.values():
        assert isinstance(split.images, np.ndarray)
        assert split.images.shape[1:] == (SIDE, SIDE, 1)
        garments = [len(np.setdiff1d(mask, 0)) for mask in masks(split)]
        assert min(garments) >= 1
        assert max(garments) == 5
        shares = np.bincount(masks(split).ravel(), minlength=11) / masks(split).size
        assert 0.7 < shares[0] < 0.9  # the ground
        assert shares[1:].min() > 0.008
    train = SCENES["train"].images / np.float32(255)
    assert abs(train.mean() - CARD.mean[0]) < 1e-3
    assert abs(train.std() - CARD.std[0]) < 1e-3
    assert "real photos, synthetic layout" in CARD.summary


def test_reading_again_gives_the_same_bits() -> None:
    again = CARD.read(None)
    for name, split in SCENES.items():
        assert np.array_equal(split.images, again[name].images)
        assert np.array_equal(masks(split), masks(again[name]))


def test_the_ground_is_everywhere_but_where_garments_are() -> None:
    photos = np.zeros((5, 28, 28), np.uint8)
    photos[:, 4:24, 4:24] = 255
    grounds = textures(np.random.default_rng(0))
    for seed in range(5):
        image, owners = compose(cut_out(photos), grounds, np.random.default_rng(seed))
        same_ground = ground(grounds, np.random.default_rng(seed))
        assert np.array_equal(image[owners < 0], same_ground[owners < 0])
        assert image[owners >= 0].min() > 120
        assert 2 <= len(np.unique(owners)) <= 6


def test_a_silhouette_is_the_bright_part_with_its_holes_filled() -> None:
    photos = GARMENTS["val"].images[:200, ..., 0]
    shapes = silhouettes(photos)
    assert shapes[photos > THRESHOLD].all()
    ring = np.zeros((2, 28, 28), np.uint8)
    ring[0, 5:20, 5:20], ring[0, 8:12, 8:12] = 200, 0
    filled = silhouettes(ring)
    assert filled[0].sum() == 15 * 15
    assert not filled[1].any()


def test_boxes_are_those_of_the_visible_parts() -> None:
    owners = np.full((8, 9), -1)
    owners[2:5, 3:7] = 4
    owners[3:6, 6:9] = 2  # covers a part of 4
    owners[2, 6] = 2
    assert boxes(owners) == {2: (6, 2, 9, 6), 4: (3, 2, 6, 5)}


def test_splits_share_no_photo() -> None:
    """Each split is made of the photos of that split, which share none."""
    photos = [GARMENTS[name].images.reshape(-1, 784) for name in ("train", "val", "test")]
    seen = [{photo.tobytes() for photo in of_split} for of_split in photos]
    assert len(set.union(*seen)) == sum(map(len, seen))
    ids = np.concatenate([split.sample_id for split in SCENES.values()])
    assert len(np.unique(ids)) == len(ids)

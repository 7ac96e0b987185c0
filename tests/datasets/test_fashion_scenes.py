"""Scenes of garments: what is in them, and that masks and boxes fit exactly."""

from __future__ import annotations

import numpy as np
import pytest

from datasets import DATASETS, compose_scenes
from datasets.api import ImageSplit
from datasets.compose_scenes import THRESHOLD, boxes, compose, cut_out, ground, silhouettes, textures
from datasets.fashion_scenes import SIDE
from datasets.splits import SPLIT_SEED

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


def test_a_scene_has_2_to_5_garments_with_sides_of_20_to_40_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted where they are resized: of a scene alone, covered garments cannot be seen."""
    cut_outs, grounds = cut_out(GARMENTS["val"].images[:50, ..., 0]), textures(np.random.default_rng(0))
    resized, sides = compose_scenes._resized, []

    def counted(image: np.ndarray, side: int) -> np.ndarray:
        sides.append(side)
        return resized(image, side)

    monkeypatch.setattr(compose_scenes, "_resized", counted)
    counts = []
    for seed in range(100):
        before = len(sides)
        _, owners = compose(cut_outs, grounds, np.random.default_rng(seed))
        counts.append(len(sides) - before)
        assert len(np.setdiff1d(owners, -1)) <= counts[-1]  # no garment twice
    assert set(counts) == {2, 3, 4, 5}
    assert set(sides) == set(range(20, 41))


def test_every_pixel_shows_the_garment_that_owns_it_also_where_garments_overlap() -> None:
    """Each garment has a brightness of its own."""
    brightness = np.arange(151, 251, 20)
    cut_outs = np.zeros((5, 28, 28, 3), np.uint8)
    cut_outs[..., 0] = brightness[:, None, None]
    cut_outs[:, 4:24, 2:26, 1] = 255
    grounds = textures(np.random.default_rng(0))
    overlaps = 0
    for seed in range(20):
        image, owners = compose(cut_outs, grounds, np.random.default_rng(seed))
        shown = owners >= 0
        assert np.array_equal(image[shown], brightness[owners[shown]])
        assert np.array_equal(image[~shown], ground(grounds, np.random.default_rng(seed))[~shown])
        boxed = [np.zeros(owners.shape, int) for _ in boxes(owners)]
        for box, (left, top, right, bottom) in zip(boxed, boxes(owners).values(), strict=True):
            box[top:bottom, left:right] = 1
        overlaps += (sum(boxed) > 1).any()
    assert overlaps > 5


def test_masks_and_boxes_have_the_classes_of_the_photos_in_the_scene() -> None:
    """The garments of a scene are composed again from the photos, and each must have the class that its photo has."""
    detection = DATASETS["fashion-scenes-detection"].read(None)
    for name in ("train", "val", "test"):
        photos, labels = GARMENTS[name].images[..., 0], GARMENTS[name].labels
        assert isinstance(photos, np.ndarray)
        cut_outs, first = cut_out(photos), int(SCENES[name].sample_id[0])
        grounds = textures(np.random.default_rng([SPLIT_SEED, first]))
        for i in range(10):
            image, owners = compose(cut_outs, grounds, np.random.default_rng([SPLIT_SEED, first + i, 1]))
            assert np.array_equal(image, SCENES[name].images[i, ..., 0])  # type: ignore[index]
            assert np.array_equal(masks(SCENES[name])[i], np.where(owners < 0, 0, labels[owners] + 1))
            objects = detection[name].boxes[np.array([i])]  # type: ignore[index]
            assert objects.labels.tolist() == labels[list(boxes(owners))].tolist()


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

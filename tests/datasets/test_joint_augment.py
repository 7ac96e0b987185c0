"""An image and its mask are changed together: every labelled pixel stays where its class is."""

from __future__ import annotations

import numpy as np
import pytest

from datasets.api import IGNORED
from datasets.augment import AUGMENTATIONS, sample_draws
from datasets.crops import resize_center_crop
from datasets.joint_augment import JOINT_AUGMENTATIONS, nearest, window_of

SIZE = 24


def blocks(height: int, width: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """An image whose grey value is 20 times the class of the pixel plus 40, and its mask; each quarter has a class."""
    classes = np.random.default_rng(seed).permutation(10)[:4].reshape(2, 2).astype(np.uint8)
    mask = classes.repeat(height // 2, 0).repeat(width // 2, 1)
    return (mask * 20 + 40)[..., None].repeat(3, 2), mask


@pytest.mark.parametrize("name", JOINT_AUGMENTATIONS)
@pytest.mark.parametrize("sizes", [[(48, 48)] * 6, [(48, 80), (96, 40), (64, 64), (48, 96), (80, 40), (56, 48)]])
def test_pixels_keep_their_class(name: str, sizes: list[tuple[int, int]]) -> None:
    pairs = [blocks(*size, seed) for seed, size in enumerate(sizes)]
    images, masks = [list(part) for part in zip(*pairs, strict=True)]
    stored = (np.stack(images), np.stack(masks)) if len(set(sizes)) == 1 else (images, masks)
    augmentation = JOINT_AUGMENTATIONS[name]
    changed = set()
    for epoch in range(10):
        draws = sample_draws(epoch, np.arange(6), augmentation.draws)
        new_images, new_masks = augmentation.apply(*stored, draws, SIZE)
        assert new_masks.shape == (6, SIZE, SIZE)
        assert new_masks.dtype == new_images.dtype == np.uint8
        for image, mask in zip(new_images, new_masks, strict=True):
            shown = nearest(image[..., 0], SIZE)  # arrays of one size stay as they are
            counts = mask != IGNORED
            assert (shown[~counts] == 0).all()  # what comes in does not count
            fits = np.abs(shown[counts].astype(int) - (mask[counts] * 20 + 40)) <= 10
            assert fits.mean() > 0.6  # the others are blends at the edges of the quarters
            changed.add(mask.tobytes())
    assert (len(changed) > 6) == (augmentation.draws > 0)


def test_every_augmentation_of_images_is_one_of_images_and_masks_too() -> None:
    assert set(AUGMENTATIONS) <= set(JOINT_AUGMENTATIONS)


def test_scoring_squashes_and_loses_no_column() -> None:
    image, mask = blocks(48, 96, 0)
    mask[:, :8], mask[:, -8:] = 11, 12
    _, squashed = JOINT_AUGMENTATIONS["none"].apply([image], [mask], np.empty((1, 0)), SIZE)
    assert (squashed[0, :, :2] == 11).all()
    assert (squashed[0, :, -2:] == 12).all()
    cropped = resize_center_crop(mask[..., None], 48)[..., 0]  # what classification does with images
    assert not np.isin(cropped, [11, 12]).any()


def test_nearest_takes_the_pixel_at_the_middle_and_invents_no_class() -> None:
    assert nearest(np.array([[0, 9], [3, 7]], np.uint8), 4).tolist() == [[0, 0, 9, 9]] * 2 + [[3, 3, 7, 7]] * 2
    assert nearest(np.arange(6, dtype=np.uint8)[None], 2).tolist() == [[1, 4], [1, 4]]
    mask = np.random.default_rng(0).choice([0, 20, IGNORED], (37, 53)).astype(np.uint8)
    assert set(np.unique(nearest(mask, 16))) <= {0, 20, IGNORED}


def test_a_window_of_a_small_square_is_filled() -> None:
    square = np.full((2, 2), 7, np.uint8)
    assert window_of(square, 4, 0.99, 0.0, IGNORED).tolist() == [[255] * 4] * 2 + [[7, 7, 255, 255]] * 2
    assert window_of(np.arange(16).reshape(4, 4), 2, 0.5, 0.99, 0).tolist() == [[6, 7], [10, 11]]

"""Random resized crops equal torchvision's on the same region, stay within the limits, and depend on the sample alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import functional as TF

from datasets import crops
from datasets.augment import AUGMENTATIONS, sample_draws
from datasets.crops import CROP_FLIP_DRAWS, crop_flip, resize_center_crop


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


@pytest.mark.parametrize(("height", "width"), [(40, 40), (60, 45), (45, 61), (20, 90), (224, 500), (13, 12)])
def test_evaluation_equals_torchvisions_resize_and_center_crop(height: int, width: int) -> None:
    image = noise(height, width)
    expected = TF.center_crop(TF.resize(Image.fromarray(image), 32, TF.InterpolationMode.BILINEAR), [32, 32])
    assert np.array_equal(resize_center_crop(image, 32), np.asarray(expected))


@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_a_random_crop_equals_torchvisions_of_the_same_part(height: int, width: int, seed: int) -> None:
    draws = np.random.default_rng(seed).random(CROP_FLIP_DRAWS)
    top, left, tall, wide = crops.crop_box(height, width, draws)
    assert 0 <= top <= height - tall
    assert 0 <= left <= width - wide
    image = noise(height, width, seed=seed)
    expected = TF.resized_crop(Image.fromarray(image), top, left, tall, wide, [24, 24], TF.InterpolationMode.BILINEAR)
    if draws[-1] < 0.5:
        expected = TF.hflip(expected)
    assert np.array_equal(crop_flip(image, draws, 24), np.asarray(expected))


def test_parts_follow_the_recipe() -> None:
    """8 to 100 % of the area, uniformly; log-uniform ratios of 3:4 to 4:3; at all positions; half of them flipped."""
    height, width = 400, 400
    draws = np.random.default_rng(1).random((4000, CROP_FLIP_DRAWS))
    parts = np.array([crops.crop_box(height, width, numbers) for numbers in draws])
    area = parts[:, 2] * parts[:, 3] / (height * width)
    ratio = parts[:, 3] / parts[:, 2]
    assert area.min() > 0.075
    assert area.max() <= 1
    # Torchvision's, drawn 4,000 times from the same image: the means differ by less than five standard errors.
    from torchvision.transforms import RandomResizedCrop

    torch.manual_seed(0)
    torchvisions = np.array(
        [RandomResizedCrop.get_params(torch.empty(3, height, width), [0.08, 1], [3 / 4, 4 / 3]) for _ in range(4000)]
    )
    for ours, other in (
        (area, torchvisions[:, 2] * torchvisions[:, 3] / (height * width)),
        (np.log(ratio), np.log(torchvisions[:, 3] / torchvisions[:, 2])),
    ):
        assert abs(ours.mean() - other.mean()) < 5 * np.sqrt((ours.var() + other.var()) / 4000)
        assert abs(ours.std() - other.std()) < 0.03 * other.std() + 0.005
    assert np.abs(np.log(ratio)).max() < np.log(4 / 3) + 0.02
    assert abs((draws[:, -1] < 0.5).mean() - 0.5) < 0.05


def test_an_image_with_an_extreme_aspect_ratio_is_cropped_in_the_middle() -> None:
    draws = np.full(CROP_FLIP_DRAWS, 0.999)
    top, left, tall, wide = crops.crop_box(10, 400, draws)
    assert (top, tall, wide) == (0, 10, 13)
    assert left == (400 - 13) // 2


@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_of_any_sizes_becomes_one_array(channels: int) -> None:
    images = [noise(20, 30, channels), noise(41, 17, channels), noise(8, 8, channels)]
    ids = np.array([5, 6, 7])
    for name, augmentation in AUGMENTATIONS.items():
        draws = sample_draws(3, ids, augmentation.draws)
        batch = augmentation.apply(images, draws, 16)
        assert batch.shape == (3, 16, 16, channels), name
        alone = augmentation.apply(images[1:2], sample_draws(3, ids[1:2], augmentation.draws), 16)
        assert np.array_equal(alone[0], batch[1]), name


def test_square_arrays_stay_as_they_are_without_a_crop() -> None:
    images = np.stack([noise(20, 20), noise(20, 20, seed=1)])
    assert AUGMENTATIONS["none"].apply(images, np.empty((2, 0)), 16) is images

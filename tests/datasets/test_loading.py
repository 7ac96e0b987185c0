"""A loaded sample depends on seed, epoch and sample id, and on nothing else."""

from __future__ import annotations

import multiprocessing
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from datasets import DATASETS
from datasets.api import DataError, ImageSplit
from datasets.augment import flip_shift, sample_draws
from datasets.images import ImageFiles, encoded
from datasets.loading import Batch, Workers, scoring_batches, training_batches
from datasets.splits import stratified_head, stratified_holdout
from datasets.transforms import evaluation_summary, to_input, training_summary

CARD = DATASETS["fashion-mnist-mini"]
COLOUR = DATASETS["cifar-100"]
TRAIN = stratified_head(CARD.read(None)["train"], 50)


def epoch(batch_size: int, skip: int = 0, stream: int = 7) -> dict[int, torch.Tensor]:
    batches = training_batches(
        TRAIN, CARD, size=28, channels=1, augment="flip-shift", batch_size=batch_size, order_seed=3, augment_stream=stream,
        skip=skip,
    )  # fmt: skip
    return {int(i): image for batch in batches for i, image in zip(batch.sample_id, batch.images, strict=True)}


def test_batches_and_resumes_do_not_change_a_sample() -> None:
    whole, finer, rest = epoch(20), epoch(7), epoch(20, skip=1)
    assert whole.keys() == finer.keys()
    assert len(rest) == 30
    assert all(torch.equal(whole[i], finer[i]) for i in whole)
    assert all(torch.equal(whole[i], rest[i]) for i in rest)
    other = epoch(20, stream=8)
    assert any(not torch.equal(whole[i], other[i]) for i in whole)


def test_a_loader_does_not_change_the_global_generator() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    epoch(20)
    assert torch.equal(torch.get_rng_state(), before)


@given(st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_flip_shift_moves_by_at_most_one_pixel(seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (1, 6, 6, 1), dtype=np.uint8)
    draws = rng.random((1, 3))
    moved = flip_shift(image, draws)[0, :, :, 0]
    padded = np.pad(image[0, :, :, 0], 1)
    candidates = [padded[r : r + 6, c : c + 6] for r in range(3) for c in range(3)]
    expected = [candidate[:, ::-1] for candidate in candidates] if draws[0, 0] < 0.5 else candidates
    assert any(np.array_equal(moved, candidate) for candidate in expected)


def test_draws_are_uniform_and_differ_between_samples() -> None:
    draws = sample_draws(11, np.arange(2000), 3)
    assert abs(draws.mean() - 0.5) < 0.02
    assert len(np.unique(draws)) == draws.size
    assert np.array_equal(sample_draws(11, np.array([17]), 3)[0], draws[17])


def test_to_input_normalises_resizes_and_repeats_grey() -> None:
    images = np.full((2, 28, 28, 1), 255, np.uint8)
    inputs = to_input(images, size=56, channels=3, mean=(0.5,), std=(0.25,))
    assert inputs.shape == (2, 3, 56, 56)
    torch.testing.assert_close(inputs, torch.full_like(inputs, 2.0))
    grey = to_input(np.full((1, 4, 4, 3), 255, np.uint8), size=4, channels=1, mean=(0, 0, 0), std=(1, 1, 1))
    torch.testing.assert_close(grey, torch.ones(1, 1, 4, 4))


def test_to_input_normalises_the_channels_that_mean_and_std_describe() -> None:
    """The weights of a colour model have three means; a grey image is repeated first."""
    mean, std = (0.5, 0.25, 0.0), (0.5, 0.25, 1.0)
    repeated = to_input(np.full((1, 4, 4, 1), 255, np.uint8), size=4, channels=3, mean=mean, std=std)
    torch.testing.assert_close(repeated[0, :, 0, 0], torch.tensor([1.0, 3.0, 1.0]))
    reduced = to_input(np.full((1, 4, 4, 3), 255, np.uint8), size=4, channels=1, mean=(0.5,), std=(0.5,))
    torch.testing.assert_close(reduced, torch.ones(1, 1, 4, 4))


@given(st.integers(1, 20), st.integers(0, 100))
@settings(max_examples=25, deadline=None)
def test_holdout_takes_the_same_share_of_every_class(per_class: int, seed: int) -> None:
    labels = np.repeat(np.arange(4), 25)
    rest, held_out = stratified_holdout(labels, per_class, seed)
    assert sorted([*rest, *held_out]) == list(range(100))
    assert np.bincount(labels[held_out]).tolist() == [per_class] * 4


@pytest.mark.parametrize("count", [10, 15, 500])
def test_a_smaller_split_stays_balanced(count: int) -> None:
    split = stratified_head(CARD.read(None)["val"], count)
    counts = np.bincount(split.labels, minlength=10)
    assert len(split) == count
    assert counts.max() - counts.min() <= 1


def files(folder: Path, count: int = 23) -> ImageSplit:
    """Image files of many sizes, each with a different colour."""
    rng = np.random.default_rng(0)
    for i in range(count):
        height, width = rng.integers(20, 60, 2)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    names = encoded([f"{i}.png" for i in range(count)])
    return ImageSplit(ImageFiles(folder, names), np.arange(count) % 10, np.arange(count))


def colour_epoch(split: ImageSplit, workers: int, skip: int = 0) -> list[Batch]:
    batches = training_batches(
        split, COLOUR, size=24, channels=3, augment="crop-flip", batch_size=5, order_seed=3, augment_stream=9, skip=skip,
        workers=Workers(workers),
    )  # fmt: skip
    return list(batches)


def test_worker_processes_change_no_bit(tmp_path: Path) -> None:
    split = files(tmp_path)
    alone, from_workers = colour_epoch(split, 0), colour_epoch(split, 2)
    assert len(alone) == len(from_workers) == 5
    for one, other in zip(alone, from_workers, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)
        assert torch.equal(one.sample_id, other.sample_id)
    rest = colour_epoch(split, 2, skip=3)
    assert torch.equal(rest[0].images, alone[3].images)


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")
def test_worker_processes_import_nothing_in_a_process_of_the_local_pool(tmp_path: Path) -> None:
    inherited = multiprocessing.get_start_method()
    multiprocessing.set_start_method("forkserver", force=True)
    try:
        batches = training_batches(
            files(tmp_path), COLOUR, size=24, channels=3, augment="none", batch_size=5, order_seed=0, augment_stream=0,
            workers=Workers(1),
        )  # fmt: skip
        assert batches.loader.multiprocessing_context.get_start_method() == "fork"
    finally:
        multiprocessing.set_start_method(inherited, force=True)


def test_images_kept_in_memory_are_the_same_bits(tmp_path: Path) -> None:
    split = files(tmp_path)
    in_memory = split.in_memory()
    assert not isinstance(in_memory.images, ImageFiles)
    for one, other in zip(colour_epoch(split, 0), colour_epoch(in_memory, 0), strict=True):
        assert torch.equal(one.images, other.images)
    scored = [list(scoring_batches(s, COLOUR, size=24, channels=3)) for s in (split, in_memory)]
    assert torch.equal(scored[0][0].images, scored[1][0].images)
    assert scored[0][0].images.shape == (23, 3, 24, 24)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_image_is_named_without_a_traceback_also_from_a_worker(tmp_path: Path, workers: int) -> None:
    split = files(tmp_path)
    (tmp_path / "11.png").write_bytes((tmp_path / "11.png").read_bytes()[:200])
    with pytest.raises(DataError) as error:
        colour_epoch(split, workers)
    assert str(error.value).startswith(f"{tmp_path / '11.png'} ")
    assert "Traceback" not in str(error.value)


def test_large_images_are_scored_in_smaller_batches() -> None:
    sizes = [len(next(iter(scoring_batches(TRAIN, CARD, size=size, channels=1))).labels) for size in (28, 400)]
    assert sizes == [50, 12]


def test_the_description_of_the_transform_names_its_parameters() -> None:
    text = training_summary(COLOUR, 224, 3, "crop-flip")
    for part in ("8-100 %", "3/4-4/3", "bilinear", "flip (1/2)", "to 224", "0.485 0.456 0.406", "0.229 0.224 0.225"):
        assert part in text
    assert "shorter side to 224" in evaluation_summary(DATASETS["food-101"], 224, 3)
    assert "luminance" in evaluation_summary(COLOUR, 28, 1)


def test_a_negative_label_is_an_error() -> None:
    with pytest.raises(DataError, match="-1"):
        ImageSplit(np.zeros((2, 4, 4, 1), np.uint8), np.array([0, -1]), np.arange(2))

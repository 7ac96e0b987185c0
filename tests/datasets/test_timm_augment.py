"""timm's stronger augmentations: equal bits for any batch, on grey and on colour images, with matching labels."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.data import create_transform
from timm.data.auto_augment import RandAugment

from datasets import DATASETS
from datasets.api import IMAGENET_MEAN, ImageSplit
from datasets.loading import Batch, Workers, training_batches
from datasets.splits import stratified_head
from datasets.timm_augment import StrongAugmentation, _rand_augment, erase, mix, rand_augment, rand_augment_mistake
from datasets.transforms import training_summary
from tests.datasets.test_loading import files

ALL = StrongAugmentation("rand-m9-mstd0.5-inc1", erasing=0.5, mixup=0.8, cutmix=1.0)
GREY = DATASETS["fashion-mnist-mini"]


def epoch(
    split: ImageSplit, *, skip: int = 0, workers: int = 0, stream: int = 9, strong: StrongAugmentation = ALL
) -> list[Batch]:
    """The batches of one epoch in a given order, seven images each, as input of a ViT."""
    grey = isinstance(split.images, np.ndarray)
    batches = training_batches(
        split, GREY if grey else DATASETS["food-101"], size=28 if grey else 224, channels=1 if grey else 3,
        augment="flip-shift" if grey else "crop-flip", batch_size=7, order_seed=3, augment_stream=stream, strong=strong,
        skip=skip, workers=Workers(workers),
    )  # fmt: skip
    return list(batches)


@pytest.fixture(scope="module", params=["grey 28", "colour 224"])
def split(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ImageSplit:
    """23 images, as an array or as files of many sizes."""
    if request.param == "grey 28":
        return stratified_head(GREY.read(None)["train"], 23)
    return files(tmp_path_factory.mktemp("files"))


def same(one: list[Batch], other: list[Batch]) -> bool:
    return all(
        torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels) for a, b in zip(one, other, strict=True)
    )


def test_workers_and_resumes_change_no_bit(split: ImageSplit) -> None:
    alone = epoch(split)
    assert same(epoch(split, workers=2), alone)
    assert same(epoch(split, skip=2), alone[2:])
    assert not same(epoch(split, stream=8), alone)
    assert not same(epoch(split, strong=StrongAugmentation()), alone)
    assert [batch.labels.shape[0] for batch in alone] == [7, 7, 7, 2]


def test_decoded_images_give_the_same_bits_as_files(tmp_path: Path) -> None:
    split = files(tmp_path)
    in_memory = split.in_memory()
    assert same(epoch(in_memory), epoch(split))


def test_an_image_has_the_same_augmentation_in_any_batch() -> None:
    strong = StrongAugmentation("rand-m9-inc1", erasing=1.0)
    split = stratified_head(GREY.read(None)["train"], 23)
    whole = {int(i): image for b in epoch(split, strong=strong) for i, image in zip(b.sample_id, b.images, strict=True)}
    (one,) = epoch(split.select(np.array([11])), strong=strong)
    assert torch.equal(one.images[0], whole[int(split.sample_id[11])])


def test_the_global_generators_are_restored(split: ImageSplit) -> None:
    random.seed(1)
    np.random.seed(2)
    torch.manual_seed(3)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # type: ignore[union-attr]
    epoch(split)
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tolist() == before[1]  # type: ignore[union-attr]
    assert torch.equal(torch.get_rng_state(), before[2])


def test_rand_augment_has_the_parameters_of_timms_own_pipeline() -> None:
    config = "rand-m9-mstd0.5-inc1"
    pipeline = create_transform(
        224, is_training=True, auto_augment=config, interpolation="bilinear", mean=IMAGENET_MEAN
    )
    (timms,) = [step for step in pipeline.transforms if isinstance(step, RandAugment)]
    ours = _rand_augment(config, IMAGENET_MEAN, 224)
    assert repr(ours) == repr(timms)
    assert [op.hparams for op in ours.ops] == [op.hparams for op in timms.ops]  # type: ignore[attr-defined]


@pytest.mark.parametrize("channels", [1, 3])
def test_every_operation_works_on_grey_and_on_colour_at_every_level(channels: int) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (200, 12, 12, channels), dtype=np.uint8)
    mean = (0.5,) * channels
    for config in (
        "rand-m9-n3-p1-mstd0.5-inc1",
        "rand-m10-p1-t3a",
        "rand-m10-n3-p1-inc1",
        "rand-m0-n3-p1",
        "rand-m4-p1-tweights-inc0",
        "rand-m9-mmax12-p1-t3aw",
    ):
        varied = rand_augment(images, rng.random(200), config, mean)
        assert varied.shape == images.shape
        assert varied.dtype == np.uint8
        assert (varied != images).any(axis=(1, 2, 3)).mean() > 0.5


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 9), st.sampled_from([(0.8, 0.0), (0.0, 1.0), (0.8, 1.0)]))
@settings(max_examples=60, deadline=None)
def test_labels_are_mixed_by_the_share_of_pixels(draw: float, batch: int, alphas: tuple[float, float]) -> None:
    """Of images filled with their class number, the mean pixel is the mean class: for Mixup, and for CutMix by area."""
    labels = torch.arange(batch) * 3 % 10
    images = labels.float().view(-1, 1, 1, 1).repeat(1, 2, 8, 8)
    mixed, shares = mix(images, labels, draw, StrongAugmentation(mixup=alphas[0], cutmix=alphas[1]), 10)
    assert shares.shape == (batch, 10)
    torch.testing.assert_close(shares.sum(1), torch.ones(batch))
    torch.testing.assert_close(mixed.mean((1, 2, 3)), shares @ torch.arange(10.0), rtol=1e-4, atol=1e-4)
    if batch % 2:
        assert shares[-1, labels[-1]] == 1


def test_with_both_alphas_half_of_the_batches_use_cutmix() -> None:
    images = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).repeat(1, 1, 16, 16)
    batches = [
        mix(images.clone(), torch.tensor([0, 1]), draw, ALL, 2)[0] for draw in np.random.default_rng(0).random(300)
    ]
    pasted = [bool(((mixed == 0) | (mixed == 1)).all()) for mixed in batches]
    assert 0.4 < np.mean(pasted) < 0.6


def test_erasing_changes_the_configured_share_of_images() -> None:
    draws = np.random.default_rng(0).random(1000)
    changed = erase(torch.zeros(1000, 1, 20, 20), draws, 0.25).ne(0).float().mean((1, 2, 3))
    assert 0.2 < (changed > 0).float().mean() < 0.3
    assert changed[changed > 0].min() > 0.01
    assert changed.max() < 0.37


@pytest.mark.parametrize("config", ["rand-m9-mstd0.5-inc1", "rand", "rand-m12-n3-p0.7-mmax20", "rand-m10-t3aw-inc0"])
def test_valid_configurations_are_valid_for_timm(config: str) -> None:
    assert rand_augment_mistake(config) is None
    _rand_augment(config, (0.5,), 28)


@pytest.mark.parametrize(("config", "named"), [
    ("rand-x9", "'x9' in 'rand-x9'"), ("rand-m", "'m' in 'rand-m'"), ("rand-m9-m3", "'m' in 'rand-m9-m3'"),
    ("rand-p.5", "'p.5'"), ("augmix-m3", "'augmix-m3'"), ("m9", "'m9'"), ("", "''"), ("rand-", "'' in 'rand-'"),
])  # fmt: skip
def test_options_that_timm_ignores_are_errors(config: str, named: str) -> None:
    mistake = rand_augment_mistake(config)
    assert mistake is not None
    assert mistake.startswith(f"{named}")
    assert "rand-m9-mstd0.5-inc1" in mistake


def test_the_transform_is_recorded_in_full() -> None:
    text = training_summary(DATASETS["cifar-100"], 224, 3, "crop-flip", ALL)
    parts = ("random resized crop", "RandAugment rand-m9-mstd0.5-inc1", "less mean", "erasing (0.5 of the images",
             "Mixup (alpha 0.8) or CutMix (alpha 1)")  # fmt: skip
    assert [text.index(part) for part in parts] == sorted(text.index(part) for part in parts)

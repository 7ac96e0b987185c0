"""Masks follow their images through splits, batches and hashes; each that does not fit is an error that names it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datasets import DATASETS
from datasets.api import IGNORED, DataError, ImageSplit
from datasets.corrupt import corrupted
from datasets.images import ImageFiles, ImageList, encoded
from datasets.loading import Batch, Workers, scoring_batches, training_batches
from datasets.masks import MaskFiles, value_table
from datasets.shares import WHOLE, Share
from datasets.shift import Corruption
from datasets.splits import content, hold_out, identity, merge, stratified_head
from datasets.synthetic import synthetic_card
from datasets.transforms import evaluation_summary, training_summary

SCENES = DATASETS["fashion-scenes"]
SPLITS = SCENES.read(None)
# 0 is no class, 1 to 3 are classes, 255 does not count.
TABLE = value_table({0: IGNORED, 1: 0, 2: 1, 3: 2, 255: IGNORED})
COUNT = 12


def files(folder: Path, same_size: bool = False) -> ImageSplit:
    """Photos, and masks whose stored values are 0 to 3 and 255."""
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for i in range(COUNT):
        height, width = (30, 40) if same_size else rng.integers(20, 60, 2)
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{i}.png")
        stored = rng.choice([0, 1, 2, 3, 255], (height, width)).astype(np.uint8)
        Image.fromarray(stored).save(folder / "masks" / f"{i}.png")
    names = encoded([f"{i}.png" for i in range(COUNT)])
    masks = MaskFiles(ImageFiles(folder / "masks", names), TABLE[None], np.zeros(COUNT, np.int64))
    return ImageSplit(ImageFiles(folder / "images", names), np.arange(COUNT) % 3, np.arange(COUNT), masks)


def stored_mask(split: ImageSplit, sample: int) -> np.ndarray:
    assert isinstance(split.masks, MaskFiles)
    with Image.open(split.masks.path(int(np.flatnonzero(split.sample_id == sample)[0]))) as image:
        return TABLE[np.asarray(image)].astype(np.uint8)


def scored(split: ImageSplit, workers: int = 0, share: Share = WHOLE) -> list[Batch]:
    return list(scoring_batches(split, SCENES, size=16, channels=3, workers=Workers(workers), share=share))


def trained(
    split: ImageSplit, workers: int = 0, batch_size: int = 5, skip: int = 0, share: Share = WHOLE
) -> list[Batch]:
    batches = training_batches(
        split, SCENES, size=16, channels=3, augment="scale-crop-flip", batch_size=batch_size, order_seed=3, augment_stream=9,
        skip=skip, workers=Workers(workers), share=share,
    )  # fmt: skip
    return list(batches)


@pytest.mark.parametrize("same_size", [False, True])
@pytest.mark.parametrize("workers", [0, 2])
def test_scoring_batches_have_masks_in_both_sizes(tmp_path: Path, same_size: bool, workers: int) -> None:
    split = files(tmp_path, same_size)
    for stored in (split, split.in_memory()):
        (batch,) = scored(stored, workers)
        assert batch.labels.shape == (COUNT, 16, 16)
        assert batch.labels.dtype == torch.int64
        assert batch.masks is not None
        for sample, mask, label in zip(batch.sample_id.tolist(), batch.masks, batch.labels, strict=True):
            assert np.array_equal(mask.numpy(), stored_mask(split, sample))
            height, width = mask.shape
            assert label[3, 9] == mask[int(3.5 * height / 16), int(9.5 * width / 16)]
    assert isinstance(split.in_memory().masks, np.ndarray if same_size else ImageList)


def test_training_batches_depend_on_seed_epoch_and_sample_only(tmp_path: Path) -> None:
    split = files(tmp_path)
    whole = trained(split)
    assert all(batch.masks is None for batch in whole)
    assert set(torch.cat([batch.labels for batch in whole]).unique().tolist()) == {0, 1, 2, IGNORED}
    by_sample = {int(i): (x, y) for b in whole for i, x, y in zip(b.sample_id, b.images, b.labels, strict=True)}
    others = [
        *trained(split, workers=2),
        *trained(split, batch_size=7),
        *trained(split, skip=1),
        *trained(split.in_memory()),
    ]
    for batch in others:
        for i, image, label in zip(batch.sample_id.tolist(), batch.images, batch.labels, strict=True):
            assert torch.equal(image, by_sample[i][0])
            assert torch.equal(label, by_sample[i][1])


def test_ranks_and_passes_divide_images_and_masks_alike(tmp_path: Path) -> None:
    split = files(tmp_path)
    whole = trained(split)[0]
    shares = [Share(rank, 2, 2) for rank in range(2)]
    parts = [(part, piece) for share in shares for part, piece in trained(split, share=share)[0].parts(share)]
    for part, piece in parts:
        assert torch.equal(part.labels, whole.labels[piece.start : piece.stop])
        assert torch.equal(part.images, whole.images[piece.start : piece.stop])
    ranks = [scored(stratified_head(SPLITS["val"], 3), share=Share(rank, 2)) for rank in range(2)]
    assert [len(batches) for batches in ranks] == [1, 0]


def test_masks_move_with_their_batch(tmp_path: Path) -> None:
    batch = scored(files(tmp_path))[0].to(torch.device("meta"))
    assert batch.masks is not None
    assert {tensor.device.type for tensor in (batch.labels, *batch.masks)} == {"meta"}
    assert batch.sample_id.device.type == "cpu"
    assert batch.classes is batch.labels


def test_masks_follow_their_images_through_splits(tmp_path: Path) -> None:
    split = files(tmp_path)
    rest, held = hold_out(split, 1, seed=0)
    parts = {"the rest": rest, "held out": held, "both again": merge(held, rest), "a few": stratified_head(split, 5)}
    for name, part in parts.items():
        masks = part.decode()[1]
        assert masks is not None
        for sample, mask in zip(part.sample_id, masks, strict=True):
            assert np.array_equal(mask, stored_mask(split, sample)), name
    both = merge(SPLITS["val"], SPLITS["train"])
    assert np.array_equal(both.masks[-500:], SPLITS["val"].masks)  # type: ignore[index, arg-type]
    noisy = corrupted(stratified_head(SPLITS["test"], 2), Corruption("fog", 3))
    assert np.array_equal(noisy.masks, SPLITS["test"].masks[:2])  # type: ignore[arg-type, index]


@pytest.mark.parametrize("in_memory", [False, True])
def test_the_content_of_a_split_covers_its_masks(tmp_path: Path, in_memory: bool) -> None:
    def read() -> ImageSplit:
        return split.in_memory() if in_memory else split

    split = files(tmp_path)
    before, same = content(read()), identity(split)
    assert content(read()) == before
    Image.fromarray(np.full(stored_mask(split, 3).shape, 2, np.uint8)).save(tmp_path / "masks" / "3.png")
    assert content(read()) != before
    assert content(replace(read(), masks=None)) != before
    assert identity(split) == same


def test_an_rgb_mask_is_refused(tmp_path: Path) -> None:
    split = files(tmp_path)
    shape = (*stored_mask(split, 3).shape, 3)
    Image.fromarray(np.zeros(shape, np.uint8)).save(tmp_path / "masks" / "3.png")
    with pytest.raises(DataError, match=r"masks/3\.png .*RGB.* class indices"):
        split.decode()


def test_a_value_that_is_no_class_is_named(tmp_path: Path) -> None:
    split = files(tmp_path)
    Image.fromarray(np.full(stored_mask(split, 3).shape, 77, np.uint8)).save(tmp_path / "masks" / "3.png")
    with pytest.raises(DataError, match=r"masks/3\.png .*77"):
        split.decode()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_mask_of_another_size_is_named_with_its_image(tmp_path: Path, workers: int) -> None:
    split = files(tmp_path, same_size=True)
    Image.fromarray(np.ones((30, 41), np.uint8)).save(tmp_path / "masks" / "3.png")
    for use in (lambda: scored(split, workers), split.in_memory):
        with pytest.raises(DataError, match=r"masks/3\.png has 41 x 30 pixels .*images/3\.png 40 x 30") as error:
            use()
        assert "Traceback" not in str(error.value)


def test_a_missing_mask_is_named(tmp_path: Path) -> None:
    split = files(tmp_path)
    (tmp_path / "masks" / "3.png").unlink()
    with pytest.raises(DataError, match=r"masks/3\.png"):
        split.decode()


def spoiled(change: Callable[[ImageSplit], ImageSplit], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.compose_scenes.read", lambda folder: SPLITS | {"val": change(SPLITS["val"])})
    SCENES.read(None)


def test_a_class_outside_the_list_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def change(split: ImageSplit) -> ImageSplit:
        assert isinstance(split.masks, np.ndarray)
        masks = split.masks.copy()
        masks[7, 3, 4] = 11
        masks[8, 3, 4] = IGNORED
        return replace(split, masks=masks)

    with pytest.raises(DataError, match=r"sample 2007 in val has the class 11, and the 11 classes"):
        spoiled(change, monkeypatch)


def test_masks_of_different_sizes_are_compared_with_the_classes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def change(split: ImageSplit, kind: type, value: int) -> ImageSplit:
        assert isinstance(split.images, np.ndarray)
        masks = [np.asarray(mask, kind) for mask in split.masks]  # type: ignore[union-attr]
        masks[7] = np.where(np.arange(64) == 5, value, masks[7]).astype(kind)
        return replace(split, images=ImageList(tuple(split.images)), masks=ImageList(tuple(masks)))

    with pytest.raises(DataError, match=r"sample 2007 in val has the class 11, and the 11 classes"):
        spoiled(lambda split: change(split, np.uint8, 11), monkeypatch)
    with pytest.raises(DataError, match="masks of type int64"):
        spoiled(lambda split: change(split, np.int64, 3), monkeypatch)


def test_masks_in_files_are_searched_for_a_pixel_that_counts(tmp_path: Path) -> None:
    split = files(tmp_path, same_size=True)
    for i in range(COUNT):
        Image.new("L", (40, 30), 0).save(tmp_path / "masks" / f"{i}.png")
    assert not split.has_counted()
    Image.new("L", (40, 30), 2).save(tmp_path / "masks" / f"{COUNT - 1}.png")
    assert split.has_counted()


def test_images_without_masks_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"fashion-scenes.* val have no masks"):
        spoiled(lambda split: replace(split, masks=None), monkeypatch)
    images = np.zeros((2, 4, 4, 1), np.uint8)
    with pytest.raises(DataError, match="1 masks for 2 images"):
        ImageSplit(images, np.zeros(2, int), np.arange(2), np.zeros((1, 4, 4), np.uint8))
    with pytest.raises(DataError, match="int64"):
        ImageSplit(images, np.zeros(2, int), np.arange(2), np.zeros((2, 4, 4), np.int64))


def test_a_rehearsal_has_random_masks() -> None:
    card = synthetic_card(SCENES)
    splits = card.read(None)
    assert card.task == "segmentation"
    for split in splits.values():
        assert isinstance(split.masks, np.ndarray)
        assert set(np.unique(split.masks)) == {*range(11), IGNORED}
        assert not split.labels.any()


def test_descriptions_say_that_nothing_is_cropped() -> None:
    text = evaluation_summary(replace(SCENES, image_size=None), 224, 3)
    assert "squashed to 224 x 224" in text
    assert "nothing cropped" in text
    assert "nearest" in evaluation_summary(SCENES, 64, 1)
    assert "0.5-2" in training_summary(SCENES, 64, 1, "scale-crop-flip")

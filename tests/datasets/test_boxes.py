"""Boxes: the readers of VOC and COCO, the scenes, augmentation, and what is refused."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torchvision.models.detection import FCOS_ResNet50_FPN_Weights

from datasets.api import DataError, ImageSplit
from datasets.augment import sample_draws
from datasets.box_augment import BOX_AUGMENTATIONS, IGNORED_BOX, PADDING, targets
from datasets.boxes import Boxes
from datasets.check import scan
from datasets.coco import CATEGORIES, COCO_DETECTION
from datasets.coco import read as read_coco
from datasets.compose_scenes import SEEN
from datasets.fashion_scenes import FASHION_SCENES, FASHION_SCENES_DETECTION
from datasets.images import ImageList
from datasets.loading import scoring_batches
from datasets.splits import content, merge
from datasets.voc_detection import read as read_voc
from datasets.voc_detection import read_annotation
from tests.datasets.formats import voc_annotation, write_coco, write_image, write_voc_detection

SIZE = 24


def boxes_of(split: ImageSplit) -> Boxes:
    assert split.boxes is not None
    return split.boxes


def test_scenes_have_the_boxes_of_their_masks() -> None:
    with_boxes, with_masks = FASHION_SCENES_DETECTION.read(None), FASHION_SCENES.read(None)
    for name, split in with_boxes.items():
        masks = with_masks[name].masks
        assert np.array_equal(split.images, with_masks[name].images)
        assert isinstance(masks, np.ndarray)
        for i in range(0, len(split), 97):
            corners, labels, ignored = boxes_of(split).of(i)
            assert set(labels + 1) == set(np.unique(masks[i])) - {0}
            for (left, top, right, bottom), label in zip(corners.astype(int), labels, strict=True):
                shown = masks[i, top:bottom, left:right] == label + 1
                assert shown.any(0)[[0, -1]].all()
                assert shown.any(1)[[0, -1]].all()
            pixels = [int((masks[i] == label + 1).sum()) for label in labels]
            is_alone = (
                np.bincount(labels, minlength=10)[labels] == 1
            )  # a class that two garments have has the pixels of both
            assert ((np.array(pixels) < SEEN) == ignored)[is_alone].all()
    ignored = boxes_of(with_boxes["train"]).ignored
    assert 0.01 < ignored.mean() < 0.08


OBJECTS = {
    "a": [{"name": "dog", "box": "1 1 40 30"}, {"name": "cat", "box": "11.5 3 20 8", "difficult": "1"}],
    "b": [],
    "c": [{"name": "person", "box": "0 1 41 30"}],
}


def test_voc_counts_pixels_from_one_and_marks_difficult_objects(tmp_path: Path) -> None:
    write_voc_detection(tmp_path, {"train": ["a", "b", "c"], "val": ["d"]}, OBJECTS)
    splits = read_voc(tmp_path, val=1)
    assert {name: len(split) for name, split in splits.items()} == {"train": 2, "val": 1, "test": 1}
    both = merge(splits["train"], splits["val"])
    corners, labels, ignored = boxes_of(both).of(0)
    assert corners.tolist() == [[0, 0, 40, 30], [10.5, 2, 20, 8]]
    assert labels.tolist() == [11, 7]
    assert ignored.tolist() == [False, True]
    assert boxes_of(both).counts.tolist() == [2, 0, 1]
    assert boxes_of(both).of(2)[0].tolist() == [[0, 0, 40, 30]]  # a pixel outside is moved to the border


@pytest.mark.parametrize(("objects", "sentence"), [
    ([{"name": "dog", "box": "1 1 9 9"}, {"name": "unicorn", "box": "1 1 9 9"}], "object 2: 'unicorn' is no class"),
    ([{"name": "dog", "box": "9 1 8 9"}], r"object 1 \(dog\) has the box \(8, 0, 8, 9\), which is empty or inverted"),
    ([{"name": "dog", "box": "1 1 44 9"}], r"object 1 \(dog\) has the box \(0, 0, 44, 9\), which is not within the image of"),
    ([{"name": "dog", "box": "1 nan 9 9"}], "object 1: bndbox/ymin is 'nan', which is no number"),
    ([{"name": "dog", "box": "1 one 9 9"}], "object 1: bndbox/ymin is 'one', which is no number"),
])  # fmt: skip
def test_wrong_annotations_of_voc_are_named(tmp_path: Path, objects: list[dict[str, str]], sentence: str) -> None:
    (tmp_path / "a.xml").write_text(voc_annotation(objects))
    with pytest.raises(DataError, match=sentence) as caught:
        read_annotation(tmp_path / "a.xml")
    assert "a.xml" in str(caught.value)


@pytest.mark.parametrize(("text", "sentence"), [
    ("", "no element found"),
    ("<annotation>", "no element found"),
    ('<!DOCTYPE a [<!ENTITY b "c">]><annotation/>', "has declarations"),
    ("<annotation/>", "size/width is missing"),
    ('<?xml version="1.0" encoding="gb2312"?><annotation/>', "multi-byte encodings"),
    ('<?xml version="1.0" encoding="unheard"?><annotation/>', "unknown encoding"),
    ("<annotation><size><width>inf</width><height>9</height></size></annotation>", "size/width is 'inf', which is no number"),
])  # fmt: skip
def test_files_that_are_no_annotation_are_named(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(DataError, match=rf"a\.xml.*{sentence}"):
        read_annotation(tmp_path / "a.xml")


def test_a_copy_with_too_few_images_is_named(tmp_path: Path) -> None:
    write_voc_detection(tmp_path, {"train": ["a", "b"], "val": ["c"]}, OBJECTS)
    with pytest.raises(DataError, match=r"JPEGImages: there are 2 images, of which 2 cannot be held out; .*incomplete"):
        read_voc(tmp_path, val=2)


@pytest.mark.parametrize("is_file", [True, False])
def test_a_class_that_the_card_lacks_is_named(monkeypatch: pytest.MonkeyPatch, is_file: bool) -> None:
    splits = FASHION_SCENES_DETECTION.read(None)
    test, boxes = splits["test"], boxes_of(splits["test"])
    labels = boxes.labels.copy()
    labels[boxes.offsets[5] + 1] = 10
    assert isinstance(test.images, np.ndarray)
    images: np.ndarray | ImageList = ImageList(tuple(test.images)) if is_file else test.images
    changed = replace(test, images=images, boxes=replace(boxes, labels=labels))
    monkeypatch.setattr("datasets.compose_scenes.read_with_boxes", lambda folder: splits | {"test": changed})
    with pytest.raises(DataError, match=r"sample 2505 in test has the class 10, and the 10 classes"):
        FASHION_SCENES_DETECTION.read(None)


def test_wrong_boxes_of_stored_arrays_and_missing_ones_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    splits = FASHION_SCENES_DETECTION.read(None)
    test, boxes = splits["test"], boxes_of(splits["test"])
    corners = boxes.corners.copy()
    corners[boxes.offsets[5] + 1, 2] = 65
    outside = r"sample 2505 in test: object 2 has the box .* not within the image of 64 x 64"
    for wrong, sentence in (
        (replace(boxes, corners=corners), outside),
        (None, "its task is detection, and the images of test have no boxes"),
    ):
        changed = splits | {"test": replace(test, boxes=wrong)}
        monkeypatch.setattr("datasets.compose_scenes.read_with_boxes", lambda folder, changed=changed: changed)
        with pytest.raises(DataError, match=sentence):
            FASHION_SCENES_DETECTION.read(None)


def test_missing_files_of_voc_are_named(tmp_path: Path) -> None:
    write_voc_detection(tmp_path, {"train": ["a", "b"], "val": ["c"]}, OBJECTS)
    (tmp_path / "JPEGImages" / "b.jpg").unlink()
    with pytest.raises(DataError, match=r"no image .*b\.jpg; 1 of 2"):
        read_voc(tmp_path, val=1)


ANNOTATIONS: list[dict[str, Any]] = [
    {"image_id": 7, "category_id": 90, "bbox": [1.5, 2, 10, 20]},
    {"image_id": 7, "category_id": 1, "bbox": [-3, 5, 50, 60], "iscrowd": 1},
    {"image_id": 9, "category_id": 13, "bbox": [4, 4, 0, 8]},
    {"image_id": 9, "category_id": 13, "bbox": [30, 1, 1e-7, 8]},
]


def test_coco_has_gaps_in_its_categories_crowds_and_images_without_boxes(tmp_path: Path) -> None:
    for part in ("train2017", "val2017"):
        write_coco(tmp_path, part, [9, 7, 12], ANNOTATIONS)
    splits = read_coco(tmp_path, val=1)
    test = splits["test"]
    assert test.sample_id.tolist() == [7, 9, 12]
    assert boxes_of(test).counts.tolist() == [2, 0, 0]  # boxes without width are left out, one of them only in float32
    corners, labels, ignored = boxes_of(test).of(0)
    assert corners.tolist() == [[1.5, 2, 11.5, 22], [0, 5, 40, 30]]
    assert labels.tolist() == [79, 0]
    assert ignored.tolist() == [False, True]
    assert {*splits["train"].sample_id, *splits["val"].sample_id} == {7, 9, 12}


def test_coco_names_are_those_of_torchvision() -> None:
    names = FCOS_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    assert {i: name for i, name in enumerate(names) if name not in ("__background__", "N/A")} == CATEGORIES
    assert COCO_DETECTION.classes[79] == "toothbrush"


@pytest.mark.parametrize(("annotation", "changes", "sentence"), [
    ({"category_id": 12}, {}, "annotation 0 has the category 12, which is none of COCO's 80"),
    ({"image_id": 5}, {}, "annotation 0 belongs to image 5"),
    ({"bbox": [1, 1, -4, 8]}, {}, "annotation 0 has the box 1, 1, -4, 8"),
    ({"bbox": [float("nan"), 1, 4, 8]}, {}, "annotation 0 has the box nan, 1, 4, 8"),
    ({"bbox": [1, 1, 4]}, {}, "annotation 0 has not the form of COCO's"),
    ({"bbox": []}, {}, "annotation 0 has not the form of COCO's .*bbox of four numbers"),
    ({"iscrowd": "0"}, {}, "annotation 0 has not the form of COCO's .*iscrowd is '0'.*iscrowd is 0 or 1"),
    ({"iscrowd": 2}, {}, "annotation 0 has not the form of COCO's .*iscrowd is 2"),
    ({}, {"annotations": [{**ANNOTATIONS[0], "id": 5}, {**ANNOTATIONS[0], "bbox": []}]}, "number 2 of the annotations has not"),
    ({}, {"annotations": [[]]}, "number 1 of the annotations has not"),
    ({}, {"categories": [{"id": 1, "name": "people"}]}, "category 1 is 'people', and COCO's is person"),
    ({}, {"images": [{"id": 7}]}, "has not the form of COCO's instances"),
    ({}, {"images": [{"id": 7, "file_name": "../7.jpg", "width": 1, "height": 1}]}, "there is no image"),
    ({}, {"images": []}, "annotation 0 belongs to image 7"),
    ({}, {"images": [{"id": 7, "file_name": "7.jpg", "width": 40, "height": 0}]}, "image 7 has 40 x 0 pixels"),
    ({}, {"images": [{"id": 7, "file_name": "7.jpg", "width": float("inf"), "height": 1}]}, "form of COCO's instances"),
    ({}, {"images": [{"id": 2**70, "file_name": "7.jpg", "width": 1, "height": 1}]}, "form of COCO's instances"),
    ({}, {"images": [{"id": 7, "file_name": "7.jpg", "width": 10**400, "height": 1}]}, "form of COCO's instances"),
    ({}, {"annotations": None}, "form of COCO's instances"),
    ({"image_id": float("inf")}, {}, "annotation 0 has not the form"),
    ({"bbox": [1, 1, 10**400, 8]}, {}, "annotation 0 has not the form"),
])  # fmt: skip
def test_wrong_annotations_of_coco_are_named(
    tmp_path: Path, annotation: dict[str, Any], changes: dict[str, Any], sentence: str
) -> None:
    for part in ("train2017", "val2017"):
        write_coco(tmp_path, part, [7, 9, 12], [ANNOTATIONS[0] | annotation], changes)
    with pytest.raises(DataError, match=sentence):
        read_coco(tmp_path, val=1)


def refused(test: ImageSplit, sentence: str) -> None:
    """Decoding, which trainings do, and the check of a dataset name the image."""
    with pytest.raises(DataError, match=sentence):
        test.decode()
    (problem,) = scan({"test": test}, 0, lambda done, total: None).damaged
    assert re.search(sentence, problem)


def test_an_image_of_another_size_than_stated_is_named(tmp_path: Path) -> None:
    """The box is within both, and would be in the wrong place of an image that was made smaller or larger."""
    for stated in ((20, 15), (400, 300)):
        one = [{"id": 7, "file_name": "000000000007.jpg", "width": stated[0], "height": stated[1]}]
        for part in ("train2017", "val2017"):
            write_coco(tmp_path, part, [7], [{"image_id": 7, "category_id": 1, "bbox": [1, 1, 8, 8]}], {"images": one})
        test = read_coco(tmp_path, val=0)["test"]
        size = rf"has 40 x 30 pixels, and the file with its boxes states {stated[0]} x {stated[1]}"
        refused(test, rf"000000000007\.jpg {size}")
    write_voc_detection(tmp_path, {"train": ["a", "b"], "val": ["c"]}, OBJECTS)
    write_image(tmp_path / "JPEGImages" / "b.jpg", (0, 0, 0), (80, 60))
    both = merge(*(read_voc(tmp_path, val=1)[part] for part in ("train", "val")))
    refused(both, r"b\.jpg has 80 x 60 pixels, and the file with its boxes states 40 x 30")


def test_a_box_outside_the_decoded_image_is_named(tmp_path: Path) -> None:
    for part in ("train2017", "val2017"):
        write_coco(tmp_path, part, [7], [{"image_id": 7, "category_id": 1, "bbox": [1, 1, 9, 9]}])
    test = read_coco(tmp_path, val=0)["test"]
    boxes = replace(boxes_of(test), corners=np.array([[1, 1, 99, 9]], np.float32), sizes=None)
    refused(replace(test, boxes=boxes), r"000000000007\.jpg: object 1 has the box .*not within the image of 40 x 30")


def made_up(sizes: list[tuple[int, int]], seed: int) -> tuple[list[np.ndarray], Boxes]:
    """Black images, each with a bright rectangle and its box; the last image has no box."""
    rng, images, objects = np.random.default_rng(seed), [], []
    for height, width in sizes:
        top, left = rng.integers(2, height // 2), rng.integers(2, width // 2)
        bottom, right = rng.integers(top + 4, height - 1), rng.integers(left + 4, width - 1)
        image = np.zeros((height, width, 1), np.uint8)
        image[top:bottom, left:right] = 255
        images.append(image)
        corners = (float(left), float(top), float(right), float(bottom))
        objects.append([(corners, 3, False), (corners, 4, True)])
    images[-1][:] = 0
    return images, Boxes.of_images([*objects[:-1], []])


@pytest.mark.parametrize("name", BOX_AUGMENTATIONS)
@pytest.mark.parametrize("sizes", [[(24, 24)] * 5, [(48, 48)] * 5, [(24, 48), (48, 24), (24, 24), (72, 24), (24, 24)]])
def test_boxes_stay_on_their_objects(name: str, sizes: list[tuple[int, int]]) -> None:
    augmentation, moved = BOX_AUGMENTATIONS[name], set()
    for epoch in range(12):
        images, boxes = made_up(sizes, epoch % 3)
        stored = np.stack(images) if len(set(sizes)) == 1 else images
        draws = sample_draws(epoch, np.arange(5), augmentation.draws)
        new_images, rows = augmentation.apply(stored, boxes, draws, SIZE)
        assert rows.shape == (5, 2, 5)
        assert rows[:4, :, 0].tolist() == [[3, IGNORED_BOX]] * 4
        assert rows[4, :, 0].tolist() == [PADDING] * 2
        step = 1 / new_images.shape[1]
        for image, row in zip(new_images[:4], rows[:4, 0, 1:], strict=True):
            lines, columns = np.nonzero(image[..., 0] > 127)
            seen = step * np.array([columns.min(), lines.min(), columns.max() + 1, lines.max() + 1])
            assert np.abs(seen - row).max() <= 1 / SIZE
            moved.add(tuple(row.tolist()))
    assert (len(moved) > 12) == (name != "none")


def test_targets_are_shares_of_the_sides_and_scoring_keeps_stored_boxes() -> None:
    images, boxes = made_up([(24, 48), (48, 24)], 0)
    rows = targets(images, boxes)
    np.testing.assert_allclose(rows[0, 0, 1:], boxes.corners[0] / [48, 24, 48, 24])
    split = ImageSplit(np.stack([image[:24, :24] for image in images]), np.zeros(2, int), np.arange(2), boxes=boxes)
    (batch,) = scoring_batches(split, FASHION_SCENES_DETECTION, size=SIZE, channels=1)
    assert batch.boxes is not None
    assert batch.sizes is not None
    assert batch.sizes.tolist() == [[24, 24], [24, 24]]
    assert np.array_equal(batch.boxes.corners, boxes.corners)
    assert batch.labels.shape == (2, 2, 5)


def test_the_content_of_a_split_covers_its_boxes() -> None:
    images, boxes = made_up([(24, 24)] * 3, 0)
    arrays = np.stack(images), np.zeros(3, int), np.arange(3)
    moved = Boxes(boxes.offsets, boxes.corners + 1, boxes.labels, boxes.ignored)
    assert content(ImageSplit(*arrays, boxes=boxes)) != content(ImageSplit(*arrays, boxes=moved))
    with pytest.raises(DataError, match="boxes of 2 images for 3 images"):
        ImageSplit(*arrays, boxes=boxes[np.arange(2)])

"""A folder of images: how its classes and splits are determined, and one error message per problem."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from datasets import folder
from datasets.api import DataError, DatasetCard
from datasets.skipped import skipped_files
from datasets.split_rules import SplitRule
from tests.datasets.photos import CLASSES, write_photos


def card_of(root: Path) -> DatasetCard:
    """The card, read without caches, as in a new process."""
    folder.folder_card.cache_clear()
    folder._content.cache_clear()
    return folder.folder_card(folder.absolute("folder:photos", root))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write_photos(tmp_path / "photos")
    return tmp_path


def test_by_default_every_class_is_in_every_split(photos: Path) -> None:
    card = card_of(photos)
    assert card.name == "folder:photos"
    assert card.classes == tuple(sorted(CLASSES))
    splits = card.read(None)
    assert card.sizes == {name: len(split) for name, split in splits.items()} == {"train": 24, "val": 8, "test": 8}
    counts = {name: np.bincount(split.labels).tolist() for name, split in splits.items()}
    assert counts == {"train": [4, 12, 8], "val": [1, 4, 3], "test": [1, 4, 3]}
    ids = [set(split.sample_id) for split in splits.values()]
    assert set.union(*ids) == set(range(40))
    assert sum(map(len, ids)) == 40
    for split in splits.values():
        assert all(image.shape[2] == 3 for image in split.images.decode())  # type: ignore[union-attr]


def test_a_class_can_be_named_train(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", {"bus": 5, "plane": 5, "train": 5})
    assert card_of(tmp_path).classes == ("bus", "plane", "train")


def test_as_published_trains_on_train_and_val(photos: Path) -> None:
    card = card_of(photos)
    splits = SplitRule("as-published").apply(card.read(None))
    assert {name: len(split) for name, split in splits.items()} == {"train": 32, "val": 8, "test": 8}


@pytest.mark.parametrize("val", [None, "val", "validation"])
def test_existing_split_folders_are_used(tmp_path: Path, val: str | None) -> None:
    parts = {"train": 12, "test": 4} | ({val: 5} if val else {})
    for seed, (part, count) in enumerate(parts.items()):
        write_photos(tmp_path / "photos" / part, dict.fromkeys("xyz", count), seed)
    card = card_of(tmp_path)
    assert card.sizes == ({"train": 36, "val": 15, "test": 12} if val else {"train": 33, "val": 3, "test": 12})
    merged = SplitRule("as-published").apply(card.read(None))["train"]
    assert len(merged) == card.sizes["train"] + card.sizes["val"]


def test_any_change_changes_the_fingerprint_and_moving_does_not(photos: Path) -> None:
    before = card_of(photos).fingerprint
    assert card_of(photos).fingerprint == before
    shutil.move(photos / "photos", photos / "elsewhere" / "photos")
    root = photos / "elsewhere"
    card = card_of(root)
    assert card.fingerprint == before
    assert card.read(None).keys() == {"train", "val", "test"}
    victim = next((root / "photos" / "cats").glob("*.jpg"))
    content = bytearray(victim.read_bytes())
    content[-10] ^= 1
    victim.write_bytes(content)
    with pytest.raises(DataError, match="changed"):
        card.read(None)
    changed = card_of(root).fingerprint
    assert changed != before
    victim.rename(root / "photos" / "dogs" / victim.name.replace(" ", "_"))
    assert card_of(root).fingerprint not in (before, changed)


def test_unusable_folders_are_errors(photos: Path) -> None:
    root = photos / "photos"

    def sentence() -> str:
        with pytest.raises(DataError) as error:
            card_of(photos)
        return str(error.value)

    (root / "birds").mkdir()
    assert f"{root / 'birds'} " in sentence()
    shutil.copy(next((root / "cats").iterdir()), root / "birds")
    assert "class 'birds'" in sentence()
    assert "1 image" in sentence()
    assert "at least 3" in sentence()
    for name in ("birds", "cats", "dogs"):
        shutil.rmtree(root / name)
    assert "'a b (c)'" in sentence()
    shutil.rmtree(root)
    assert str(root) in sentence()


def test_incomplete_split_folders_are_errors(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    write_photos(root / "train", {"x": 4, "y": 1})
    with pytest.raises(DataError, match=r"photos .*\btest/"):
        card_of(tmp_path)
    write_photos(root / "test", {"x": 2, "y": 1, "z": 1})
    with pytest.raises(DataError, match="'z'"):
        card_of(tmp_path)
    shutil.rmtree(root / "test" / "z")
    with pytest.raises(DataError, match=r"class 'y' in .*train\b.*1 image.*at least 2"):
        card_of(tmp_path)
    write_photos(root / "val", {"x": 1, "y": 1})
    assert card_of(tmp_path).sizes == {"train": 5, "val": 2, "test": 3}
    shutil.rmtree(root / "val" / "y")
    with pytest.raises(DataError, match=r"\bval/y\b"):
        card_of(tmp_path)


def test_skipped_files_are_counted_and_named(photos: Path) -> None:
    root = photos / "photos"
    first = sorted(path for path in root.iterdir() if path.is_dir())[0]
    assert skipped_files(root, card_of(photos).read(None).values()) == []
    for name in ("a.heic", "b.HEIC", "c.svg", "notes.txt", ".hidden.png"):
        (first / name).write_bytes(b"")
    (first / "more").mkdir()
    shutil.copy(next(first.glob("*.png")), first / "more" / "x.png")
    (first / "gone.png").symlink_to(photos / "nowhere.png")
    sentences = skipped_files(root, card_of(photos).read(None).values())
    assert [sentence.removeprefix(f"{root}: ").split(" ")[0] for sentence in sentences] == ["2", "1", "1", "1"]
    for name in ("a.heic", "c.svg", "more/x.png", "gone.png"):
        assert any(name in sentence for sentence in sentences), name


def test_a_class_named_train_may_have_a_folder_without_images(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", {"bus": 5, "train": 5})
    (tmp_path / "photos" / "train" / "notes").mkdir()
    assert card_of(tmp_path).classes == ("bus", "train")

"""The bundled subset is as documented, damage is detected, and the full reader reads the official format."""

from __future__ import annotations

import gzip
import hashlib
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datasets import DATASETS, fashion_mnist
from datasets.api import DataError
from datasets.splits import identity, merge

BUNDLED = Path(fashion_mnist.__file__).with_name("bundled")


def test_the_bundle_is_stratified_and_its_splits_are_disjoint() -> None:
    splits = DATASETS["fashion-mnist-mini"].read(None)
    for split, per_class in {"train": 600, "val": 200, "test": 400}.items():
        assert np.bincount(splits[split].labels).tolist() == [per_class] * 10
        assert splits[split].images.shape == (10 * per_class, 28, 28, 1)
        assert splits[split].images.dtype == np.uint8
        assert len(np.unique(splits[split].sample_id)) == 10 * per_class
    # train and val come from the same official file
    assert not set(splits["train"].sample_id) & set(splits["val"].sample_id)


def test_the_bundle_is_small_and_has_its_licence() -> None:
    bundle = BUNDLED / fashion_mnist.BUNDLE
    assert bundle.stat().st_size <= 5_000_000
    assert "Zalando" in bundle.with_name("LICENSE").read_text()


def test_no_image_is_in_two_splits() -> None:
    splits = DATASETS["fashion-mnist-mini"].read(None)
    digests = {
        name: {hashlib.sha256(image.tobytes()).digest() for image in split.images} for name, split in splits.items()
    }
    assert not digests["train"] & digests["test"]
    assert not digests["val"] & digests["test"]
    assert not digests["train"] & digests["val"]


def test_a_damaged_bundle_is_detected(tmp_path: Path) -> None:
    damaged = tmp_path / fashion_mnist.BUNDLE
    content = bytearray((BUNDLED / fashion_mnist.BUNDLE).read_bytes())
    content[1000] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(DataError, match=fashion_mnist.BUNDLE_SHA256[:12]):
        fashion_mnist.read_bundle(tmp_path)
    damaged.unlink()
    with pytest.raises(DataError, match=re.escape(str(damaged))):
        fashion_mnist.read_bundle(tmp_path)


def write_idx(folder: Path, name: str, array: np.ndarray, *, packed: bool) -> str:
    """An IDX file of unsigned bytes, as the official ones; returns the SHA-256 of its content."""
    content = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape) + array.tobytes()
    path = folder / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(content) if packed else content)
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(params=[True, False], ids=["gzipped", "plain"])
def idx_folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with small files in the official format, whose checksums replace the official ones."""
    mini = DATASETS["fashion-mnist-mini"].read(None)
    monkeypatch.setattr(fashion_mnist, "VAL_PER_CLASS", 60)
    digests = {}
    for stem, split in {"train": mini["train"], "t10k": mini["test"]}.items():
        images, labels = split.images[..., 0], split.labels.astype(np.uint8)
        for kind, array in {"images-idx3": images, "labels-idx1": labels}.items():
            name = f"{stem}-{kind}-ubyte"
            digests[name] = write_idx(tmp_path, name, array, packed=request.param)
    monkeypatch.setattr(fashion_mnist, "IDX_FILES", digests)
    return tmp_path


def test_the_full_reader_holds_val_out_of_train(idx_folder: Path) -> None:
    splits = fashion_mnist.read_full(idx_folder)
    assert {name: len(split) for name, split in splits.items()} == {"train": 5400, "val": 600, "test": 4000}
    assert np.bincount(splits["val"].labels).tolist() == [60] * 10
    assert not set(splits["train"].sample_id) & set(splits["val"].sample_id)
    assert identity(fashion_mnist.read_full(idx_folder)["val"]) == identity(splits["val"])


@pytest.mark.skipif(not fashion_mnist.DEBIAN_FOLDER.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_the_full_dataset_is_read_and_the_bundle_is_a_subset() -> None:
    full, mini = DATASETS["fashion-mnist"].read(None), DATASETS["fashion-mnist-mini"].read(None)
    assert np.bincount(full["train"].labels).tolist() == [5400] * 10
    assert np.bincount(full["val"].labels).tolist() == [600] * 10
    official = {"train": merge(full["train"], full["val"]), "test": full["test"]}
    for name, split in mini.items():
        same = official["test" if name == "test" else "train"].select(split.sample_id)
        assert np.array_equal(same.images, split.images)
        assert np.array_equal(same.labels, split.labels)


def test_a_replaced_file_is_detected_by_its_checksum(idx_folder: Path) -> None:
    victim = next(idx_folder.glob("t10k-labels*"))
    other = next(idx_folder.glob("train-labels*"))
    victim.write_bytes(other.read_bytes())
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte.*SHA-256"):
        fashion_mnist.read_full(idx_folder)


def test_a_truncated_file_is_named(idx_folder: Path) -> None:
    victim = next(idx_folder.glob("train-images*"))
    victim.write_bytes(victim.read_bytes()[:5000])
    with pytest.raises(DataError, match="train-images-idx3-ubyte"):
        fashion_mnist.read_full(idx_folder)


def test_a_missing_dataset_lists_the_searched_folders(tmp_path: Path) -> None:
    card = replace(DATASETS["fashion-mnist"], fixed_folders=(tmp_path / "debian",))
    with pytest.raises(DataError, match="dataset-fashion-mnist") as error:
        card.read(tmp_path / "mine")
    for place in ("mine", "mine/fashion-mnist", "mine/FashionMNIST/raw", "debian"):
        assert str(tmp_path / place) in str(error.value)

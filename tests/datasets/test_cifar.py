"""CIFAR's pickles as written by Python 2: read correctly, refused if they would run code, detected if damaged."""

from __future__ import annotations

import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from datasets import cifar
from datasets.api import DataError
from tests.datasets.formats import python2_pickle, write_cifar


@pytest.fixture
def cifar_100(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, np.ndarray]:
    """A folder with six train images and one test image of each of 100 classes, and the train images."""
    train, train_md5 = write_cifar(tmp_path / "train", b"fine_labels", list(range(100)) * 6)
    _, test_md5 = write_cifar(tmp_path / "test", b"fine_labels", list(range(100)), seed=6)
    monkeypatch.setattr(cifar, "CIFAR_100_FILES", {"train": train_md5, "test": test_md5})
    monkeypatch.setattr(cifar, "VAL_PER_CLASS", {"cifar-100": 2, "cifar-10": 2})
    return tmp_path, train


def test_the_reader_returns_the_written_images_and_labels(cifar_100: tuple[Path, np.ndarray]) -> None:
    folder, written = cifar_100
    splits = cifar.read_cifar_100(folder)
    assert {name: len(split) for name, split in splits.items()} == {"train": 400, "val": 200, "test": 100}
    assert np.bincount(splits["val"].labels).tolist() == [2] * 100
    for name in ("train", "val"):
        split = splits[name]
        assert np.array_equal(split.images, written[split.sample_id])
        assert np.array_equal(split.labels, split.sample_id % 100)
    assert not set(splits["train"].sample_id) & set(splits["val"].sample_id)


def test_cifar_10_joins_its_five_files_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels, files, written = [i % 10 for i in range(20)], {}, []
    for number, name in enumerate(cifar.CIFAR_10_FILES):
        images, files[name] = write_cifar(tmp_path / name, b"labels", labels, seed=number)
        written.append(images)
    monkeypatch.setattr(cifar, "CIFAR_10_FILES", files)
    monkeypatch.setattr(cifar, "VAL_PER_CLASS", {"cifar-10": 3})
    splits = cifar.read_cifar_10(tmp_path)
    assert {name: len(split) for name, split in splits.items()} == {"train": 70, "val": 30, "test": 20}
    train = np.concatenate(written[:5])
    assert np.array_equal(splits["train"].images, train[splits["train"].sample_id])
    assert np.array_equal(splits["test"].images, written[5])


def test_a_truncated_or_replaced_file_is_detected_by_its_checksum(cifar_100: tuple[Path, np.ndarray]) -> None:
    folder, _ = cifar_100
    path = folder / "test"
    whole = path.read_bytes()
    for content in (whole[:-1], whole[:-1] + b"!"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=re.escape(str(path))):
            cifar.read_cifar_100(folder)
    path.unlink()
    with pytest.raises(DataError, match=re.escape(str(path))):
        cifar.read_cifar_100(folder)


class Shell:
    """Unpickling it would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.path}",)


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    content = {b"data": Shell(trace), b"fine_labels": [0]}
    for raw in (pickle.dumps(content), python2_pickle(content)):
        with pytest.raises(DataError, match=r"posix\.system|os\.system"):
            cifar.unpack(raw, b"fine_labels", 100, Path("train"))
    assert not trace.exists()
    with pytest.raises(DataError, match=r"builtins\.eval"):
        cifar.unpack(b"cbuiltins\neval\n(S'1'\ntR.", b"fine_labels", 100, Path("train"))


@pytest.mark.parametrize("content", [
    {b"data": np.zeros((2, 3072), np.uint8), b"fine_labels": [0, 100]},
    {b"data": np.zeros((2, 3072), np.uint8), b"fine_labels": [0]},
    {b"data": np.zeros((2, 3072), np.float32), b"fine_labels": [0, 1]},
    {b"data": np.zeros((2, 3071), np.uint8), b"fine_labels": [0, 1]},
    {b"data": np.zeros((2, 3072), np.uint8), b"coarse_labels": [0, 1]},
    [1, 2],
], ids=["label", "count", "kind", "shape", "key", "no dictionary"])  # fmt: skip
def test_other_content_is_an_error_that_names_the_file(content: object) -> None:
    with pytest.raises(DataError, match=r"^train "):
        cifar.unpack(python2_pickle(content), b"fine_labels", 100, Path("train"))

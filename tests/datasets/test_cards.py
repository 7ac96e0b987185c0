"""A dataset card has everything that planning and reports need, without data and without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from datasets import DATASETS
from datasets.api import DataError
from tests.conftest import ROOT

# From the datasets' papers and home pages: images of the official train set, images of the official test set (or validation
# set, if test labels are not public), and classes.
OFFICIAL = {
    "fashion-mnist": (60_000, 10_000, 10),
    "cifar-10": (50_000, 10_000, 10),
    "cifar-100": (50_000, 10_000, 100),
    "food-101": (75_750, 25_250, 101),
    "tiny-imagenet": (100_000, 10_000, 200),
    "imagenet-1k": (1_281_167, 50_000, 1_000),
    "oxford-pets": (3_680, 3_669, 2),
    "oxford-pets-breeds": (3_680, 3_669, 38),
    "voc-segmentation": (1_464, 1_449, 21),
    "ade20k": (20_210, 2_000, 150),
    "voc-detection": (5_717, 5_823, 20),
    "coco-detection": (118_287, 5_000, 80),
}


@pytest.mark.parametrize("name", DATASETS)
def test_cards_are_complete(name: str) -> None:
    card = DATASETS[name]
    assert card.name == name
    assert len(card.mean) == len(card.std) == card.channels
    assert len(card.fingerprint) == 64
    assert all((card.licence, card.citation, card.how_to_get, card.summary, card.val_rule, card.markers))
    assert card.recipe_size in (28, 32, 64, 224)
    assert all(archive.md5 is None or len(archive.md5) == 32 for archive in card.archives)


def test_fingerprints_differ() -> None:
    assert len({card.fingerprint for card in DATASETS.values()}) == len(DATASETS)


@pytest.mark.parametrize("name", OFFICIAL)
def test_splits_add_up_to_the_official_sets(name: str) -> None:
    card = DATASETS[name]
    train, test, classes = OFFICIAL[name]
    assert card.sizes["train"] + card.sizes["val"] == train
    assert card.sizes["test"] == test
    assert len(card.classes) == classes
    assert name == "imagenet-1k" or len(set(card.classes)) == classes  # ImageNet has two cranes and two maillots


def test_cards_of_the_papers_datasets_have_its_input_size_and_mean() -> None:
    for name in ("cifar-100", "food-101", "imagenet-1k"):
        assert DATASETS[name].recipe_size == 224
        assert DATASETS[name].mean == (0.485, 0.456, 0.406)


def test_cards_need_no_torch_and_no_scipy() -> None:
    code = "import sys, datasets; print(len(datasets.DATASETS), {'torch', 'scipy', 'torchvision'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == f"{len(DATASETS)} set()\n"


@pytest.mark.parametrize("name", [name for name, card in DATASETS.items() if not card.fixed_folders])
def test_missing_data_names_folders_and_instructions(name: str, tmp_path: Path) -> None:
    card = DATASETS[name]
    with pytest.raises(DataError, match=name) as error:
        card.read(tmp_path / "data")
    assert card.how_to_get in str(error.value)
    assert all(str(tmp_path / "data" / folder) in str(error.value) for folder in card.folders)
    with pytest.raises(DataError, match="--data-dir or LGVIT_BENCH_DATA"):
        card.read(None)


def test_a_folder_with_the_name_of_the_file_is_not_the_file(tmp_path: Path) -> None:
    """ImageNet's folders train and test are not CIFAR-100's two files."""
    (tmp_path / "train" / "n01440764").mkdir(parents=True)
    (tmp_path / "test").mkdir()
    assert DATASETS["imagenet-1k"].find(tmp_path) == tmp_path
    with pytest.raises(DataError, match="cifar-100"):
        DATASETS["cifar-100"].find(tmp_path)

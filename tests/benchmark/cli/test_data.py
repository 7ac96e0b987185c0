"""`python -m benchmark data` on valid, damaged and missing data."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from datasets import DATASETS, voc
from datasets.check import scan
from tests.conftest import ROOT, Command, environment
from tests.datasets.formats import write_voc
from tests.datasets.photos import write_photos


def test_list_names_everything_and_its_licence(benchmark_command: Command, tmp_path: Path) -> None:
    done = benchmark_command("data", "list", "--data-dir", tmp_path)
    assert done.returncode == 0, done.stderr
    for name, card in DATASETS.items():
        assert name in done.stdout
        assert card.licence in done.stdout
    assert "not here: python -m benchmark data fetch cifar-100" in done.stdout
    assert "folder:PATH" in done.stdout


def test_where_lists_the_searched_folders(benchmark_command: Command, tmp_path: Path) -> None:
    missing = benchmark_command("data", "where", "food-101", env=environment(LGVIT_BENCH_DATA=str(tmp_path)))
    assert missing.returncode == 2
    assert str(tmp_path / "food-101") in missing.stderr
    (tmp_path / "food-101" / "meta").mkdir(parents=True)
    (tmp_path / "food-101" / "meta" / "train.txt").touch()
    present = benchmark_command("data", "where", "food-101", "--data-dir", tmp_path)
    assert f"food-101 is in {tmp_path / 'food-101'}" in present.stdout


def test_check_counts_and_passes_the_bundle(benchmark_command: Command) -> None:
    done = benchmark_command("data", "check", "fashion-mnist-mini")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["Sneaker", "600", "200", "400"] in lines
    assert "12,000 of 12,000 images can be read" in done.stdout
    assert "images that are in two splits: 0" in done.stdout


def test_check_lists_damaged_and_duplicate_images(benchmark_command: Command, tmp_path: Path) -> None:
    for seed, part in enumerate(("train", "test")):
        write_photos(tmp_path / "photos" / part, {"x": 8, "y": 6}, seed)
    sound = benchmark_command("data", "check", "folder:photos", cwd=tmp_path, env=environment(PYTHONPATH=str(ROOT)))
    assert sound.returncode == 0, sound.stderr
    damaged = next((tmp_path / "photos" / "train" / "x").glob("*.jpg"))
    damaged.write_bytes(damaged.read_bytes()[:-200])
    doubled = next((tmp_path / "photos" / "train" / "y").glob("*.png"))
    shutil.copy(doubled, tmp_path / "photos" / "test" / "y" / "again.png")
    for processes in (0, 2):
        done = benchmark_command("data", "check", f"folder:{tmp_path / 'photos'}", "--processes", processes)
        assert done.returncode == 1
        assert str(damaged) in done.stdout
        assert "28 of 29 images can be read" in done.stdout
        assert f"{doubled}" in done.stdout
        assert "test/y/again.png" in done.stdout
        assert "images that are in two splits: 1" in done.stdout


def test_check_counts_the_images_that_show_a_class(benchmark_command: Command) -> None:
    done = benchmark_command("data", "check", "fashion-scenes")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["ground", "2,000", "500", "1,000"] in lines
    (sneaker,) = [line for line in lines if line[:1] == ["Sneaker"]]
    assert 400 < int(sneaker[1]) < 1200
    assert "3,500 of 3,500 images and their masks can be read" in done.stdout
    assert "train: 0.0% of the pixels are ignored; of the others 71.8% are ground" in done.stdout


def test_check_lists_masks_that_are_wrong(tmp_path: Path) -> None:
    write_voc(tmp_path, 4, 2, np.array([[0, 1], [255, 20]], np.uint8))
    splits = voc.read(tmp_path, val=1)
    masks = tmp_path / "SegmentationClass"
    Image.new("L", (9, 9)).save(masks / "2007_train_000000.png")
    Image.new("L", (2, 2), 21).save(masks / "2007_val_000000.png")
    for processes in (0, 2):
        result = scan(splits, processes, lambda done, total: None)
        assert len(result.damaged) == 2
        assert any("2007_train_000000.png" in problem and "9 x 9" in problem for problem in result.damaged)
        assert any("2007_val_000000.png" in problem and "21" in problem for problem in result.damaged)
        assert result.shown["test"][[0, 1, 20, 255]].tolist() == [1, 1, 1, 1]
        assert sum(counts[255] for counts in result.pixels.values()) == 4


def test_any_name_of_a_folder_is_printed_as_it_is(benchmark_command: Command, tmp_path: Path) -> None:
    photos = tmp_path / "my\u3000photos\u00a0👩\u200d🔬"
    write_photos(photos, {"cat [wild]": 8, "cat [tame]": 6, "[-bold] été": 5})
    done = benchmark_command("data", "check", f"folder:{photos}")
    assert done.returncode == 0, done.stderr
    for name in ("cat [wild]", "cat [tame]", "[-bold] été"):
        assert name in done.stdout


def test_a_wrong_archive_is_detected(benchmark_command: Command, tmp_path: Path) -> None:
    (tmp_path / "cifar-100-python").mkdir()
    (tmp_path / "cifar-100-python" / "train").write_bytes(b"not CIFAR")
    (tmp_path / "cifar-100-python.tar.gz").write_bytes(b"not CIFAR")
    done = benchmark_command("data", "check", "cifar-100", "--data-dir", tmp_path)
    assert "cifar-100-python.tar.gz: its MD5 is not eb9058c3a382ffc7106e4002c42a8d85" in done.stdout
    assert done.returncode == 2
    assert f"error: {tmp_path / 'cifar-100-python' / 'train'} is not the official file" in done.stderr


def test_mistakes_are_one_sentence(benchmark_command: Command, tmp_path: Path) -> None:
    for arguments, sentence in (
        (("check", "cifar-1000"), "unknown dataset 'cifar-1000'; did you mean 'cifar-100'?"),
        (("check", "folder:/no/such"), "there is no folder /no/such"),
        (("fetch", "cifar-100"), "data fetch needs --data-dir (or LGVIT_BENCH_DATA)"),
        (("fetch", "imagenet-1k", "--data-dir", tmp_path), "ImageNet needs an account"),
    ):
        done = benchmark_command("data", *arguments)
        assert done.returncode == 2
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr

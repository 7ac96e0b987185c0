"""The command `predict`, and predictions of image files and arrays against the stored scores."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from benchmark.cli.predict import command
from benchmark.deployment.budget import Budget
from benchmark.deployment.choice import choose_deployment
from benchmark.deployment.image_files import image_files, stored_form
from benchmark.deployment.predictor import load_predictor
from benchmark.errors import UserError
from benchmark.evaluation.stored_runs import load_run_scores
from benchmark.measure.finished import choose_point
from benchmark.registry import card
from benchmark.training.inputs import read_inputs
from methods.policies import get_policy
from results.record import DoneRecord
from results.spec import Weights
from results.store.folder import Store
from tests.trained_runs import RUN, write_trained_run


@pytest.fixture(scope="module")
def photos(record: DoneRecord, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's first test images as files."""
    folder = tmp_path_factory.mktemp("photos")
    images = read_inputs(record.spec.train, None).splits["test"].images
    assert isinstance(images, np.ndarray)
    for i in range(12):
        Image.fromarray(images[i, ..., 0]).save(folder / f"{i:02}.png")
    return folder


def predict(results: Path, *arguments: object) -> Result:
    return CliRunner().invoke(command, [*map(str, arguments), "--results", str(results), "--device", "cpu"])


def test_files_leave_at_the_exits_of_the_stored_scores(results: Path, record: DoneRecord, photos: Path) -> None:
    mixed = next(point for point in record.points if point.name == "confidence/equal-macs-0.6")
    threshold = sum(setting.threshold for setting in mixed.settings) / 2
    done = predict(results, RUN, photos, "--threshold", threshold, "--format", "json", "--batch-size", 5)
    assert done.exit_code == 0, done.output
    content = json.loads(done.stdout)
    assert content["run"] == RUN
    logits = load_run_scores(Store(results), record)["test"].logits[:, :12]
    exits, predictions = get_policy("confidence", threshold=threshold).choose(logits)
    assert len(exits.unique()) > 1
    rows = content["images"]
    assert [Path(row["image"]).name for row in rows] == [f"{i:02}.png" for i in range(12)]
    assert [row["exit"] - 1 for row in rows] == exits.tolist()
    assert [row["label"] for row in rows] == predictions.tolist()
    assert [row["name"] for row in rows] == [card("dataset", "fashion-mnist-mini").classes[p] for p in predictions]
    assert [row["macs"] for row in rows] == [record.costs.cumulative[k] for k in exits]
    assert [row["block"] for row in rows] == [record.exits[k].block for k in exits]
    expected = logits[exits, torch.arange(12)].softmax(-1).amax(-1)
    np.testing.assert_allclose([row["confidence"] for row in rows], expected, rtol=1e-4)


def test_images_are_normalised_as_the_weights_require(tmp_path: Path) -> None:
    """Not by the dataset's mean and standard deviation, where the run starts from weights with their own."""
    weights = Weights(source="timm:vit.some", sha256="0" * 64, mean=(0.5,), std=(0.5,))
    record = write_trained_run(tmp_path, samples=30, weights=weights)
    images = read_inputs(record.spec.train, None).splits["test"].images
    assert isinstance(images, np.ndarray)
    predictor = load_predictor(Store(tmp_path), RUN, torch.device("cpu"), threshold=1.0)
    logits = load_run_scores(Store(tmp_path), record)["test"].logits[-1]
    confidence = [prediction.confidence for prediction in predictor.predict(images)]
    assert confidence == pytest.approx(logits.softmax(-1).amax(-1).tolist(), abs=1e-5)
    assert choose_deployment(Store(tmp_path), RUN, Budget.parse("0.6")).input.mean == (0.5,)


def test_thresholds_at_both_ends_take_the_first_and_the_last_exit(results: Path, photos: Path) -> None:
    for threshold, exits in ((0, {"1"}), (1, {"3"})):
        done = predict(results, RUN, photos, "--threshold", threshold, "--format", "csv")
        assert {row["exit"] for row in csv.DictReader(io.StringIO(done.stdout))} == exits
    done = predict(results, RUN, photos, "--threshold", 0, "--policy", "entropy", "--format", "csv")
    assert {row["exit"] for row in csv.DictReader(io.StringIO(done.stdout))} == {"3"}


def test_the_default_point_loses_at_most_a_point_on_val(results: Path, record: DoneRecord, photos: Path) -> None:
    done = predict(results, RUN, photos / "00.png")
    assert done.exit_code == 0, done.output
    assert choose_point(record, None).name in done.output


def test_damaged_images_are_named_and_skipped(results: Path, photos: Path, tmp_path: Path) -> None:
    shutil.copy(photos / "00.png", tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes((photos / "00.png").read_bytes()[:60])
    done = predict(results, RUN, tmp_path, "--format", "csv")
    assert done.exit_code == 1
    assert [Path(row["image"]).name for row in csv.DictReader(io.StringIO(done.stdout))] == ["good.png"]
    assert str(tmp_path / "bad.png") in done.stderr


@pytest.mark.parametrize(("arguments", "words"), [
    ((RUN, "nothing.png"), ("nothing.png",)),
    ((RUN, "none/*.png"), ("none/*.png", "pattern")),
    ((RUN, "text.png"), ("text.png", "image")),
    (("lgvit-vit_nano_patch4_29", "00.png"), ("lgvit-vit_nano_patch4_29", "lgvit-vit_nano_patch4_28")),
    ((RUN, "00.png", "--point", "confidence/accuracy-drop-0.3"), ("--point", "confidence/accuracy-drop")),
    ((RUN, "00.png", "--threshold", "3"), ("--threshold 3", "between 0 and 1")),
    ((RUN, "00.png", "--threshold", ".5", "--policy", "patience"), ("--policy", "patience", "entropy", "grid")),
    ((RUN, "00.png", "--policy", "entropy"), ("--policy", "--threshold")),
    ((RUN, "00.png", "--max-ms", "5"), ("--max-ms", f"deploy {RUN} --budget 5ms --policy 'confidence'")),
    ((RUN, "00.png", "--threshold", ".5", "--point", "x"), ("--threshold", "--point")),
])  # fmt: skip
def test_mistakes_are_one_sentence(
    arguments: tuple[str, ...], words: tuple[str, ...], results: Path, photos: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    shutil.copy(photos / "00.png", tmp_path)
    (tmp_path / "text.png").write_text("no picture")
    monkeypatch.chdir(tmp_path)
    error = predict(results, *arguments).exception
    assert isinstance(error, UserError)
    assert all(word in str(error) for word in words), str(error)


def test_a_run_without_weights_says_how_to_get_them(results: Path, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(results / "runs", tmp_path / "runs")
    error = predict(tmp_path, RUN, photos).exception
    assert isinstance(error, UserError)
    assert f"reproduce {RUN}" in str(error)


def test_folders_are_searched_and_names_repeat_once(tmp_path: Path) -> None:
    for name in ("b/2.JPG", "b/1.png", "b/.hidden/3.png", "b/notes.txt", "a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes(b"")
    names = [str(tmp_path / "b"), str(tmp_path / "*.png"), str(tmp_path / "b" / "1.png")]
    assert [path.name for path in image_files(names)] == ["1.png", "2.JPG", "a.png"]


def test_images_in_memory_of_any_size_and_colour(results: Path) -> None:
    predictor = load_predictor(Store(results), RUN, torch.device("cpu"))
    grey = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    wide = np.zeros((40, 90, 3), dtype=np.uint8)
    predictions = predictor.predict([grey, grey[..., None], np.stack([grey] * 3, -1), wide])
    assert predictions[0].label == predictions[1].label == predictions[2].label
    assert predictions[0].confidence == pytest.approx(predictions[2].confidence, rel=1e-5)
    assert predictor.predict([]) == []
    for wrong in (grey.astype(np.float32), np.zeros((2, 28, 28, 3), np.uint8), np.zeros((28, 28, 2), np.uint8)):
        with pytest.raises(ValueError, match="an image is uint8"):
            predictor.predict([wrong])


def test_images_get_the_size_and_the_channels_of_the_dataset() -> None:
    image = np.zeros((50, 80, 3), dtype=np.uint8)
    assert stored_form(image, card("dataset", "fashion-mnist-mini"), 28).shape == (28, 28, 1)
    assert stored_form(image, card("dataset", "cifar-100"), 224).shape == (32, 32, 3)
    assert stored_form(image, card("dataset", "imagenet-1k"), 224).shape == (224, 224, 3)

"""A grid of detection from its file to the records, and what the other commands do with its runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from benchmark.evaluation.scores import load_scores
from methods.boxes.decoding import MOST
from results.store.folder import Store
from results.tables.run import Run
from tests.benchmark.grid_runs import assert_equal_scores, assert_stored_as_estimated, run_grid
from tests.conftest import call
from tests.results.loaded import runs_by_method

pytestmark = pytest.mark.slow

GRID = """
name: boxes
backbones: [vit_nano_patch4_64]
datasets: [{name: fashion-scenes-detection, set: {train: 40, val: 40, test: 40}}]
methods:
  - static
  - {name: truncated, set: {depth: 6}}
  - next-smaller
  - {name: lower-resolution, set: {share: 0.75}}
  - lgvit
  - {name: vanilla, set: {regime: joint}}
exits: [[4, 8]]
policies: [box-confidence, {name: box-confidence, set: {score: agreement}}, random]
latency: [1]
recipes:
  finetune: {epochs: 2, batch_size: 10, lr: 3.0e-3, augment: flip}
  joint: {epochs: 2, batch_size: 10, lr: 3.0e-3, augment: flip-shift}
  exits: {epochs: 1, batch_size: 10, lr: 1.0e-2, augment: none}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("detection")
    (made / "boxes.yaml").write_text(GRID, encoding="utf-8")
    run_grid(made / "boxes.yaml", made / "results", "--out", made / "report")
    return made


@pytest.fixture(scope="module")
def runs(folder: Path) -> dict[str, Run]:
    return runs_by_method(Store(folder / "results"))


def test_every_method_has_a_record_that_follows_from_its_tables(runs: dict[str, Run]) -> None:
    assert len(runs) == 6
    assert all(0 <= exit_.test_accuracy < 1 for run in runs.values() for exit_ in run.record.exits)
    assert all(run.record.exits[-1].test_accuracy > 0 for run in runs.values())  # little, after so short a training
    assert len(runs["lgvit"].record.exits) == 3
    assert runs["lgvit"].record.own_policy == "box-confidence"
    assert runs["lgvit"].record.data.task == "detection"


def test_scores_hold_boxes_of_every_exit_in_pixels_of_the_image(folder: Path) -> None:
    stages = list((folder / "results" / "stages").glob("scores-*"))
    assert len(stages) == 6
    for stage in stages:
        scores = load_scores(stage / "test.safetensors")
        boxes = scores.detections
        assert boxes is not None
        assert boxes.images == 40
        assert boxes.exits == len(scores.logits)
        found = boxes.offsets.diff()
        assert found.max() <= MOST
        assert (found.view(boxes.exits, 40).sum(1) > 0).all()  # by every exit
        assert (boxes.boxes >= 0).all()
        assert (boxes.boxes <= 64).all()
        assert not scores.labels.any()
        assert len(boxes.truth_boxes) > 80


def test_again_gives_the_same_bits(folder: Path) -> None:
    """Apart from the wall-clock times in records."""
    run_grid(folder / "boxes.yaml", folder / "again", "--format", "none", "--set", "latency=[]")
    assert_equal_scores(folder / "results", folder / "again")


def test_the_report_names_the_metric(folder: Path) -> None:
    assert "AP" in (folder / "report" / "table.txt").read_text(encoding="utf-8")
    assert any("scenes" in path.name for path in (folder / "report" / "figures").iterdir())


def test_times_of_true_dynamic_inference_are_measured(runs: dict[str, Run]) -> None:
    for name in ("lgvit", "vanilla(regime=joint)"):
        (latency,) = runs[name].latencies
        assert latency.timings[0].dynamic.p50 > 0
        assert latency.audit.answers >= 10


def test_policies_of_boxes_can_be_swept_and_others_are_refused(folder: Path) -> None:
    words = ("sweep", "--grid", folder / "boxes.yaml", "--results", folder / "results")
    swept = call(*words, "--policy", "box-confidence:score=top-mean", "--budget", "0.75")
    assert swept.returncode == 0, swept.stderr
    assert "AP" in swept.stdout
    refused = call(*words, "--policy", "entropy")
    assert refused.returncode == 2
    assert "entropy does not read what detection gives" in refused.stderr


@pytest.mark.parametrize("command", [("predict", "RUN", "IMAGES"), ("explain", "RUN")])
def test_commands_of_classification_say_so(folder: Path, runs: dict[str, Run], command: tuple[str, ...]) -> None:
    run = runs["lgvit"].record.run_id[-8:]
    photo = folder / "photo.png"
    Image.new("L", (64, 64)).save(photo)
    words = [{"RUN": run, "IMAGES": str(photo)}.get(word, word) for word in command]
    done = call(*words, "--results", folder / "results")
    assert done.returncode == 2
    assert "a run of detection" in done.stderr
    assert "Traceback" not in done.stderr


def test_data_check_counts_objects() -> None:
    checked = call("data", "check", "fashion-scenes-detection", "--processes", "0")
    assert checked.returncode == 0, checked.stderr
    assert "3,500 of 3,500 images with their boxes can be read" in checked.stdout
    assert (
        "test: 3,451 objects, of which 124 are ignored; 0 images without an object, at most 5 in one" in checked.stdout
    )


def test_disk_is_estimated_before_a_run(folder: Path) -> None:
    assert_stored_as_estimated(folder / "boxes.yaml", folder / "results")

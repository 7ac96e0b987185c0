"""A grid of segmentation from its file to the report, and what the other commands do with its runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from results.store.folder import Store
from results.tables.run import Run
from tests.benchmark.grid_runs import assert_equal_scores, assert_stored_as_estimated, run_grid
from tests.conftest import call
from tests.results.loaded import runs_by_method

pytestmark = pytest.mark.slow

GRID = """
name: scenes
backbones: [vit_nano_patch4_64]
datasets: [{name: fashion-scenes, set: {train: 40, val: 40, test: 40}}]
methods: [static, {name: truncated, set: {depth: 6}}, lgvit, {name: vanilla, set: {regime: joint}}]
exits: [[4, 8]]
policies: [map-confidence, {name: map-confidence, set: {score: agreement}}, random]
latency: [1]
recipes:
  finetune: {epochs: 2, batch_size: 10, lr: 3.0e-3, augment: flip}
  joint: {epochs: 2, batch_size: 10, lr: 3.0e-3, augment: scale-crop-flip}
  exits: {epochs: 1, batch_size: 10, lr: 1.0e-2, augment: none}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("segmentation")
    (made / "scenes.yaml").write_text(GRID, encoding="utf-8")
    printed = run_grid(made / "scenes.yaml", made / "results", "--out", made / "report")
    assert "mIoU" in printed
    return made


@pytest.fixture(scope="module")
def runs(folder: Path) -> dict[str, Run]:
    return runs_by_method(Store(folder / "results"))


def test_the_numbers_of_every_record_follow_from_its_tables(runs: dict[str, Run]) -> None:
    assert len(runs) == 4  # `load_runs` compares each record with its tables
    for run in runs.values():
        assert run.is_segmentation
        assert all(0 < exit_.test_accuracy < 1 for exit_ in run.record.exits)
    assert len(runs["lgvit"].record.exits) == 3


def test_times_of_true_dynamic_inference_are_measured(runs: dict[str, Run]) -> None:
    for name in ("lgvit", "vanilla(regime=joint)"):
        (latency,) = runs[name].latencies
        assert latency.timings[0].dynamic.p50 > 0
        assert latency.audit.answers >= 10


def test_examples_show_what_the_scores_say(folder: Path, runs: dict[str, Run]) -> None:
    run = runs["lgvit"]
    stage = next(reference for reference in run.record.stages[::-1] if reference.stage == "scores")
    maps = load_file(folder / "results" / "stages" / stage.name / "test.safetensors")["maps"].numpy()
    for i, example in enumerate(run.examples):
        assert (example.answers == maps[:, i]).all()
        assert example.image.shape == (64, 64, 1)
        assert set(np.unique(example.label)) <= set(range(11))


def test_the_report_has_scenes_and_names_the_metric(folder: Path) -> None:
    assert any("scenes" in path.name for path in (folder / "report" / "figures").iterdir())
    assert "mIoU" in (folder / "report" / "table.txt").read_text(encoding="utf-8")


def test_policies_of_maps_can_be_swept_and_others_are_refused(folder: Path, runs: dict[str, Run]) -> None:
    swept = call(
        "sweep", "--grid", folder / "scenes.yaml", "--results", folder / "results", "--best", "--budget", "0.75"
    )
    assert swept.returncode == 0, swept.stderr
    assert "map-confidence" in swept.stdout
    refused = call("sweep", "--grid", folder / "scenes.yaml", "--results", folder / "results", "--policy", "entropy")
    assert refused.returncode == 2
    assert "entropy does not read what segmentation gives" in refused.stderr


@pytest.mark.parametrize("command", [("predict", "RUN", "IMAGES"), ("explain", "RUN")])
def test_commands_of_classification_say_so(folder: Path, runs: dict[str, Run], command: tuple[str, ...]) -> None:
    run = runs["lgvit"].record.run_id[-8:]
    words = [{"RUN": run, "IMAGES": str(folder)}.get(word, word) for word in command]
    done = call(*words, "--results", folder / "results")
    assert done.returncode == 2
    assert "a run of segmentation" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_same_grid_gives_the_same_bits(folder: Path) -> None:
    run_grid(folder / "scenes.yaml", folder / "again", "--format", "none", "--set", "latency=[]")
    assert_equal_scores(folder / "results", folder / "again")


def test_disk_is_estimated_before_a_run(folder: Path) -> None:
    assert_stored_as_estimated(folder / "scenes.yaml", folder / "results")

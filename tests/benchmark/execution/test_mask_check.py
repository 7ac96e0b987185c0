"""Masks that are not in memory are all read before a training, so that a wrong one in any split ends the command at once.
A run on such masks names its val split."""

from __future__ import annotations

import io
import json
import multiprocessing
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from benchmark.cli import start
from benchmark.errors import Interrupted
from benchmark.execution.building import Builder
from benchmark.execution.checking import check_masks
from benchmark.execution.config import ExecutionConfig
from benchmark.execution.task import run_task
from benchmark.grid.load import load_grid
from benchmark.progress import Reporter
from benchmark.stages.graph import run_stages
from benchmark.stages.plan import Plan, make_plan
from datasets import DATASETS, oxford_pets
from datasets.api import DataError, ImageSplit
from datasets.masks import MaskFiles
from results.store.folder import Store
from tests.datasets.formats import write_pets
from tests.grids import write_grid

TRIMAP = np.array([[1, 1, 3, 2], [1, 3, 2, 2], [3, 2, 2, 2]], np.uint8)
WRONG = {
    "has 5 x 3 pixels": Image.new("L", (5, 3), 1),
    "the value 77": Image.new("L", (4, 3), 77),
    "pixels of the kind RGB": Image.new("RGB", (4, 3)),
}


def read_small(folder: Path) -> dict[str, ImageSplit]:
    return oxford_pets.read(folder, val_per_breed=1)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder, with 9, 3 and 6 photos of pets, none of which is small enough to stay in memory."""
    card = replace(oxford_pets.OXFORD_PETS, target=f"{__name__}:read_small", sizes={"train": 9, "val": 3, "test": 6})
    monkeypatch.setitem(DATASETS, "oxford-pets", card)
    monkeypatch.setattr(ImageSplit.in_memory, "__defaults__", (0,))
    write_pets(tmp_path / "data", breeds=3, trainval=4, test=2, values=TRIMAP)
    return tmp_path / "data"


def grid_file(folder: Path) -> Path:
    recipe = {"epochs": 1, "batch_size": 5, "augment": "none"}
    return write_grid(
        folder / "grid.yaml", backbones=["vit_nano_patch4_64"], datasets=["oxford-pets"], methods=["vanilla", "static"],
        recipes={"finetune": recipe, "exits": recipe}, policies=["map-confidence"],
    )  # fmt: skip


def planned(folder: Path) -> Plan:
    return make_plan(load_grid(grid_file(folder)), Store(folder / "results"))


def builder(data: Path, processes: int = 0) -> Builder:
    return Builder(Store(data.parent / "results"), torch.device("cpu"), data, processes)


def mask_of(data: Path, split: str) -> Path:
    masks = read_small(data)[split].masks
    assert isinstance(masks, MaskFiles)
    return masks.path(len(masks) - 1)


@pytest.mark.parametrize("message", WRONG)
def test_a_wrong_mask_in_test_ends_the_command_before_anything_is_trained(
    data: Path, message: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = mask_of(data, "test")
    WRONG[message].save(path)
    forks = multiprocessing.get_context("fork")  # whose processes have the patches of this test
    monkeypatch.setattr("benchmark.execution.pool.multiprocessing", SimpleNamespace(get_context=lambda method: forks))
    options = [
        "--grid",
        grid_file(data.parent),
        "--data-dir",
        data,
        "--results",
        data.parent / "results",
        "--threads",
        1,
    ]
    monkeypatch.setattr(sys, "argv", [*map(str, ["benchmark", "run", *options])])
    with pytest.raises(SystemExit) as end:
        start()
    printed, errors = capfd.readouterr()
    assert end.value.code == 2, errors
    assert errors.startswith(f"error: {path} ")
    assert message in errors
    assert errors.count("\n") == 1
    assert "checking 18 masks of oxford-pets before training" in printed
    assert not Store(data.parent / "results").done_stages()
    assert not list(data.parent.glob("results/progress/*"))


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("processes", [0, 1])
def test_masks_of_all_splits_are_read_once(data: Path, split: str, processes: int) -> None:
    shown = io.StringIO()
    check_masks(planned(data.parent), builder(data, processes), Reporter(Console(file=shown, width=200)))
    assert shown.getvalue().count("18 masks") == 2  # when it starts, and how long it took
    path = mask_of(data, split)
    WRONG["the value 77"].save(path)
    with pytest.raises(DataError, match=path.name):
        check_masks(planned(data.parent), builder(data, processes), Reporter(Console(quiet=True)))


def test_the_check_shows_how_far_it_is_and_can_be_stopped(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.progress.LINE_SECONDS", 0.0)
    shown = io.StringIO()
    check_masks(planned(data.parent), builder(data), Reporter(Console(file=shown, width=200)))
    assert "  9 of 18, " in shown.getvalue()
    assert " left" in shown.getvalue()
    with pytest.raises(Interrupted):
        check_masks(planned(data.parent), builder(data), Reporter(Console(quiet=True), lambda: True))


def test_masks_that_nothing_is_going_to_read_are_not_read(data: Path) -> None:
    plan = planned(data.parent)
    read = {stage.name for run in plan.runs for stage in run_stages(run.spec).chain if stage.kind != "cost"}
    shown = io.StringIO()
    check_masks(replace(plan, done_stages=frozenset(read)), builder(data), Reporter(Console(file=shown)))
    assert not shown.getvalue()


def test_thresholds_name_the_val_split_of_the_data_card(data: Path) -> None:
    """By sample ids and breeds, which the scores of a segmentation do not hold."""
    plan = planned(data.parent)
    (static,) = (run for run in plan.runs if run.spec.train.method.name == "static")
    config = ExecutionConfig(results=data.parent / "results", data_dir=data, device="cpu", loader_processes=0)
    names = [stage.name for stage in static.chain]
    run_task(plan, config, Reporter(Console(quiet=True)), stages=names, runs=[static.run_id])
    store = Store(config.results)
    frozen = json.loads((store.run(static.run_id) / "thresholds.json").read_text(encoding="utf-8"))
    assert frozen["val"] == store.done_record(static.run_id).data.split_identity["val"]
    assert frozen["samples"] == 3

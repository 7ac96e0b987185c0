"""Stages of a run read the same data, and the code of installed packages is that of the plan."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmark import provenance
from benchmark.errors import UserError
from benchmark.execution.data_check import check_data, check_dataset_version, write_data
from benchmark.execution.maker import check_packages
from benchmark.grid.load import load_grid
from benchmark.stages.graph import run_stages
from benchmark.stages.stage import RunStages
from benchmark.training.inputs import Inputs, read_inputs
from datasets.api import DataError, ImageSplit
from methods import lookup
from methods.api import HeadCard
from methods.heads import HEADS
from results.store.folder import Store
from tests.grids import write_grid


def planned(folder: Path) -> RunStages:
    return run_stages(load_grid(write_grid(folder / "grid.yaml", methods=["vanilla"])).runs[0])


def with_another(inputs: Inputs, split: str, part: str) -> Inputs:
    """The same inputs, with one image or one label changed."""
    before = inputs.splits[split]
    images, labels = before.images.copy(), before.labels.copy()
    changed = images if part == "images" else labels
    changed[0] = (changed[0] + 1) % 10
    return replace(inputs, splits={**inputs.splits, split: ImageSplit(images, labels, before.sample_id)})


@pytest.mark.parametrize("part", ["images", "labels"])
def test_a_stage_that_reads_other_data_than_its_parents_ends_in_one_sentence(tmp_path: Path, part: str) -> None:
    run, store = planned(tmp_path), Store(tmp_path / "results")
    store.prepare()
    inputs = read_inputs(run.spec.train, None, workers=0)
    with store.write_stage(run.reference.name, run.reference.fields, provenance.stage_provenance("cpu", 0.0)) as folder:
        write_data(run.reference, inputs, folder)
    (exits,) = run.training[1:]
    check_data(exits.name, inputs, exits.parents, store)
    check_data(run.scores.name, with_another(inputs, "val", part), run.scores.parents, store)  # val trains nothing
    with pytest.raises(DataError) as refusal:
        check_data(exits.name, with_another(inputs, "train", part), exits.parents, store)
    assert "\n" not in str(refusal.value)
    for word in (exits.name, run.reference.name, "train", "fashion-mnist-mini"):
        assert word in str(refusal.value)


def test_a_stage_planned_for_other_data_ends_in_one_sentence(tmp_path: Path) -> None:
    """Each kind of stage that reads data, as on a node whose copy of the images differs."""
    run = planned(tmp_path)
    card = read_inputs(run.spec.train, None, workers=0).card
    other = replace(card, fingerprint="0" * 64)
    for stage in (run.reference, run.scores):
        check_dataset_version(stage, card)
        with pytest.raises(DataError) as refusal:
            check_dataset_version(stage, other)
        for word in (stage.name, "fashion-mnist-mini", card.fingerprint, other.fingerprint):
            assert word in str(refusal.value)


def test_the_code_of_a_package_is_part_of_the_key_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "packages" / "outside_heads_of_a_test"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from methods.heads.linear import LinearHead as Head\n")
    monkeypatch.syspath_prepend(package.parent)
    card = HeadCard(target=f"{package.name}:Head", summary="")
    monkeypatch.setattr(lookup, "registered_outside", lambda kind: {"linear": card} if kind == "head" else {})
    monkeypatch.delitem(HEADS, "linear")
    run = planned(tmp_path)
    (exits,) = run.training[1:]
    check_packages(exits)
    (package / "more.py").write_text("x = 1\n")
    assert planned(tmp_path).training[1].key != exits.key
    assert planned(tmp_path).reference.key == run.reference.key
    with pytest.raises(UserError) as refusal:
        check_packages(exits)
    assert exits.name in str(refusal.value)
    assert "code_version" in str(refusal.value)
    sys.modules.pop(package.name, None)


def test_other_integers_become_labels_and_fractions_are_no_images() -> None:
    images = np.zeros((2, 4, 4, 1), np.uint8)
    split = ImageSplit(images, np.array([0, 1], np.int32), np.array([0, 1], np.int16))
    assert split.labels.dtype == split.sample_id.dtype == np.int64
    with pytest.raises(DataError, match="float32"):
        ImageSplit((images / 255).astype(np.float32), np.arange(2), np.arange(2))
    with pytest.raises(DataError, match="labels of type float64"):
        ImageSplit(images, np.array([0.0, 1.0]), np.arange(2))

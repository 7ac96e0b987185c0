"""The atlas of test images by exit, and which images it may show."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.pictures import Pictures
from datasets.fashion_mnist import MINI
from reports.sections.atlas import EACH, exit_samples
from results.spec import Configured
from results.store.folder import Store
from results.tables.loading import load_runs
from results.tables.run import Run
from tests.conftest import SmokeRun


def lgvit(smoke: SmokeRun) -> Run:
    store = Store(smoke.results)
    runs, _ = load_runs(store, store.run_ids())
    return next(run for run in runs if run.method == "lgvit")


def test_the_atlas_shows_samples_of_each_exit(smoke: SmokeRun) -> None:
    run = lgvit(smoke)
    point = next(point for point in run.record.points if point.reached and len(point.settings) == 1)
    outcomes = run.outcomes[run.outcomes["point"] == point.name].set_index("sample_id")
    blocks = {exit_.block: k for k, exit_ in enumerate(run.record.exits)}
    samples = exit_samples(run, point)
    assert sum(row.share for row in samples) == pytest.approx(1)
    for row in samples:
        chosen = outcomes.loc[row.sample_id]
        assert (chosen["exit"] == blocks[row.block]).all()
        assert ((chosen["prediction"] == chosen["label"]).to_numpy() == row.right).all()
        there = outcomes[outcomes["exit"] == blocks[row.block]]
        assert len(row.sample_id) == min(EACH, len(there))
        assert chosen["label"].nunique() == min(EACH, there["label"].nunique())


def test_pictures_are_the_test_images_and_only_where_they_may_be_shown(smoke: SmokeRun) -> None:
    record = lgvit(smoke).record
    test = MINI.read(None)["test"]
    ids = [int(sample) for sample in lgvit(smoke).answers.sample_id[[0, 7, 3]]]
    images = Pictures(None)(record, ids)
    assert images is not None
    for sample, image in zip(ids, images, strict=True):
        assert np.array_equal(image, test.images[np.flatnonzero(test.sample_id == sample)[0]])
    elsewhere = record.spec.with_train(dataset=Configured(name="folder:/etc"))
    for other in (
        record.model_copy(update={"data": record.data.model_copy(update={"redistributable": False})}),
        record.model_copy(update={"data": record.data.model_copy(update={"split_identity": {"test": "0" * 64}})}),
        record.model_copy(update={"spec": elsewhere}),
    ):
        assert Pictures(None)(other, ids) is None

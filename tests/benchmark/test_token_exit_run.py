"""Grids of token exit from their file to the records, and what other commands do with the runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from benchmark.cli.costs import command as costs_command
from benchmark.cli.latency import command as latency
from benchmark.errors import UserError
from benchmark.evaluation.scores import CHOSEN
from benchmark.evaluation.stored_runs import load_run_scores, stage_name
from benchmark.grid.load import load_grid
from benchmark.measure.dynamic import run_dynamic
from benchmark.measure.finished import load_model
from benchmark.stages.graph import run_stages
from benchmark.training.inputs import read_inputs
from methods.policies.map_signals import MapConfidence
from results.store.folder import Store
from results.tables.loading import load_runs
from tests.benchmark.grid_runs import run_grid
from tests.grids import write_grid

SCENES: dict[str, Any] = {
    "backbones": ["vit_nano_patch4_64"],
    "datasets": [{"name": "fashion-scenes", "set": {"train": 40, "val": 12, "test": 12}}],
    "policies": ["map-confidence"],
}
RECIPES = {
    "finetune": {"epochs": 1, "batch_size": 20, "augment": "none"},
    "exits": {"epochs": 1, "batch_size": 20, "augment": "none"},
}


def token_exit(**options: Any) -> dict[str, Any]:
    return {"name": "token-exit", "set": options}


def test_the_heads_are_those_of_vanilla_and_each_threshold_is_a_run(tmp_path: Path) -> None:
    methods = ["vanilla", token_exit(threshold=0.5), token_exit(threshold=0.9)]
    grid = load_grid(write_grid(tmp_path / "grid.yaml", methods=methods, recipes=RECIPES, **SCENES))
    vanilla, low, high = [run_stages(run) for run in grid.runs]
    assert vanilla.training == low.training == high.training
    assert vanilla.cost == low.cost
    assert len({vanilla.scores.key, low.scores.key, high.scores.key}) == 3
    assert (low.spec.train.exits, low.spec.train.token_exits) == ((), (3, 7))


def test_training_while_tokens_leave_is_a_training_of_its_own(tmp_path: Path) -> None:
    methods = [
        {"name": "vanilla", "set": {"regime": "mixed"}}, token_exit(regime="mixed"),
        token_exit(regime="mixed", trained=True), token_exit(regime="mixed", trained=True, threshold=0.5),
    ]  # fmt: skip
    grid = load_grid(write_grid(tmp_path / "grid.yaml", methods=methods, recipes=RECIPES, **SCENES))
    vanilla, afterwards, trained, other = [run_stages(run).training[-1].key for run in grid.runs]
    assert vanilla == afterwards
    assert len({vanilla, trained, other}) == 3


@pytest.mark.parametrize(("changes", "message"), [
    ({"methods": [token_exit()]}, "the token reduction token-exit has no form for classification"),
    ({"methods": [token_exit(threshold=0)], **SCENES}, "threshold must be above 0 and at most 1, not 0"),
    ({"methods": [token_exit(keep=0)], **SCENES}, "keep must be at least 1 token, not 0"),
    ({"methods": [token_exit(agreement=1.5)], **SCENES}, "agreement must be above 0 and at most 1, not 1.5"),
    ({"methods": [token_exit(agreement=0.9, threshold=0.5)], **SCENES}, "agreement takes the place of threshold"),
    ({"methods": [token_exit(trained=True)], **SCENES}, "regime is one of joint, mixed, alternating, not frozen"),
    ({"methods": [token_exit(trained=True, regime="mixed", agreement=0.9)], **SCENES}, "agreement is chosen after training"),
    ({"methods": [token_exit(merge=4)], **SCENES}, "merge removes patch tokens"),
    ({"methods": [token_exit()], **SCENES, "backbones": ["swin_nano_patch2_window7_28"]}, "'swin' needs its grid"),
])  # fmt: skip
def test_what_does_not_fit_is_refused_when_the_grid_is_planned(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        load_grid(write_grid(tmp_path / "grid.yaml", recipes=RECIPES, **changes))


def test_the_command_costs_has_no_answer_without_images() -> None:
    arguments = ["--backbone", "vit_nano_patch4_28", "--method", "token-exit", "--num-classes", "10"]
    with pytest.raises(UserError, match="its cost depends on the images"):
        CliRunner().invoke(costs_command, arguments, catch_exceptions=False)


@pytest.mark.slow
def test_chosen_thresholds_and_trained_models_are_stored_with_the_exits_of_the_tokens(tmp_path: Path) -> None:
    low = {"threshold": 0.08, "keep": 1}  # below 1 of 11 classes, so that all tokens are confident
    methods = ["vanilla", token_exit(agreement=0.5), token_exit(regime="mixed", trained=True, **low)]
    grid = write_grid(tmp_path / "grid.yaml", methods=methods, exits=[[3, 7]], recipes=RECIPES, **SCENES)
    store = Store(tmp_path / "results")
    run_grid(grid, store.root, "--format", "none")
    runs, problems = load_runs(store, store.run_ids())
    assert not problems
    of_tokens = [run for run in runs if run.record.spec.train.token_exits]
    assert len(of_tokens) == 2
    for run in of_tokens:
        stored = load_run_scores(store, run.record)["test"]
        assert stored.left is not None
        assert stored.maps is not None
        model = load_model(store, run.record, torch.device("cpu"))
        outputs = [model.forward_all(b.images) for b in read_inputs(run.record.spec.train, None).scoring("test")]
        assert torch.equal(torch.cat([one.logits[0].argmax(1) for one in outputs]), stored.maps[0].long())
        assert torch.equal(torch.cat([o.left for o in outputs if o.left is not None]), stored.left[0].flatten(1))
        for i, example in enumerate(run.examples):
            assert example.left is not None
            assert np.array_equal(example.left, stored.left[0, i].numpy())
        is_trained = run.record.spec.train.method.set.get("trained")
        chosen = list((store.root / "stages" / stage_name(run.record, "scores")).glob(CHOSEN))
        assert bool(chosen) != bool(is_trained)
    (vanilla,) = (run for run in runs if run.has_exits)
    assert all(example.left is None for example in vanilla.examples)


@pytest.mark.slow
def test_a_run_records_its_mean_cost_and_its_model_can_be_run_and_timed(tmp_path: Path) -> None:
    method = token_exit(threshold=0.08, keep=1)  # below 1 of 11 classes, so that all tokens are confident
    grid = write_grid(tmp_path / "grid.yaml", methods=[method], exits=[[3, 7]], recipes=RECIPES, **SCENES)
    results = tmp_path / "results"
    run_grid(grid, results, "--format", "none")
    store = Store(results)
    (run_id,) = store.run_ids()
    record = store.record(run_id)
    assert record.status == "done"
    stored = load_run_scores(store, record)["test"]
    assert stored.tokens is not None
    assert stored.tokens.shape == (1, 12, 12)
    assert int(stored.tokens[0, :, 3].max()) < 257
    (point,) = record.points
    assert point.test is not None
    assert point.test.mean_macs == record.costs.cumulative[0] < record.costs.baseline
    runs, problems = load_runs(store, [run_id])
    assert not problems
    assert not runs[0].has_exits
    model = load_model(store, record, torch.device("cpu"))
    images = next(iter(read_inputs(record.spec.train, None).scoring("test"))).images
    with torch.no_grad():
        outputs = model(images)
    routed = run_dynamic(model, MapConfidence(threshold=0.5), images)
    assert routed.answers is not None
    assert torch.equal(routed.answers, outputs[0].argmax(1))
    timing = ["--run", run_id, "--results", str(results), "--batch-size", "4", "--images", "12", "--threads", "1"]
    timed = CliRunner().invoke(latency, timing, catch_exceptions=False)
    assert timed.exit_code == 0, timed.output
    (measured,) = (json.loads(path.read_text()) for path in results.glob("stages/latency-*/latency.json"))
    assert measured["audit"]["answers"] == 10
    assert measured["timings"][0]["mac_speedup"] == pytest.approx(record.costs.baseline / record.costs.cumulative[0])

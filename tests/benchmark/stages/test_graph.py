"""Stage keys: which changes renew them, which do not, and which stages are shared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmark.errors import UserError
from benchmark.grid.load import find_grid, load_grid
from benchmark.registry import grids
from benchmark.stages.graph import run_stages
from benchmark.stages.keys import stage_key
from benchmark.stages.plan import make_plan, why_stale
from benchmark.stages.stage import RunStages
from results.store.folder import Store
from tests.results.builders import stage_provenance

BASE = {
    "datasets": "[fashion-mnist-mini]",
    "methods": "[lgvit]",
    "exits": "[paper]",
    "seeds": "[0]",
    "recipes": "{finetune: {epochs: 3}, exits: {epochs: 3}}",
    "policies": "[confidence]",
}


def stages(folder: Path, **changes: str) -> RunStages:
    path = folder / "grid.yaml"
    lines = [f"{key}: {value}" for key, value in (BASE | changes).items()]
    path.write_text("\n".join(["name: keys", "backbones: [vit_nano_patch4_28]", *lines]))
    (run,) = load_grid(path).runs
    return run_stages(run)


def names(run: RunStages) -> dict[str, str]:
    parts = {
        "finetune": run.reference,
        "exits": run.training[-1],
        "scores": run.scores,
        "cost": run.cost,
        "evaluate": run.evaluate,
    }
    return {name: stage.key for name, stage in parts.items() if stage is not None}


@pytest.mark.parametrize(("change", "stale"), [
    ({"recipes": "{finetune: {epochs: 4}, exits: {epochs: 3}}"}, {"finetune", "exits", "scores", "evaluate"}),
    ({"recipes": "{finetune: {epochs: 3}, exits: {epochs: 4}}"}, {"exits", "scores", "evaluate"}),
    ({"recipes": "{finetune: {epochs: 3}, exits: {epochs: 3, mixup: 0.8}}"}, {"exits", "scores", "evaluate"}),
    ({"recipes": "{finetune: {epochs: 3}, exits: {epochs: 3, mixup: 0, cutmix: 0.0, rand_augment: null}}"}, set()),
    ({"seeds": "[1]"}, {"finetune", "exits", "scores", "evaluate"}),
    ({"methods": "[vanilla]"}, {"exits", "scores", "cost", "evaluate"}),
    ({"methods": "[{name: lgvit, set: {feature_terms: false}}]"}, {"exits", "scores", "evaluate"}),
    ({"exits": "[[3, 6]]"}, {"exits", "scores", "cost", "evaluate"}),
    ({"exits": "[[4, 5, 6, 7, 8, 9, 10, 11]]"}, set()),
    ({"policies": "[{name: confidence, set: {threshold: 0.8}}]"}, {"evaluate"}),
    ({"datasets": "[{name: fashion-mnist-mini, set: {test: 500}}]"}, {"scores", "evaluate"}),
    ({"datasets": "[{name: fashion-mnist-mini, set: {train: 500}}]"}, {"finetune", "exits", "scores", "evaluate"}),
    ({"datasets": "[{name: fashion-mnist-mini, set: {split: halves}}]"}, {"finetune", "exits", "scores", "evaluate"}),
])  # fmt: skip
def test_a_changed_field_renews_the_stages_that_read_it(
    tmp_path: Path, change: dict[str, str], stale: set[str]
) -> None:
    before, after = names(stages(tmp_path)), names(stages(tmp_path, **change))
    assert {name for name in before if before[name] != after[name]} == stale


def test_resplits_and_as_published_share_their_training(tmp_path: Path) -> None:
    rules = ("{split: as-published}", "{split: halves}", "{split: halves, resplit: 1}")
    runs = [stages(tmp_path, datasets=f"[{{name: fashion-mnist-mini, set: {rule}}}]") for rule in rules]
    assert len({run.training[-1].key for run in runs}) == 1
    assert len({run.scores.key for run in runs}) == len({run.run_id for run in runs}) == 3


def test_methods_on_one_backbone_share_its_fine_tuning_and_one_pass(tmp_path: Path) -> None:
    lgvit, vanilla = stages(tmp_path), stages(tmp_path, methods="[vanilla]")
    assert lgvit.reference.key == vanilla.reference.key
    assert lgvit.static_scores.key == vanilla.static_scores.key
    assert lgvit.training[-1].shared_pass == vanilla.training[-1].shared_pass
    other = stages(tmp_path, recipes="{finetune: {epochs: 3}, exits: {epochs: 4}}").training[-1]
    assert other.shared_pass != lgvit.training[-1].shared_pass
    train_mode = stages(tmp_path, methods="[{name: lgvit, set: {frozen_mode: train}}]").training[-1]
    assert train_mode.shared_pass != lgvit.training[-1].shared_pass


def test_keys_are_equal_in_other_processes(tmp_path: Path) -> None:
    """A key depends on its fields only; this one is a constant."""
    run = stages(tmp_path)
    assert run.run_id.startswith("lgvit-vit_nano_patch4_28-fashion-mnist-mini-paper-s0-")
    assert run.run_id.endswith(run.evaluate.key[:8])
    assert names(run) == names(stages(tmp_path))


@pytest.mark.parametrize("name", grids())
def test_a_key_hashes_all_fields_of_its_stage(name: str) -> None:
    """The key is the hash of the fields in the manifest, and stages with the same key are equal."""
    for run in load_grid(find_grid(name)).runs[:50]:
        stages = run_stages(run)
        for stage in (*stages.chain, stages.evaluate):
            assert stage.key == stage_key(stage.kind, json.loads(json.dumps(stage.fields)))
        again = run_stages(run)
        assert again.run_id == stages.run_id
        assert again.chain == stages.chain


def test_why_names_the_field(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    old = stages(tmp_path).reference
    with store.write_stage(old.name, old.fields, stage_provenance()):
        pass
    new = stages(tmp_path, recipes="{finetune: {epochs: 4}, exits: {epochs: 3}}")
    assert why_stale(new.reference, store) == ["recipe.epochs: 3 -> 4"]
    assert why_stale(new.training[-1], store) == []


def test_a_plan_counts_finished_stages(tmp_path: Path) -> None:
    stages(tmp_path, methods="[static, lgvit]".replace("static, ", ""))
    grid = load_grid(tmp_path / "grid.yaml")
    store = Store(tmp_path / "results")
    plan = make_plan(grid, store)
    assert len(plan.missing_runs) == 1
    assert {stage.kind for stage in plan.missing_stages} == {"finetune", "exits", "scores", "cost"}
    finetune = plan.runs[0].reference
    with store.write_stage(finetune.name, finetune.fields, stage_provenance()):
        pass
    assert finetune.name not in {stage.name for stage in make_plan(grid, store).missing_stages}


def test_the_next_smaller_backbone_trains_as_its_static(tmp_path: Path) -> None:
    """The smaller backbone is trained once, also if it is both a backbone of the grid and a comparison."""
    grid = tmp_path / "grid.yaml"
    grid.write_text(
        "name: g\nbackbones: [vit_nano_patch4_28, vit_pico_patch4_28]\ndatasets: [fashion-mnist-mini]\n"
        "methods: [static, next-smaller]\nexclude: [{backbone: vit_pico_patch4_28, method: next-smaller}]\n"
    )
    nano, smaller, pico = (run_stages(run) for run in load_grid(grid).runs)
    assert smaller.training == smaller.training[:1]
    assert smaller.training[0].key == pico.reference.key != nano.reference.key
    assert smaller.scores.key == pico.scores.key
    assert smaller.static_scores.key == nano.scores.key
    assert smaller.cost.key not in (nano.cost.key, pico.cost.key)
    grid.write_text(grid.read_text().split("exclude")[0])
    with pytest.raises(UserError, match="next-smaller: no smaller backbone"):
        load_grid(grid)

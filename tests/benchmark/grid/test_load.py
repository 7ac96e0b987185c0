"""Grid files: the runs they expand to."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.grid.load import find_grid, load_grid
from benchmark.registry import grids
from benchmark.stages.graph import run_stages
from results.spec import RunSpec
from tests.benchmark.grid.expansion import SOUND, expand


@pytest.mark.parametrize("name", grids())
def test_every_shipped_grid_is_valid_and_has_the_name_of_its_file(name: str) -> None:
    grid = load_grid(find_grid(name))
    assert grid.name == name
    assert grid.runs


def test_quick_has_the_documented_runs() -> None:
    runs = load_grid(find_grid("quick")).runs
    assert [run.train.method.name for run in runs] == [
        "static",
        "lgvit",
        "vanilla",
        "class-patch-mean",
        "homogeneous-local",
        "homogeneous-global",
    ]
    assert {run.train.exits for run in runs} == {(), (4, 5, 6, 7, 8, 9, 10, 11)}


@pytest.mark.parametrize("name", ["segmentation-cpu", "detection-cpu", "detection-voc", "detection-coco"])
def test_grids_of_other_tasks_compare_heads_with_the_controls(name: str) -> None:
    methods = {run.train.method.name: run.train.method.set for run in load_grid(find_grid(name)).runs}
    assert methods["lower-resolution"] == {"share": 0.75}
    assert set(methods) >= {"static", "truncated", "lgvit", "vanilla", "homogeneous-local", "homogeneous-global"}


@pytest.mark.parametrize("name", [f"segmentation-{of}" for of in ("heads-cpu", "pets", "voc", "ade20k")])
def test_grids_of_segmentation_compare_lgvit_with_each_kind_of_head_at_every_exit(name: str) -> None:
    kinds = ("local", "global", "mlp", "convolution", "attention")
    methods = {run.train.method.name for run in load_grid(find_grid(name)).runs}
    assert methods >= {"static", "lgvit", "vanilla", *(f"homogeneous-{kind}" for kind in kinds)}


def test_two_grids_of_segmentation_share_the_backbone() -> None:
    ours, theirs = (
        {run.train.seed: run_stages(run).reference.key for run in load_grid(find_grid(grid)).runs}
        for grid in ("segmentation-heads-cpu", "segmentation-cpu")
    )
    assert ours == theirs


def test_four_keys_are_a_complete_grid(tmp_path: Path) -> None:
    static, lgvit = expand(tmp_path, SOUND)
    assert lgvit.train.exits == (4, 5, 6, 7, 8, 9, 10, 11)
    assert lgvit.train.seed == 0
    assert [policy.name for policy in lgvit.policies] == ["confidence"]
    assert static.train.exits == ()


def test_axes_multiply_and_static_runs_once_per_seed(tmp_path: Path) -> None:
    runs = expand(tmp_path, SOUND + "exits: [paper, [3, 9], {name: deep, set: {count: 2}}]\nseeds: [0, 1]\n")
    assert len(runs) == 2 * (3 + 1)
    assert {run.train.exits for run in runs} == {(), (4, 5, 6, 7, 8, 9, 10, 11), (3, 9), (10, 11)}


def test_include_adds_and_exclude_leaves_out(tmp_path: Path) -> None:
    runs = expand(
        tmp_path,
        SOUND
        + "seeds: [0, 1]\nexclude: [{method: lgvit, seed: 1}]\ninclude: [{method: vanilla, exits: [6], seed: 5}]\n",
    )
    combinations = {(run.train.method.name, run.train.exits, run.train.seed) for run in runs}
    paper = (4, 5, 6, 7, 8, 9, 10, 11)
    assert combinations == {("static", (), 0), ("static", (), 1), ("lgvit", paper, 0), ("vanilla", (6,), 5)}


def test_a_method_with_the_same_exits_in_two_schemes_is_run_in_both(tmp_path: Path) -> None:
    """So that it can be compared with the others in each; the trainings are shared."""
    runs = expand(tmp_path, SOUND.replace("lgvit]", "lgvit, deebert]") + "exits: [paper, published]\n")
    lgvit = [run for run in runs if run.train.method.name == "lgvit"]
    assert [run.scheme for run in lgvit] == ["paper", "published"]
    assert lgvit[0].train == lgvit[1].train
    first, second = map(run_stages, lgvit)
    assert first.run_id != second.run_id
    assert first.training == second.training
    assert sum(run.train.method.name == "static" for run in runs) == 1


def test_recipes_change_what_they_name_and_keep_the_rest(tmp_path: Path) -> None:
    run = expand(tmp_path, SOUND + "recipes: {exits: {epochs: 2, lr: 1e-3}}\n")[1]
    assert run.train.recipes.exits.epochs == 2
    assert run.train.recipes.exits.lr == 1e-3  # YAML reads 1e-3 as text
    assert run.train.recipes.finetune.epochs == 30


def test_a_split_rule_is_in_every_name(tmp_path: Path) -> None:
    text = SOUND.replace(
        "[fashion-mnist-mini]", "[{name: fashion-mnist-mini, set: {split: as-published, train: 8000}}]"
    )
    run = expand(tmp_path, text)[1]
    assert run.train.dataset.label == "fashion-mnist-mini(split=as-published, train=8000)"
    assert "-fashion-mnist-mini_as-published-" in run_stages(run).run_id


@pytest.mark.parametrize(
    "dataset", ["cifar-10", "cifar-100", "food-101", "tiny-imagenet", "imagenet-1k", "fashion-mnist"]
)
def test_every_dataset_plans_without_its_data(tmp_path: Path, dataset: str) -> None:
    runs = expand(
        tmp_path, SOUND.replace("fashion-mnist-mini", dataset) + "recipes: {finetune: {augment: crop-flip}}\n"
    )
    assert run_stages(runs[1]).reference.fields["dataset"]["sizes"].keys() == {"train"}


def test_own_policy_and_published_exits_are_those_of_each_method(tmp_path: Path) -> None:
    text = (
        SOUND.replace("[static, lgvit]", "[lgvit, pabee, pcee-port]")
        + "exits: [published]\npolicies: [own, confidence]\n"
    )
    lgvit, pabee, pcee = expand(tmp_path, text)
    assert [policy.label for policy in lgvit.policies] == ["confidence"]
    assert [policy.label for policy in pabee.policies] == ["patience", "confidence"]
    assert pcee.policies[0].label == "pcee(normalised=False, patience=2)"
    assert pabee.train.exits == tuple(range(1, 12))
    assert lgvit.train.exits == tuple(range(4, 12))


def test_learning_rates_scale_what_a_method_trains_with_and_nothing_else(tmp_path: Path) -> None:
    methods = "[static, two-resolutions, lgvit, sdn, {name: lgvit, set: {regime: alternating-frozen}}]"
    runs = expand(tmp_path, SOUND.replace("[static, lgvit]", methods) + "learning_rates: [0.5, 2]\n")
    static, untrained, *tuned = runs
    assert static.learning_rates == ()
    assert untrained.learning_rates == (0.5, 2)  # so that it is compared with the others, although it has one run
    rates = [tuple(getattr(run.train.recipes, stage).lr for stage in ("finetune", "joint", "exits")) for run in tuned]
    assert rates == [
        (3e-3, 3e-3, 1.5e-2), (3e-3, 3e-3, 6e-2),  # frozen
        (3e-3, 1.5e-3, 3e-2), (3e-3, 6e-3, 3e-2),  # joint
        (3e-3, 1.5e-3, 1.5e-2), (3e-3, 6e-3, 6e-2),  # both
    ]  # fmt: skip
    # A run of its own, with the same settings, is not a candidate of the tuning: it has another id.
    (_, alone) = expand(tmp_path, SOUND)
    (first, *_) = expand(tmp_path, SOUND.replace("static, ", "") + "learning_rates: [1, 2]\n")
    assert first.train == alone.train
    assert run_stages(first).run_id != run_stages(alone).run_id
    assert run_stages(first).scores.key == run_stages(alone).scores.key


def test_competitors_with_equal_training_share_it(tmp_path: Path) -> None:
    methods = "[sdn-port, pabee-port, pcee-port, pabee, pcee, {name: pabee-port, set: {equal_epochs: false}}]"
    runs = expand(tmp_path, SOUND.replace("[static, lgvit]", methods))
    keys = [run_stages(run).training[-1].key for run in runs]
    assert keys[0] == keys[1] == keys[2]
    assert keys[3] == keys[4] != keys[0]
    recipes = [run_stages(run).training[-1].recipe for run in (runs[1], runs[-1])]
    assert [recipe.epochs for recipe in recipes if recipe] == [30 + 12, 30]


def test_a_second_stage_with_the_backbone_has_the_recipe_of_joint_training_and_the_epochs_of_the_second_stage(
    tmp_path: Path,
) -> None:
    methods = "[{name: lgvit, set: {regime: mixed}}, {name: lgvit, set: {regime: alternating-frozen}}]"
    mixed, both = (run_stages(run).training for run in expand(tmp_path, SOUND.replace("[static, lgvit]", methods)))
    finetuned, together = (stage.recipe for stage in mixed)
    recipes = mixed[0].run.train.recipes
    assert (finetuned, together) == (
        recipes.finetune,
        recipes.joint.model_copy(update={"epochs": recipes.exits.epochs}),
    )
    assert [stage.recipe for stage in both] == [recipes.joint, recipes.exits]


def test_every_seed_gives_a_complete_run_of_its_own(tmp_path: Path) -> None:
    runs = expand(tmp_path, SOUND + "seeds: [3, 1]\npolicies: [own, confidence]\n")
    assert [run.train.seed for run in runs] == [3, 1, 3, 1]
    for run in runs:
        assert RunSpec.model_validate_json(run.model_dump_json()) == run


def test_values_are_replaced_from_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(SOUND)
    runs = load_grid(path, changes=["recipes.finetune.epochs=5", "seeds=[3, 4]", "methods = [lgvit]"]).runs
    assert [(run.train.seed, run.train.method.name) for run in runs] == [(3, "lgvit"), (4, "lgvit")]
    assert {run.train.recipes.finetune.epochs for run in runs} == {5}

"""Grid files: the runs they expand to, and one sentence for every mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.errors import UserError
from benchmark.grid.load import find_grid, load_grid
from benchmark.registry import grids
from benchmark.stages.graph import run_stages
from results.spec import RunSpec
from tests.benchmark.grid.expansion import SOUND, expand, mistakes
from tests.conftest import Command


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


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    messages = mistakes(
        tmp_path,
        """
        name: mine
        backbones: [vit_nano_patch4_82, vit_nano_patch4_28]
        datasets: [fashion-mnist-mimi]
        methods: [lgvitt, {name: lgvit, set: {feature_term: true}}, {nam: vanilla}]
        exits: [papr, [4, 4], [3, 12]]
        seeds: [0, -1]
        recipes: {finetune: {epochs: many, learning_rate: 1}, exit: {epochs: 3}}
        policies: [confidense]
        sedes: [1]
        """,
    )
    assert len(messages) == len(set(messages))
    text = "\n".join(messages)
    for part in (
        "sedes: unknown key 'sedes'; did you mean 'seeds'?",
        "recipes.finetune.epochs: Input should be a valid integer",
        "recipes.finetune.learning_rate: unknown key 'learning_rate'",
        "recipes.exit: unknown key 'exit'; did you mean 'exits'?",
        "backbones[0]: unknown backbone 'vit_nano_patch4_82'",
        "exits[1]: block 4 is given more than once",
        "policies[0]: unknown policy 'confidense'",
    ):
        assert part in text


def test_mistakes_in_names_are_reported_at_once(tmp_path: Path) -> None:
    messages = mistakes(
        tmp_path,
        """
        name: mine
        backbones: [vit_nano_patch4_82, vit_nano_patch4_28]
        datasets: [fashion-mnist-mimi, {name: fashion-mnist-mini, set: {train: 5}}]
        methods: [lgvitt, {name: lgvit, set: {feature_term: true}}, {nam: vanilla}, {name: lgvit, set: {feature_terms: 3}}]
        exits: [papr, [4, 4], [], {name: deep, set: {cuont: 3}}]
        seeds: [0, -1]
        policies: [confidense]
        """,
    )
    text = "\n".join(messages)
    for part in (
        "backbones[0]: unknown backbone 'vit_nano_patch4_82'; did you mean 'vit_nano_patch4_",
        "datasets[0]: unknown dataset 'fashion-mnist-mimi'; did you mean 'fashion-mnist-mini'?",
        "datasets[1].set.train: a whole number of images from 10 to 6000, not 5",
        "methods[0]: unknown method 'lgvitt'; did you mean 'lgvit'?",
        "methods[1]: method 'lgvit' has no option 'feature_term'; did you mean 'feature_terms'?",
        "methods[2].nam: unknown key 'nam'; did you mean 'name'?",
        "methods[2].name: this key is required",
        "methods[3]: method 'lgvit': option 'feature_terms': Input should be a valid boolean",
        "exits[0]: unknown exit scheme 'papr'; did you mean 'paper'?",
        "exits[1]: block 4 is given more than once",
        "exits[2]: an empty list",
        "exits[3].set: unknown key 'cuont'; did you mean 'count'?",
        "seeds[1]: a seed is a whole number from 0",
        "policies[0]: unknown policy 'confidense'; did you mean 'confidence'?",
    ):
        assert part in text


@pytest.mark.parametrize(("extra", "sentence"), [
    ("exits: [[3, 12]]", "exits: block 12 cannot be an early exit of vit_nano_patch4_28: it has 12 blocks, exits are 1 to 11"),
    ("exits: [{name: deep, set: {count: 12}}]", "exits: 12 early exits: a backbone of 12 blocks has 1 to 11"),
    ("exits: [[a, 3]]", "exits[0]: 1-based block numbers, not ['a', 3]"),
    ("seeds: []", "seeds: is empty, so the grid has no run"),
    ("seeds: 3", "seeds: Input should be a valid list, not 3"),
    ("exclude: [{seed: 0}]", "exclude: leaves no run"),
    ("exclude: [{sed: 0}]", "exclude[0]: unknown key 'sed'; did you mean 'seed'?"),
    ("recipes: {finetune: {augment: flop}}", "recipes.finetune.augment: unknown augmentation 'flop'; did you mean 'flip'?"),
    ("recipes: {finetune: {augment: scale-crop-flip}}", "recipes.finetune.augment: classification has no scale-crop-flip"),
    ("recipes: {exits: {rand_augment: rand-x9}}", "recipes.exits.rand_augment: 'x9' in 'rand-x9' is not in timm's form"),
    ("recipes: {exits: {erasing: 2}}", "recipes.exits.erasing: Input should be less than or equal to 1, not 2"),
    ("recipes: {finetune: {mixup: true}}", "recipes.finetune.mixup: Value error, a number, not true or false"),
    ("recipes: {finetune: {cutmx: 1}}", "recipes.finetune.cutmx: unknown key 'cutmx'; did you mean 'cutmix'?"),
    ("recipes: {finetune: {lr: true}}", "recipes.finetune.lr: Value error, a number, not true or false"),
    ("recipes: {finetune: {lr: -1}}", "recipes.finetune.lr: Input should be greater than 0"),
    ("recipes: [1]", "recipes: Input should be a valid dictionary"),
])  # fmt: skip
def test_one_mistake_one_sentence(tmp_path: Path, extra: str, sentence: str) -> None:
    messages = mistakes(tmp_path, SOUND + extra)
    assert len(messages) == 1
    assert messages[0].startswith(sentence)


@pytest.mark.parametrize(("text", "sentence"), [
    (SOUND + "seeds: [1]\nseeds: [2]", "not valid YAML (the key 'seeds' is given twice"),
    (SOUND.replace("mine", "../up"), "name: Value error, a name has letters"),
    ("", "a grid is a mapping"), ("[1]", "a grid is a mapping"), ("name: [", "not valid YAML"),
    ("name: mine", "backbones: this key is required"),
    ("!!python/object/apply:os.system ['true']", "not valid YAML"),
])  # fmt: skip
def test_invalid_grids_are_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    assert mistakes(tmp_path, text)[0].startswith(sentence)


def test_the_command_line_prints_them_and_exits_with_2(tmp_path: Path, benchmark_command: Command) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(SOUND + "sedes: [1]\nrecipes: {finetune: {epoch: 3}}\n")
    done = benchmark_command("run", "--grid", path, "--results", tmp_path / "results")
    assert done.returncode == 2
    assert done.stderr.count("error: ") == 2
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(("options", "sentence"), [
    ("split: as-publihed", ".split: unknown split rule 'as-publihed'; did you mean 'as-published'?"),
    ("split: [halves]", ".split: unknown split rule"),
    ("split: halves, resplit: 10", ".resplit: a whole number from 0 to 9, not 10"),
    ("corruption: fog", ".corruption: {name, severity}"),
    ("corruption: {name: rain, severity: 2}", ".corruption: name is one of gaussian_noise, "),
    ("corruption: {name: fog, severity: 6}", ".corruption: severity is a whole number from 1 to 5, not 6"),
    ("split: as-published, corruption: {name: fog, severity: 1}", ".corruption: val is the test split"),
    ("resplit: 1", ".resplit: goes with split: halves only"),
    ("split: halves, val: 2001", ".val: a whole number of images from 10 to 2000, not 2001"),
    ("split: as-published, test: 100", ".val: val is the test split here"),
    ("splt: halves", ": unknown key 'splt'; did you mean 'split'?"),
])  # fmt: skip
def test_split_rules_are_checked(tmp_path: Path, options: str, sentence: str) -> None:
    text = SOUND.replace("[fashion-mnist-mini]", "[{name: fashion-mnist-mini, set: {" + options + "}}]")
    (message,) = mistakes(tmp_path, text)
    assert message.startswith(f"datasets[0].set{sentence}")


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


def test_selection_on_training_images_of_the_weights_is_refused(tmp_path: Path) -> None:
    text = SOUND.replace("vit_nano_patch4_28", "vit_tiny_patch16_224").replace("fashion-mnist-mini", "imagenet-1k")
    (refused,) = mistakes(tmp_path, text)
    assert refused.startswith("datasets: vit_tiny_patch16_224: thresholds would be chosen on val images of imagenet-1k")
    assert expand(tmp_path, text.replace("imagenet-1k", "{name: imagenet-1k, set: {split: halves, resplit: 2}}"))
    assert expand(tmp_path, text + "policies: [{name: confidence, set: {threshold: 0.9}}]\n")
    assert expand(tmp_path, text.replace("static, lgvit", "static"))
    assert mistakes(tmp_path, text + "policies: [{name: confidence, set: {threshold: 0.9}}, entropy]\n")


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


@pytest.mark.parametrize(("extra", "sentence"), [
    ("policies: [learned-gate]", "policies: learned-gate reads a gate that the exits of lgvit do not have"),
    ("policies: [{name: own, set: {threshold: 0.5}}]", "policies[0]: 'own' has no options"),
    ("exits: [{name: published, set: {count: 3}}]", "exits[0].set: published has no options"),
    ("learning_rates: [0]", "learning_rates.0: Input should be greater than 0"),
])  # fmt: skip
def test_options_of_methods_are_checked(tmp_path: Path, extra: str, sentence: str) -> None:
    assert any(message.startswith(sentence) for message in mistakes(tmp_path, SOUND + extra + "\n"))


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


@pytest.mark.parametrize(("change", "parts"), [
    ("recipes.finetune.epochs", ("--set", "KEY=VALUE")), ("=5", ("--set", "KEY=VALUE")),
    ("recipes..epochs=5", ("--set", "KEY=VALUE")), ("name.x=5", ("--set", "name has no keys")),
    ("seeds=[0", ("--set", "seeds=[0")), ("recipes.finetune.epoch=5", ("'epoch'", "'epochs'")),
    ("seed=1", ("'seed'", "'seeds'")), (f"seeds=[{'9' * 5000}]", ("5,000 digits",)),
    ("seeds=[-1]", ("seeds[0]", "-1")), ("seeds=[1.5]", ("seeds[0]", "1.5")), ("seeds=[a]", ("seeds[0]", "'a'")),
    ("seeds=[true]", ("seeds[0]", "True")), ("seeds=5", ("seeds", "list")),
])  # fmt: skip
def test_a_mistake_in_a_replaced_value_is_one_sentence(tmp_path: Path, change: str, parts: tuple[str, ...]) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(SOUND)
    with pytest.raises(UserError) as error:
        load_grid(path, changes=[change])
    (message,) = error.value.messages
    assert all(part in message for part in parts)
    assert len(message) < 500

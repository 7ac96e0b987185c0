"""One sentence for every mistake in a grid file."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.errors import UserError
from benchmark.grid.load import load_grid
from tests.benchmark.grid.expansion import SOUND, expand, mistakes
from tests.conftest import Command


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
    ("seeds: [0, 1, 0]", "seeds[2]: is the same as seeds[0]"),
    ("policies: [null]", "policies[0]: Input should be a valid dictionary, not empty"),
    ("latency: [a]", "latency[0]: Input should be a valid integer, not 'a'"),
    ("exclude: [{}]", "exclude[0]: names none of backbone, dataset, method, exits, seed"),
    ("exclude: [{seed: 0}]", "exclude: leaves no run"),
    ("exclude: [{sed: 0}]", "exclude[0]: unknown key 'sed'; did you mean 'seed'?"),
    ("recipes: {finetune: {augment: flop}}", "recipes.finetune.augment: unknown augmentation 'flop'; did you mean 'flip'?"),
    ("recipes: {finetune: {augment: scale-crop-flip}}", "recipes.finetune.augment: classification has no scale-crop-flip"),
    ("recipes: {exits: {rand_augment: rand-x9}}", "recipes.exits.rand_augment: 'x9' in 'rand-x9' is not in timm's form"),
    ("recipes: {exits: {erasing: 2}}", "recipes.exits.erasing: Input should be less than or equal to 1, not 2"),
    ("recipes: {finetune: {mixup: true}}", "recipes.finetune.mixup: a number, not true or false"),
    ("recipes: {finetune: {cutmx: 1}}", "recipes.finetune.cutmx: unknown key 'cutmx'; did you mean 'cutmix'?"),
    ("recipes: {finetune: {lr: true}}", "recipes.finetune.lr: a number, not true or false"),
    ("recipes: {finetune: {lr: -1}}", "recipes.finetune.lr: Input should be greater than 0"),
    ("recipes: [1]", "recipes: Input should be a valid dictionary"),
])  # fmt: skip
def test_one_mistake_one_sentence(tmp_path: Path, extra: str, sentence: str) -> None:
    messages = mistakes(tmp_path, SOUND + extra)
    assert len(messages) == 1
    assert messages[0].startswith(sentence)


@pytest.mark.parametrize(("text", "sentence"), [
    (SOUND + "seeds: [1]\nseeds: [2]", "not valid YAML (the key 'seeds' is given twice"),
    (SOUND.replace("mine", "../up"), "name: a name has letters"),
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


@pytest.mark.parametrize(("extra", "sentence"), [
    ("policies: [learned-gate]", "policies: learned-gate reads a gate that the exits of lgvit do not have"),
    ("policies: [{name: own, set: {threshold: 0.5}}]", "policies[0]: 'own' has no options"),
    ("exits: [{name: published, set: {count: 3}}]", "exits[0].set: published has no options"),
    ("learning_rates: [0]", "learning_rates[0]: Input should be greater than 0"),
])  # fmt: skip
def test_options_of_methods_are_checked(tmp_path: Path, extra: str, sentence: str) -> None:
    assert any(message.startswith(sentence) for message in mistakes(tmp_path, SOUND + extra + "\n"))


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


def test_selection_on_training_images_of_the_weights_is_refused(tmp_path: Path) -> None:
    text = SOUND.replace("vit_nano_patch4_28", "vit_tiny_patch16_224").replace("fashion-mnist-mini", "imagenet-1k")
    (refused,) = mistakes(tmp_path, text)
    assert refused.startswith("datasets: vit_tiny_patch16_224: thresholds would be chosen on val images of imagenet-1k")
    assert expand(tmp_path, text.replace("imagenet-1k", "{name: imagenet-1k, set: {split: halves, resplit: 2}}"))
    assert expand(tmp_path, text + "policies: [{name: confidence, set: {threshold: 0.9}}]\n")
    assert expand(tmp_path, text.replace("static, lgvit", "static"))
    assert mistakes(tmp_path, text + "policies: [{name: confidence, set: {threshold: 0.9}}, entropy]\n")

"""What of a grid fits segmentation and detection, and one sentence for what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.grid.fitting import policy_mistake
from benchmark.grid.load import load_grid
from results.spec import Configured
from tests.benchmark.grid.expansion import SOUND, expand, mistakes


@pytest.mark.parametrize(("extra", "sentence"), [
    ("recipes: {finetune: {rand_augment: rand-m9}}", "recipes.finetune.rand_augment: changes images without their masks"),
    ("recipes: {exits: {erasing: 0.2}}", "recipes.exits.erasing: changes images without their masks"),
    ("recipes: {joint: {mixup: 0.8}}", "recipes.joint.mixup: changes images without their masks"),
    ("recipes: {finetune: {cutmix: 1}}", "recipes.finetune.cutmix: changes images without their masks"),
])  # fmt: skip
def test_augmentations_of_images_alone_are_refused_for_segmentation(tmp_path: Path, extra: str, sentence: str) -> None:
    (message,) = mistakes(tmp_path, SOUND.replace("fashion-mnist-mini", "fashion-scenes") + extra)
    assert message.startswith(sentence)
    assert "fashion-scenes" in message
    (message,) = mistakes(tmp_path, SOUND.replace("fashion-mnist-mini", "fashion-scenes-detection") + extra)
    assert message.startswith(sentence.replace("masks", "boxes"))


def test_recipes_of_later_seeds_are_checked_too(tmp_path: Path) -> None:
    text = SOUND.replace("fashion-mnist-mini", "fashion-scenes") + "seeds: [0, 1]\n"
    (message,) = mistakes(tmp_path, f"{text}overrides: [{{seed: 1, recipes: {{exits: {{mixup: 0.8}}}}}}]")
    assert "recipes.exits.mixup: changes images without their masks" in message


@pytest.mark.parametrize(("recipe", "sentence"), [
    ("augment: crop-flip", "recipes.finetune.augment: detection has no crop-flip (fashion-scenes-detection)"),
    ("augment: scale-crop-flip", "augmentations that it has: none, flip, flip-shift"),
    ("label_smoothing: 0.1", "recipes.finetune.label_smoothing: detection has none (fashion-scenes-detection); set it to 0"),
])  # fmt: skip
def test_what_would_move_boxes_or_has_no_form_for_them_is_refused(tmp_path: Path, recipe: str, sentence: str) -> None:
    text = SOUND.replace("fashion-mnist-mini", "fashion-scenes-detection") + f"recipes: {{finetune: {{{recipe}}}}}"
    (message,) = mistakes(tmp_path, text)
    assert sentence in message


SEGMENTATION = """
name: g
backbones: [vit_nano_patch4_64]
datasets: [fashion-scenes]
methods: [static, lgvit]
"""


@pytest.mark.parametrize(("change", "sentences"), [
    (("lgvit", "class-patch-mean"), ["methods: class-patch-mean on vit_nano_patch4_64", "head class-patch-mean has no form"]),
    (("static", "{name: tome, set: {r: 2}}"), ["token reduction tome has no form for segmentation", "token-exit"]),
    (("vit_nano_patch4_64", "swin_nano_patch2_window7_28"), ["patch grid of this backbone changes between its blocks"]),
    (("name: g", "name: g\npolicies: [entropy]"), ["entropy does not read what segmentation gives", "map-confidence"]),
    (("lgvit", "berxit"), ["berxit", "its option gate class tokens"]),
])  # fmt: skip
def test_what_does_not_fit_segmentation_is_named(tmp_path: Path, change: tuple[str, str], sentences: list[str]) -> None:
    message = mistakes(tmp_path, SEGMENTATION.replace(*change))[0]
    for sentence in sentences:
        assert sentence in message


@pytest.mark.parametrize(("change", "sentences"), [
    (("lgvit", "class-patch-mean"), ["the head class-patch-mean has no form for detection", "lph"]),
    (("static", "{name: token-exit, set: {threshold: 0.9}}"), ["token-exit", "detection"]),
    (("static", "{name: tome, set: {r: 2}}"), ["token reduction tome has no form for detection", "lower-resolution"]),
    (("vit_nano_patch4_64", "swin_nano_patch2_window7_28"), ["detection answers for every patch", "between its blocks"]),
    (("name: g", "name: g\npolicies: [map-confidence]"), ["map-confidence does not read what detection gives"]),
    (("name: g", "name: g\npolicies: [oracle]"), ["oracle does not read what detection gives", "random"]),
    (("name: g", "name: g\nprobes: true"), ["probes need one class for an image"]),
])  # fmt: skip
def test_what_does_not_fit_detection_is_named(tmp_path: Path, change: tuple[str, str], sentences: list[str]) -> None:
    text = SEGMENTATION.replace("fashion-scenes", "fashion-scenes-detection")
    message = mistakes(tmp_path, text.replace(*change))[0]
    for sentence in sentences:
        assert sentence in message


def test_a_policy_of_maps_is_refused_for_classification(tmp_path: Path) -> None:
    (message,) = mistakes(tmp_path, SOUND + "policies: [map-confidence]\n")
    assert "map-confidence does not read what classification gives (fashion-mnist-mini)" in message


def test_each_dataset_of_a_grid_has_the_policies_that_fit_its_task(tmp_path: Path) -> None:
    text = """
    name: both
    backbones: [vit_nano_patch4_28]
    datasets: [fashion-mnist-mini, fashion-scenes]
    methods: [lgvit]
    policies: [entropy, map-confidence, random]
    """
    policies = {run.train.dataset.name: [policy.name for policy in run.policies] for run in expand(tmp_path, text)}
    assert policies == {"fashion-mnist-mini": ["entropy", "random"], "fashion-scenes": ["map-confidence", "random"]}
    messages = mistakes(tmp_path, text.replace("map-confidence, random", "margin"))
    for policy, message in zip(("entropy", "margin"), messages, strict=True):
        assert f"{policy} does not read what segmentation gives" in message


def test_the_policies_of_a_record_are_checked_without_its_data() -> None:
    """`sweep` works on the records of photos that are on another machine."""
    assert policy_mistake(Configured(name="entropy"), "classification", "folder:gone") is None
    assert "(folder:gone)" in str(policy_mistake(Configured(name="entropy"), "segmentation", "folder:gone"))


def test_probes_without_classification_are_refused(tmp_path: Path) -> None:
    (message,) = mistakes(tmp_path, SEGMENTATION + "probes: true\n")
    assert message.startswith("probes: probes need one class for an image")


def test_segmentation_and_detection_have_policies_of_their_own_by_default(tmp_path: Path) -> None:
    path = tmp_path / "g.yaml"
    path.write_text(SEGMENTATION, encoding="utf-8")
    runs = load_grid(path).runs
    assert {policy.name for run in runs for policy in run.policies} == {"map-confidence"}
    path.write_text(SEGMENTATION.replace("fashion-scenes", "fashion-scenes-detection"), encoding="utf-8")
    assert {policy.name for run in load_grid(path).runs for policy in run.policies} == {"box-confidence"}


def test_a_corruption_that_moves_pixels_is_refused_for_segmentation(tmp_path: Path) -> None:
    corruption = "{name: fashion-scenes, set: {train: 5, corruption: {name: elastic_transform, severity: 1}}}"
    (message,) = mistakes(tmp_path, SOUND.replace("fashion-mnist-mini", corruption))
    assert "elastic_transform moves pixels away from their masks" in message
    (message,) = mistakes(
        tmp_path, SOUND.replace("fashion-mnist-mini", corruption.replace("scenes,", "scenes-detection,"))
    )
    assert "elastic_transform moves pixels away from their boxes" in message

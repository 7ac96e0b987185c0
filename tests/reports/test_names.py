"""Names for readers of the report: methods, backbones, exits and settings."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import yaml

from methods import METHODS
from methods.backbones import BACKBONES
from methods.policies import POLICIES
from reports.names import backbone_names, method_name, point_words, recipe_words, scheme_words
from reports.setup import POLICY_REFERENCES, REFERENCES
from reports.study import Study
from reports.tidy_tables import tidy_tables
from results.spec import Weights
from results.store.folder import Store
from results.tables.loading import load_runs
from results.tables.run import Run
from tests.conftest import SmokeRun
from tests.reports.registered import registered


@pytest.fixture(scope="module")
def runs(smoke: SmokeRun) -> list[Run]:
    store = Store(smoke.results)
    return load_runs(store, store.run_ids())[0]


def with_recipes(run: Run, name: str = "scratch", **stages: dict[str, object]) -> Run:
    recipes = run.record.spec.train.recipes
    changed = {stage: getattr(recipes, stage).model_copy(update=fields) for stage, fields in stages.items()}
    spec = run.record.spec.with_train(recipes=recipes.model_copy(update=changed), weights=Weights(source=name))
    return replace(run, record=run.record.model_copy(update={"spec": spec}))


def test_a_method_is_named_with_its_options() -> None:
    assert method_name(registered("lgvit"), {}) == "LGViT"
    assert (
        method_name(registered("lgvit"), {"gah_stride": 1, "pool": "average"}) == "LGViT (GAH stride 1, pool average)"
    )
    assert method_name(registered("static"), {}) == "backbone without exits"


def test_backbones_with_the_same_short_name_keep_their_ids() -> None:
    names = backbone_names(
        ["vit_nano_patch4_28", "deit_nano_distilled_patch4_28", "vit_nano_patch4_28_idle_token", "timm:x"]
    )
    assert list(names.values()) == ["ViT-Nano", "DeiT-Nano distilled", "ViT-Nano idle token", "timm:x"]
    both = backbone_names(["vit_nano_patch4_28", "vit_nano_patch4_32"])
    assert list(both.values()) == list(both)
    every = backbone_names(BACKBONES)
    assert len(set(every.values())) == len(BACKBONES)


def test_exits_and_points_in_words() -> None:
    words = ["the paper's exits", "each method's published exits", "4 uniform exits", "exits after blocks 2 4"]
    assert [scheme_words(name) for name in ("paper", "published", "uniform(count=4)", "blocks 2 4")] == words
    assert point_words("confidence/equal-macs-0.5") == "at half of the MACs"
    assert point_words("confidence/accuracy-drop-0") == "where nothing is lost on val"
    assert point_words("confidence/accuracy-drop-0.02") == "where at most 2 points are lost on val"
    assert [point_words(place) for place in ("block 11", "GPU", "")] == ["block 11", "GPU", ""]


def test_recipes_are_named_by_the_fields_that_differ(runs: list[Run]) -> None:
    run = next(run for run in runs if run.method == "lgvit")
    assert recipe_words([run]) == [""]
    assert recipe_words([run, run]) == ["", ""]
    longer = with_recipes(run, finetune={"epochs": 1}, joint={"epochs": 5}, exits={"lr": 0.01})
    rate = run.record.spec.train.recipes.exits.lr
    epochs = run.record.spec.train.recipes.finetune.epochs
    assert recipe_words([run, longer]) == [
        f"fine-tuning {epochs} epochs; heads lr {rate:g}", "fine-tuning 1 epoch; heads lr 0.01",
    ]  # fmt: skip
    assert recipe_words([run, with_recipes(run, "timm:a")]) == ["weights scratch", "weights timm:a"]


def test_no_setting_is_named_by_a_hash(runs: list[Run]) -> None:
    lgvit = next(run for run in runs if run.method == "lgvit")
    other = with_recipes(lgvit, exits={"epochs": 99})
    renamed = replace(other, record=other.record.model_copy(update={"run_id": f"{lgvit.record.run_id}0"}))
    study = Study("t", [*runs, renamed], tidy_tables([*runs, renamed], []))
    first, second = study.settings
    assert "heads 99 epochs" in second.name
    assert study.where(second).startswith(", heads 99 epochs")
    assert not [group for group in study.settings if re.search(r"\b[0-9a-f]{6}\b", group.name)]
    assert first.name != second.name


def test_the_sources_of_methods_and_policies_are_in_the_references() -> None:
    known = yaml.safe_load(REFERENCES.read_text(encoding="utf-8"))
    assert set(POLICY_REFERENCES) <= set(POLICIES)
    assert set(POLICY_REFERENCES.values()) <= set(known)
    assert {card.reference for card in METHODS.values() if card.reference} <= set(known)
    assert {name for name, card in METHODS.items() if card.citation and not card.reference} == set()

"""The setup of a report: recipes, backbones, the table of methods, and what references are cited for."""

from __future__ import annotations

import re
from dataclasses import asdict, replace

from benchmark import registry
from methods.exit_method import ExitMethod
from reports.sections.opening import heads_loss, methods
from reports.setup import facts
from reports.study import Study
from reports.tidy_tables import tidy_tables
from results.spec import Recipes
from results.store.folder import Store
from results.tables.loading import load_runs
from results.tables.run import Run
from tests.conftest import SmokeRun
from tests.reports.test_paper import pdf_text


def test_every_reference_is_cited(smoke: SmokeRun) -> None:
    setup, references = pdf_text(smoke.out / "paper.pdf").split("References")[:2]
    numbers = re.findall(r"\[(\d+)\]", references)
    assert len(numbers) > 3
    assert set(numbers) <= set(re.findall(r"\[(\d+)\]", setup))
    assert f"LGViT [{numbers[0]}]" in setup


def test_the_backbone_is_described_by_depth_and_image_size(smoke: SmokeRun) -> None:
    text = pdf_text(smoke.out / "paper.pdf")
    described = "ViT-Nano (vit_nano_patch4_28), 12 blocks, images of 28 x 28 pixels"
    assert described in text
    store = Store(smoke.results)
    first, *others = load_runs(store, store.run_ids())[0]
    backbone = first.record.backbone.model_copy(update={"image_size": None})  # as in older records
    older = first.changed(record=first.record.model_copy(update={"backbone": backbone}))
    assert dict(facts([older, *others]))["Backbone"] == described


def test_recipes_that_differ_only_in_the_learning_rate_are_merged(smoke: SmokeRun) -> None:
    store = Store(smoke.results)
    runs = load_runs(store, store.run_ids())[0]
    before = dict(facts(runs))["Exits' training"]
    (run,) = (run for run in runs if run.method == "vanilla")
    recipes = run.record.spec.train.recipes
    rate = recipes.exits.lr
    faster = recipes.model_copy(update={"exits": recipes.exits.model_copy(update={"lr": 10 * rate})})
    spec = run.record.spec.with_train(recipes=faster)
    other = replace(run, record=run.record.model_copy(update={"spec": spec}))
    assert dict(facts([other, *runs]))["Exits' training"] == before.replace(f"lr {rate}", f"lr {rate} or {10 * rate}")


def test_the_table_of_methods_has_learning_rates_where_they_differ(smoke: SmokeRun) -> None:
    def with_rate(run: Run, rate: float) -> Run:
        recipes = run.record.spec.train.recipes
        changed = recipes.model_copy(update={"exits": run.heads_recipe.model_copy(update={"lr": rate})})
        spec = run.record.spec.with_train(recipes=changed).model_copy(update={"learning_rates": (0.02, 0.5)})
        return replace(run, record=run.record.model_copy(update={"spec": spec}))

    store = Store(smoke.results)
    runs, _ = load_runs(store, store.run_ids())
    equal = [with_rate(run, 0.5) if run.has_exits else run for run in runs]
    differing = [with_rate(run, 0.02) if run.method == "lgvit" else run for run in equal]
    assert "Learning rate" not in methods(Study("t", equal, tidy_tables(equal, []))).table.header
    table = methods(Study("t", differing, tidy_tables(differing, []))).table
    rates = {row[0]: row[table.header.index("Learning rate")] for row in table.rows}
    assert (rates["LGViT"], rates["Vanilla early exit"], rates["backbone without exits"]) == ("0.02", "0.5", "–")


def test_an_imported_model_has_no_learning_rate(smoke: SmokeRun) -> None:
    store = Store(smoke.results)
    runs, _ = load_runs(store, store.run_ids())
    (vanilla,) = (run for run in runs if run.method == "vanilla")
    stages = tuple(
        stage.model_copy(update={"stage": "imported"})
        for stage in vanilla.record.stages
        if stage.stage not in ("finetune", "exits")
    )
    spec = vanilla.record.spec.with_train(recipes=Recipes())
    imported = replace(vanilla, record=vanilla.record.model_copy(update={"stages": stages, "spec": spec}))
    changed = [
        imported if run is vanilla else run for run in runs if run.method in ("lgvit", "vanilla") or run.is_static
    ]
    assert "Learning rate" not in methods(Study("t", changed, tidy_tables(changed, []))).table.header


def test_the_loss_in_the_table_of_methods_is_the_one_that_trains() -> None:
    backbone = registry.card("backbone", "vit_nano_patch4_28")
    losses = {}
    for name in registry.TABLES["method"]:
        method = registry.configured("method", name, {})
        if isinstance(method, ExitMethod):
            loss = method.stages(backbone)[-1].loss
            losses[name] = heads_loss(asdict(method), "classification")
            distilled = loss.name == "self-distillation" and loss.options["weight"] > 0
            assert (losses[name] == "self-distillation") == distilled, name
    assert losses["vanilla"] == losses["lgvit"] != losses["deebert"]


def test_the_outputs_of_detectors_are_not_distilled() -> None:
    frozen = {"regime": "frozen", "kd_weight": 0.9, "feature_terms": True}
    assert heads_loss(frozen, "detection") == "FCOS and features"
    assert heads_loss(frozen | {"feature_terms": False}, "detection") == "FCOS"
    assert heads_loss(frozen | {"regime": "joint"}, "detection") == "FCOS"

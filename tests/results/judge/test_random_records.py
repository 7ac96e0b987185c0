"""Verdicts on sets of records with faults drawn at random: no exception, and no verdict that the records cannot support."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results.judge.claims import BUDGETS, SEEDS, judge
from results.judge.judgement import CONTROLS
from results.judge.literature import read_claims
from results.spec import Weights
from results.store.folder import Store
from results.tables.loading import load_runs
from results.tables.run import Run
from tests.conftest import SmokeRun
from tests.results.judge.paper_scale import promoted, right_everywhere, with_policy, with_train, without_point

CLAIMS = read_claims()
Fault = Callable[[Run], Run | list[Run]]


@pytest.fixture(scope="module")
def better(smoke: SmokeRun) -> list[Run]:
    """Five seeds in which LGViT is better than all others."""
    store = Store(smoke.results)
    runs = load_runs(store, store.run_ids())[0]
    return promoted([right_everywhere(run) if run.method == "lgvit" else run for run in runs], SEEDS)


def removed(_: Run) -> list[Run]:
    return []


def from_scratch(run: Run) -> Run:
    return with_train(run, weights=Weights(source="scratch"))


def on_other_images(run: Run) -> Run:
    data = run.record.data.model_copy(update={"content": {"test": "pixels:x"}})
    return replace(run, record=run.record.model_copy(update={"data": data}))


def few_images(run: Run) -> Run:
    data = run.record.data.model_copy(update={"sizes": run.record.data.sizes | {"test": 100}})
    return replace(run, record=run.record.model_copy(update={"data": data}))


def a_budget_missing(run: Run) -> Run:
    return without_point(run, "macs-0.6")


def as_a_control(run: Run) -> Run:
    return with_policy(run, "oracle")


def again_and_right(run: Run) -> list[Run]:
    copy = run.record.model_copy(update={"run_id": f"{run.record.run_id}-again"})
    return [run, replace(right_everywhere(run), record=copy)]


def small_training(run: Run) -> Run:
    recipes = run.record.spec.train.recipes
    exits = recipes.exits.model_copy(update={"epochs": 2})
    return with_train(run, recipes=recipes.model_copy(update={"exits": exits}))


FAULTS: list[Fault] = [
    removed, from_scratch, on_other_images, few_images, a_budget_missing, as_a_control, again_and_right, small_training,
]  # fmt: skip
faults = st.lists(
    st.tuples(st.sampled_from(FAULTS), st.sampled_from(["lgvit", "vanilla"]), st.sampled_from([None, *range(SEEDS)])),
    max_size=3,
)


def planted(runs: list[Run], chosen: list[tuple[Fault, str, int | None]]) -> list[Run]:
    for fault, method, seed in chosen:
        changed: list[Run] = []
        for run in runs:
            result = fault(run) if run.method == method and seed in (None, run.seed) else run
            changed += result if isinstance(result, list) else [result]
        runs = changed
    return runs


def supported(runs: list[Run]) -> bool:
    """Whether a setting has five seeds of LGViT and of vanilla with all budgets, on the same images; written anew."""
    settings_ = {run.setting for run in runs if run.method == "lgvit"}
    for setting in settings_:
        by_method: dict[str, dict[int, Run]] = {"lgvit": {}, "vanilla": {}}
        for run in sorted(runs, key=lambda run: run.record.run_id):
            if run.setting == setting and run.method in by_method:
                by_method[run.method].setdefault(run.seed, run)
        used = [run for of_method in by_method.values() for run in of_method.values()]
        sound = (
            all(len(of_method) == SEEDS for of_method in by_method.values())
            and all(run.judged_policy not in CONTROLS for run in used)
            and len({run.judged_policy for run in used}) == 1
            and len({run.record.data.content.get("test") for run in used}) == 1
            and all(run.record.data.sizes["test"] >= 200 for run in by_method["lgvit"].values())
            and all(run.point(run.judged_policy, "equal-macs", budget) for run in used for budget in BUDGETS)
            and all(run.record.spec.train.weights.source != "scratch" for run in used)
            and all(run.record.spec.train.recipes.exits.epochs >= CLAIMS.scope.epochs for run in used)
        )
        if sound:
            return True
    return False


@given(faults, st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_no_verdict_beyond_what_the_records_support(
    better: list[Run], chosen: list[tuple[Fault, str, int | None]], order: Random
) -> None:
    runs = planted(better, chosen)
    table = judge(runs, CLAIMS)
    rows = table[(table["claim"] == "above vanilla") & (table["reading"] == "lgvit")]
    assert ("reproduced" in set(rows["verdict"])) == supported(runs), [fault.__name__ for fault, _, _ in chosen]
    assert "not reproduced" not in set(rows["verdict"])
    for _, row in rows[rows["verdict"] == "reproduced"].iterrows():
        assert row["low"] > 0
        assert row["p"] < 0.05
        assert len(row["run_ids"].split()) == 2 * SEEDS
    shuffled = order.sample(runs, len(runs))
    columns = ["claim", "reading", "scheme", "verdict"]
    again = judge(shuffled, CLAIMS)
    assert sorted(map(tuple, again[columns].to_numpy())) == sorted(map(tuple, table[columns].to_numpy()))


def test_copies_of_one_training_are_not_five_seeds(better: list[Run]) -> None:
    first = {run.method: run for run in better if run.seed == 0}
    copies = [run.changed(point_outcomes=first[run.method].point_outcomes) for run in better]
    table = judge(copies, CLAIMS)
    rows = table[(table["claim"] == "above vanilla") & (table["reading"] == "lgvit")]
    assert set(rows["verdict"]) == {"inconclusive"}
    assert "1 of 5 seeds" in rows["reason"].iloc[0]
    for run in copies:
        if run.has_exits:
            run.__dict__["hull_outcomes"] = first[run.method].hull_outcomes
    table = judge(copies, CLAIMS)
    speed = table[table["claim"].str.startswith("speed-up") & (table["reading"] == "lgvit")]
    assert set(speed["verdict"]) == {"inconclusive"}
    assert speed["reason"].str.contains("copies of one training").all()


@pytest.mark.parametrize("method", ["lgvit", "vanilla"])
def test_every_fault_in_one_seed_leaves_the_claim_open(better: list[Run], method: str) -> None:
    for fault in FAULTS:
        if fault is again_and_right or (fault is few_images and method == "vanilla"):
            continue  # a second id is ignored; the size of the test split is that of LGViT's runs
        table = judge(planted(better, [(fault, method, 2)]), CLAIMS)
        rows = table[(table["claim"] == "above vanilla") & (table["reading"] == "lgvit")]
        assert "reproduced" not in set(rows["verdict"]), fault.__name__

"""Of the learning rates that a grid tried, val selects one; the others are not reported."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.record import ExitMetrics
from results.spec import PrimaryEndpoint, Recipe, Recipes
from results.tables.run import Run
from results.tables.tuning import chosen_on_val, learning_rates
from tests.results.builders import done_record, run_spec


def run(
    method: str,
    lr: float,
    val: list[float],
    *,
    seed: int = 0,
    tried: tuple[float, ...] = (0.5, 1.0),
    joint: float = 1.0,
) -> Run:
    recipes = Recipes(
        finetune=Recipe(lr=0.1, epochs=1), joint=Recipe(lr=joint, epochs=1), exits=Recipe(lr=lr, epochs=3)
    )
    spec = run_spec(method, recipes=recipes, seed=seed, learning_rates=tried)
    exits = tuple(ExitMetrics(block=k, head="h", val_accuracy=v, test_accuracy=1 - v) for k, v in enumerate(val, 1))
    run_id = f"{method}-{seed}-{lr}-{joint}" + ("" if tried else "-alone")
    return Run(done_record(run_id, spec=spec).model_copy(update={"exits": exits}), {}, pd.DataFrame(), Path())


def test_the_mean_accuracy_over_exits_on_val_selects_the_rate() -> None:
    runs = [
        run("lgvit", 0.001, [0.3, 0.9]), run("lgvit", 0.002, [0.5, 0.8]), run("lgvit", 0.004, [0.4, 0.7]),
        run("vanilla", 0.001, [0.9, 0.9]), run("vanilla", 0.002, [0.9, 0.8]),
    ]  # fmt: skip
    chosen = chosen_on_val(runs)
    assert [best.record.run_id for best in chosen] == ["lgvit-0-0.002-1.0", "vanilla-0-0.001-1.0"]
    table = learning_rates(chosen)
    assert table[table["chosen"]]["learning_rate"].tolist() == ["exits 0.002", "exits 0.001"]
    assert table["val_accuracy"].tolist() == pytest.approx([0.6, 0.65, 0.55, 0.9, 0.85])
    # The compared runs no longer differ in their learning rate.
    assert len({best.setting for best in chosen}) == 1


@given(st.permutations([(0.001, 0.5), (0.002, 0.7), (0.004, 0.7)]))
def test_of_equal_learning_rates_the_smaller_is_chosen(tried: list[tuple[float, float]]) -> None:
    (chosen,) = chosen_on_val([run("lgvit", lr, [val]) for lr, val in tried])
    assert chosen.record.run_id == "lgvit-0-0.002-1.0"


def test_a_run_with_nothing_to_tune_has_the_setting_of_the_tuned_ones() -> None:
    alone, best = chosen_on_val([run("two-resolutions", 0.001, [0.3]), run("m", 0.002, [0.5]), run("m", 0.001, [0.3])])
    assert (alone.method, alone.tried) == ("two-resolutions", ())
    assert len(best.tried) == 2
    assert alone.setting == best.setting


def test_each_seed_chooses_its_own_rate_and_untuned_runs_stay() -> None:
    runs = [
        run("lgvit", 0.001, [0.3]), run("lgvit", 0.002, [0.5]), run("lgvit", 0.001, [0.6], seed=1),
        run("lgvit", 0.002, [0.5], seed=1), run("lgvit", 0.001, [0.1], tried=()), run("lgvit", 0.002, [0.2], tried=()),
    ]  # fmt: skip
    chosen = chosen_on_val(runs)
    assert [best.seed for best in chosen if best.tried] == [0, 1]
    assert len([best for best in chosen if not best.tried]) == 2
    assert len({best.recipes for best in chosen if not best.tried}) == 2  # these remain two groups


def test_a_primary_endpoint_that_is_declared_between_two_rates_leaves_one_choice() -> None:
    before, after = run("m", 0.001, [0.3]), run("m", 0.002, [0.5])
    spec = after.record.spec.model_copy(update={"primary": PrimaryEndpoint(method="m", against=("n",), macs=0.5)})
    after = after.changed(record=after.record.model_copy(update={"spec": spec}))
    assert [best.record.run_id for best in chosen_on_val([before, after])] == ["m-0-0.002-1.0"]


def test_accuracies_on_other_images_choose_nothing() -> None:
    runs = [run("m", 0.001, [0.3]), run("m", 0.002, [0.5])]
    data = runs[0].record.data.model_copy(update={"content": {"val": "pixels:other"}})
    runs[0] = runs[0].changed(record=runs[0].record.model_copy(update={"data": data}))
    assert len(chosen_on_val(runs)) == 2


def test_learning_rates_that_change_together_are_named_together() -> None:
    (chosen,) = chosen_on_val([run("m", 0.001, [0.3], joint=0.1), run("m", 0.002, [0.5], joint=0.2)])
    assert [tried.rates for tried in chosen.tried] == ["joint 0.1, exits 0.001", "joint 0.2, exits 0.002"]

"""Learning rates: of the runs that tried several for one method, the one with the best val accuracy counts.

The criterion is fixed beforehand and free of policies: val accuracy, mean over all exits, the final one included. Test
plays no part in it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from results.spec import Recipes

if TYPE_CHECKING:
    from results.tables.run import Run

TUNED = ("joint", "exits")
"""The recipes whose learning rate a grid can vary."""
COLUMNS = ["method", "backbone", "dataset", "scheme", "seed", "learning_rate", "val_accuracy", "chosen"]


@dataclass(frozen=True)
class Tried:
    """A learning rate and what it led to.

    Attributes:
        rates: what was varied, in words: ``exits 0.002``.
        val_accuracy: mean over all exits, in [0, 1].
        chosen: whether it is the run's own.
    """

    rates: str
    val_accuracy: float
    chosen: bool


def chosen_on_val(runs: Sequence[Run]) -> list[Run]:
    """The runs without those whose learning rate lost on val; the others know what was tried.

    Runs belong together if a grid tried learning rates for them and they differ in nothing else. A tie goes to the smaller
    rate.
    """
    together: dict[str, list[Run]] = {}
    for run in runs:
        if is_tuned(run):
            together.setdefault(_identity(run), []).append(run)
    winners = {}
    for members in together.values():
        members.sort(key=_rates)
        best = max(members, key=_val_accuracy)
        names = _varied(members)
        tried = (Tried(name, _val_accuracy(run), run is best) for name, run in zip(names, members, strict=True))
        winners[best.record.run_id] = tuple(tried)
    return [
        run.having(tried=winners.get(run.record.run_id, ()))
        for run in runs
        if not is_tuned(run) or run.record.run_id in winners
    ]


def learning_rates(runs: Sequence[Run]) -> pd.DataFrame:
    """One row per run and learning rate that was tried for it: `COLUMNS`."""
    rows = [
        (run.method, run.backbone, run.dataset, run.record.spec.scheme, run.seed, *vars(tried).values())
        for run in runs
        for tried in run.tried
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def is_tuned(run: Run) -> bool:
    """Whether its grid tried several learning rates."""
    return bool(run.record.spec.learning_rates)


def without_rates(recipes: Recipes) -> dict[str, Any]:
    """The recipes as JSON, without what a grid's ``learning_rates`` vary."""
    return recipes.model_dump(mode="json", exclude={stage: {"lr"} for stage in TUNED})


def _identity(run: Run) -> str:
    """What runs agree on that differ in their learning rate alone."""
    spec = run.record.spec
    content = spec.model_dump(mode="json", exclude={"learning_rates": True, "train": {"recipes"}})
    return json.dumps([content, without_rates(spec.train.recipes)], sort_keys=True)


def _rates(run: Run) -> tuple[float, ...]:
    return tuple(getattr(run.record.spec.train.recipes, stage).lr for stage in TUNED)


def _varied(runs: Sequence[Run]) -> list[str]:
    """The rates of each run, in words, as far as they differ between the runs."""
    columns = list(zip(*map(_rates, runs), strict=True))
    differ = [i for i, column in enumerate(columns) if len(set(column)) > 1] or range(len(TUNED))
    return [", ".join(f"{TUNED[i]} {_rates(run)[i]:g}" for i in differ) for run in runs]


def _val_accuracy(run: Run) -> float:
    exits = run.record.exits
    return sum(exit_.val_accuracy for exit_ in exits) / len(exits)

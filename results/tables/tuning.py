"""Choice of learning rates: of runs that differ only in a tried rate, the one with the best val accuracy is kept.

The criterion is the val accuracy averaged over all exits, including the final one. It does not depend on policies or on test
results.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import pandas as pd

from results.tables.pairing import image_identity
from results.tables.run import Run, TriedRate

TUNED = ("joint", "exits")  # the recipes whose learning rate a grid can vary
COLUMNS = ["method", "backbone", "dataset", "scheme", "seed", "learning_rate", "val_accuracy", "chosen"]


def chosen_on_val(runs: Sequence[Run]) -> list[Run]:
    """The runs whose learning rate is the best on val, with all tried rates in `Run.tried`, and the runs that are not tuned.

    Rates are compared between runs that differ only in the learning rate. Of equally good rates, the smallest is chosen. A run
    without others to compare with has none in `Run.tried`.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        if run.record.spec.is_tuned:
            groups.setdefault(_identity(run), []).append(run)
    tried_rates = {}
    for members in groups.values():
        members.sort(key=_rates)
        best = max(members, key=_val_accuracy)
        names = _varied(members) if len(members) > 1 else []
        tried = (
            TriedRate(name, _val_accuracy(run), run is best) for name, run in zip(names, members, strict=bool(names))
        )
        tried_rates[best.record.run_id] = tuple(tried)
    return [
        run.changed(tried=tried_rates.get(run.record.run_id, ()))
        for run in runs
        if not run.record.spec.is_tuned or run.record.run_id in tried_rates
    ]


def learning_rates(runs: Sequence[Run]) -> pd.DataFrame:
    """One row per run and tried learning rate, with the columns `COLUMNS`."""
    rows = [
        (run.method, run.backbone, run.dataset, run.record.spec.scheme, run.seed, *vars(tried).values())
        for run in runs
        for tried in run.tried
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _identity(run: Run) -> str:
    """A text that is equal for runs on the same images that differ only in their learning rate.

    A primary endpoint may be declared while some rates have run; it is part of no training.
    """
    spec = run.record.spec
    content = spec.model_dump(mode="json", exclude={"learning_rates": True, "primary": True, "train": {"recipes"}})
    return json.dumps([content, image_identity(run), spec.train.recipes.without_learning_rates()], sort_keys=True)


def _rates(run: Run) -> tuple[float, ...]:
    return tuple(getattr(run.record.spec.train.recipes, stage).lr for stage in TUNED)


def _varied(runs: Sequence[Run]) -> list[str]:
    """The learning rates of each run that differ between the runs, as in `TriedRate.rates`."""
    columns = list(zip(*map(_rates, runs), strict=True))
    differ = [i for i, column in enumerate(columns) if len(set(column)) > 1] or range(len(TUNED))
    return [", ".join(f"{TUNED[i]} {_rates(run)[i]:g}" for i in differ) for run in runs]


def _val_accuracy(run: Run) -> float:
    exits = run.record.exits
    return sum(exit_.val_accuracy for exit_ in exits) / len(exits)

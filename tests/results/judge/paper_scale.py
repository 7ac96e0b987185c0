"""Small runs changed to look like runs on the paper's scale, faults planted in them, and what is judged of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from results.spec import Configured, Weights
from results.tables.outcomes import ClassOutcomes
from results.tables.run import STATIC, Run

BACKBONE, DATASET = "vit_base_patch16_224", "cifar-100"
PRETRAINED = Weights(source="timm:vit_base_patch16_224.augreg_in21k", sha256="0" * 64)


def promoted(runs: list[Run], seeds: int, backbone: str = BACKBONE, dataset: str = DATASET) -> list[Run]:
    """The runs as if they were several seeds of the paper's model on the paper's data."""
    promoted_runs = []
    for run in runs:
        for seed in range(seeds):
            train = run.record.spec.train
            finetune, exits = (
                recipe.model_copy(update={"epochs": 50}) for recipe in (train.recipes.finetune, train.recipes.exits)
            )
            spec = run.record.spec.with_train(
                backbone=backbone, dataset=Configured(name=dataset), seed=seed, weights=PRETRAINED,
                recipes=train.recipes.model_copy(update={"finetune": finetune, "exits": exits}),
            )  # fmt: skip
            data = run.record.data.model_copy(update={"name": dataset})
            record = run.record.model_copy(
                update={"spec": spec, "data": data, "run_id": f"{run.record.label}-{backbone}-{dataset}-{seed}"}
            )
            # Seeds differ: in each another handful of samples is wrong, or at the corners of hulls, the other way round.
            point_outcomes = {
                name: at
                if name == STATIC
                else replace(at, prediction=np.where(at.sample_id % 97 == seed, -1, at.prediction))
                for name, at in class_outcomes(run).items()
            }
            copy = run.changed(record=record, point_outcomes=point_outcomes)
            if run.has_exits:
                copy.__dict__["hull_outcomes"] = {
                    policy: replace(at, values=at.values ^ (at.sample_id % 97 == seed))
                    for policy, at in run.hull_outcomes.items()
                }
            promoted_runs.append(copy)
    return promoted_runs


def right_everywhere(run: Run) -> Run:
    """A run whose predictions at equal MACs are all correct."""
    point_outcomes = {
        name: replace(at, prediction=np.broadcast_to(at.label, at.prediction.shape)) if "equal-macs" in name else at
        for name, at in class_outcomes(run).items()
    }
    return replace(run, point_outcomes=point_outcomes)


def class_outcomes(run: Run) -> dict[str, ClassOutcomes]:
    return {name: run.class_outcomes(name) for name in run.point_outcomes}


def changed_where(runs: list[Run], is_changed: Callable[[Run], bool], change: Callable[[Run], Run]) -> list[Run]:
    return [change(run) if is_changed(run) else run for run in runs]


def with_train(run: Run, **fields: Any) -> Run:
    return replace(run, record=run.record.model_copy(update={"spec": run.record.spec.with_train(**fields)}))


def without_point(run: Run, part: str) -> Run:
    points = tuple(point for point in run.record.points if part not in point.name)
    return replace(run, record=run.record.model_copy(update={"points": points}))


def with_policy(run: Run, policy: str) -> Run:
    points = tuple(point.model_copy(update={"policy": policy}) for point in run.record.points)
    return replace(run, record=run.record.model_copy(update={"points": points}))


def verdict(table: pd.DataFrame, claim: str, reading: str = "lgvit") -> pd.Series:
    """The row of a claim under a reading, in a table of `results.judge.claims.judge`."""
    (row,) = table[(table["claim"] == claim) & (table["reading"] == reading)].to_dict("records")
    return pd.Series(row)

"""Sweeps and operating points of external exits, by the policy ``confidence``. All is chosen on val, and applied to test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmark.errors import UserError
from benchmark.evaluation import tables
from benchmark.evaluation.class_evidence import ClassDecisions
from benchmark.evaluation.decisions import Sweep
from benchmark.evaluation.evaluate import Evaluation, choose, frozen_points, look_up
from benchmark.evaluation.redraw import redraw
from benchmark.external.table import SPLITS, ExternalExits, load_exits
from datasets.api import ImageSplit
from datasets.splits import identity
from methods.policies.confidence import Confidence
from results.operating_point import WeightedThreshold
from results.record import CostTable
from results.spec import Configured
from results.stats.hull import upper_hull
from results.tables.run import STATIC

POLICY = "confidence"
"""The only policy: it needs no more than the confidence of each exit."""


def evaluate_exits(splits: Mapping[str, ExternalExits], costs: CostTable, blocks: list[int]) -> Evaluation:
    """The evaluation of external exits. The reference of accuracy drops is the last exit.

    Args:
        splits: val and test.
        costs: as claimed.
        blocks: block number of every exit, length K.
    """
    settings = default_settings(splits["val"])
    decisions = {split: decide_exits(exits, settings) for split, exits in splits.items()}
    sweeps = {split: of_split.sweep() for split, of_split in decisions.items()}
    val, test = sweeps["val"], splits["test"]
    chosen = choose(val, costs, float(splits["val"].right[-1].mean()))
    drops = [choice.target for choice in chosen if choice.kind == "accuracy-drop" and choice.mixture]
    references = [_final_alone(splits[split]) for split in SPLITS]
    redrawn = redraw(decisions["val"], decisions["test"], references, costs, blocks, drops)
    points = look_up(POLICY, chosen, sweeps, costs, blocks, redrawn)
    whole = WeightedThreshold(threshold=0.0, weight=1.0)
    outcomes = [_outcomes(test, STATIC, whole, np.zeros(test.samples, dtype=np.int64))]
    for point in points:
        for setting in point.settings:
            (exits,) = exits_at(test, np.array([setting.threshold]))
            outcomes.append(_outcomes(test, point.name, setting, exits))
    cost = val.mean(costs.cumulative)
    corners = [_corner(test, float(settings[t])) for t in np.unique([*upper_hull(cost, val.accuracy), cost.argmax()])]
    frozen = {"policy": POLICY, "settings": settings.tolist(), "points": frozen_points(chosen, settings)}
    answers = test.table()
    answers["exit"] -= 1  # records count exits from 0
    return Evaluation(
        tuple(points),
        {"samples": splits["val"].samples, "policies": [frozen]},
        pd.concat(outcomes, ignore_index=True),
        pd.concat([tables.curve(POLICY, split, sweeps[split], costs, blocks) for split in SPLITS], ignore_index=True),
        answers,
        pd.concat(corners, ignore_index=True),
    )


def sweep_policy(path: Path, selection: Configured) -> dict[str, Sweep]:
    """The sweeps of a policy on val and test.

    Args:
        path: of the stored exits.
        selection: ``confidence``, with a threshold or to be swept.

    Raises:
        UserError: another policy.
    """
    if selection.name != POLICY:
        raise UserError(f"--policy {selection.name}: external runs hold confidences only; allowed is {POLICY}")
    splits = load_exits(path)
    threshold = selection.set.get("threshold")
    settings = default_settings(splits["val"]) if threshold is None else np.array([float(threshold)])
    return {split: decide_exits(exits, settings).sweep() for split, exits in splits.items()}


def default_settings(val: ExternalExits) -> np.ndarray:
    """The settings to sweep, [T], as `Confidence.default_grid` chooses them for stored logits."""
    return Confidence().grid_of(torch.from_numpy(val.confidence[:-1]), 0.0, 1.0)


def exits_at(exits: ExternalExits, settings: np.ndarray) -> np.ndarray:
    """The exit of every sample at every setting, 0-based, [T, N]."""
    return Confidence().sweep(torch.from_numpy(exits.confidence[:-1]), settings).numpy()


def decide_exits(exits: ExternalExits, settings: np.ndarray) -> ClassDecisions:
    """The decisions of every setting on one split."""
    taken = exits_at(exits, settings)
    correct = exits.right[taken, np.arange(exits.samples)]
    return ClassDecisions(settings, len(exits.prediction), taken.astype(np.int16), correct)


def identity_of(exits: ExternalExits) -> str:
    """SHA-256 over sample ids and labels, as in the data card of a run."""
    return identity(ImageSplit(np.empty(0, np.uint8), exits.label, exits.sample_id))


def _outcomes(test: ExternalExits, point: str, setting: WeightedThreshold, exits: np.ndarray) -> pd.DataFrame:
    """Exit and prediction of every test sample at one setting. The last exit answers for ``static``, whose exit is 0."""
    answering = exits if point != STATIC else exits + len(test.prediction) - 1
    samples = np.arange(test.samples)
    return tables.outcome_frame(
        point,
        setting,
        sample_id=test.sample_id,
        exit_taken=exits,
        prediction=test.prediction[answering, samples],
        label=test.label,
        score=test.confidence[answering, samples],
    )


def _corner(test: ExternalExits, setting: float) -> pd.DataFrame:
    """Exit and correctness of every test sample at one corner of val's hull."""
    (exits,) = exits_at(test, np.array([setting]))
    return tables.corner_frame(POLICY, setting, test.sample_id, exits, test.right[exits, np.arange(test.samples)])


def _final_alone(exits: ExternalExits) -> ClassDecisions:
    """The final exit for every sample, as one setting: the reference of accuracy drops."""
    return ClassDecisions(np.zeros(1), 1, np.zeros((1, exits.samples), dtype=np.int16), exits.right[-1:])

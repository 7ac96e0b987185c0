"""From stored scores to a run's curve, operating points and outcomes. Settings are chosen on val and looked up on test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmark import registry
from benchmark.pipeline.score import ExitScores
from benchmark.spec import Selection
from methods.policies.policy import ExitPolicy
from results.curves import cheapest_within_drop, enclosing_settings, mean_cost, measure
from results.record import CostTable, OperatingPoint, PointKind, Setting
from results.statistics import wilson
from results.table import STATIC

DROPS = (0.0, 0.005, 0.01, 0.02)
BUDGETS = (0.4, 0.5, 0.6, 0.75)


@dataclass(frozen=True)
class Sweep:
    """Every setting of a policy on one split.

    Attributes:
        exits: exit index of each sample, int64 [T, N].
        predictions: predicted class, int64 [T, N].
        correct: bool [T, N].
        macs: mean cost of each setting, [T].
    """

    exits: np.ndarray
    predictions: np.ndarray
    correct: np.ndarray
    macs: np.ndarray

    @property
    def accuracy(self) -> np.ndarray:
        return self.correct.mean(axis=1)


@dataclass(frozen=True)
class Evaluation:
    """What one run's scores say."""

    points: tuple[OperatingPoint, ...]
    outcomes: pd.DataFrame
    curves: pd.DataFrame


def evaluate(
    scores: dict[str, ExitScores],
    static: dict[str, ExitScores],
    costs: CostTable,
    blocks: list[int],
    policies: list[Selection],
) -> Evaluation:
    """Sweep every policy over val and test.

    Args:
        scores: of the run, by split.
        static: of the backbone without exits, same seed; what drops are measured against.
        costs: of the run.
        blocks: block number of every exit, the last block for the final one; length K.
        policies: none for the static backbone.
    """
    reference = float((static["val"].logits[-1].argmax(-1) == static["val"].labels).double().mean())
    points: list[OperatingPoint] = []
    outcomes, curves = [_static_outcomes(static["test"])], [_curve_frame([])]
    for selection in policies:
        policy: ExitPolicy = registry.configured("policy", selection.name, selection.set)
        if policy.setting is None:
            settings = policy.default_grid(policy.signal(scores["val"].logits))
        else:
            settings = np.array([policy.setting])
        sweeps = {split: _sweep(policy, settings, scores[split], costs) for split in scores}
        for point, mixed in _points(selection.label, settings, sweeps, costs, blocks, reference):
            points.append(point)
            outcomes += [_outcomes(point, settings, t, weight, sweeps["test"], scores["test"]) for t, weight in mixed]
        curves += [_curve(selection.label, split, settings, sweep, blocks) for split, sweep in sweeps.items()]
    return Evaluation(tuple(points), pd.concat(outcomes, ignore_index=True), pd.concat(curves, ignore_index=True))


def _sweep(policy: ExitPolicy, settings: np.ndarray, scores: ExitScores, costs: CostTable) -> Sweep:
    signal = policy.signal(scores.logits)
    exits = np.stack([policy.exits(signal, float(setting)).numpy() for setting in settings])
    answers = scores.logits.argmax(-1).numpy()
    predictions = answers[exits, np.arange(exits.shape[1])]
    return Sweep(exits, predictions, predictions == scores.labels.numpy(), mean_cost(exits, costs.cumulative))


def _points(
    policy: str, settings: np.ndarray, sweeps: dict[str, Sweep], costs: CostTable, blocks: list[int], reference: float
) -> list[tuple[OperatingPoint, list[tuple[int, float]]]]:
    """Operating points, each with the (setting, weight) pairs that make it up on test."""
    val, test = sweeps["val"], sweeps["test"]
    found: list[tuple[PointKind, float, list[tuple[int, float]], list[tuple[int, float]]]] = []
    if len(settings) == 1:
        found.append(("fixed", float(settings[0]), [(0, 1.0)], [(0, 1.0)]))
    for drop in DROPS if len(settings) > 1 else ():
        t = cheapest_within_drop(val.accuracy, val.macs, reference, drop)
        chosen = [] if t is None else [(t, 1.0)]
        found.append(("accuracy-drop", drop, chosen, chosen))
    for budget in BUDGETS if len(settings) > 1 else ():
        on_val = enclosing_settings(val.macs, budget * costs.baseline)
        on_test = enclosing_settings(test.macs, budget * costs.baseline)
        if not (on_val and on_test):
            on_val = on_test = []
        found.append(("equal-macs", budget, on_val, on_test))
    return [
        (
            OperatingPoint(
                policy=policy,
                kind=kind,
                target=target,
                settings=tuple(Setting(threshold=float(settings[t]), weight=weight) for t, weight in on_test),
                val=measure(on_val, val.exits, val.correct, costs, blocks) if on_val else None,
                test=measure(on_test, test.exits, test.correct, costs, blocks) if on_test else None,
            ),
            on_test,
        )
        for kind, target, on_val, on_test in found
    ]


def _static_outcomes(scores: ExitScores) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "point": STATIC,
            "threshold": np.nan,
            "weight": 1.0,
            "sample_id": scores.sample_id.numpy(),
            "exit": 0,
            "prediction": scores.logits[-1].argmax(-1).numpy(),
            "label": scores.labels.numpy(),
            "score": scores.logits[-1].softmax(-1).amax(-1).numpy(),
        }
    )


def _outcomes(
    point: OperatingPoint, settings: np.ndarray, t: int, weight: float, sweep: Sweep, scores: ExitScores
) -> pd.DataFrame:
    """What happened to every test sample under one setting; ``score`` is the largest probability at the exit taken."""
    exits = sweep.exits[t]
    confidence = scores.logits.softmax(-1).amax(-1).numpy()
    return pd.DataFrame(
        {
            "point": point.name,
            "threshold": float(settings[t]),
            "weight": weight,
            "sample_id": scores.sample_id.numpy(),
            "exit": exits,
            "prediction": sweep.predictions[t],
            "label": scores.labels.numpy(),
            "score": confidence[exits, np.arange(len(exits))],
        }
    )


def _curve(policy: str, split: str, settings: np.ndarray, sweep: Sweep, blocks: list[int]) -> pd.DataFrame:
    depth = mean_cost(sweep.exits, blocks)
    count = sweep.exits.shape[1]
    rows = []
    for t, setting in enumerate(settings):
        right = int(sweep.correct[t].sum())
        low, high = wilson(right, count)
        rows.append((policy, split, float(setting), right / count, low, high, sweep.macs[t], depth[t]))
    return _curve_frame(rows)


def _curve_frame(rows: list[tuple[str, str, float, float, float, float, float, float]]) -> pd.DataFrame:
    columns = ["policy", "split", "threshold", "accuracy", "low", "high", "mean_macs", "mean_block"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.astype({"policy": str, "split": str} | dict.fromkeys(columns[2:], "float64"))

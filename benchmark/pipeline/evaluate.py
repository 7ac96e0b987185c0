"""From stored scores to a run's curve, operating points and outcomes. Settings are chosen on val and looked up on test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from benchmark import registry
from benchmark.pipeline.score import ExitScores
from benchmark.pipeline.sweep import Sweep, sweep
from benchmark.spec import Selection
from methods.policies.policy import ExitPolicy, confidences
from results.curves import cheapest_within_drop, enclosing_settings, measure
from results.record import CostTable, OperatingPoint, PointKind, Setting
from results.statistics import wilson
from results.table import NO_POLICY, STATIC

DROPS = (0.0, 0.005, 0.01, 0.02)
BUDGETS = (0.4, 0.5, 0.6, 0.75)


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
        policies: at least one.
    """
    reference = _final_accuracy(static["val"])
    points: list[OperatingPoint] = []
    outcomes, curves = [_static_outcomes(static["test"])], [_curve_frame([])]
    for selection in policies:
        policy, settings = prepare(selection, scores["val"], costs)
        sweeps = {split: sweep(policy, found, settings) for split, found in scores.items()}
        for point in operating_points(selection.label, sweeps, costs, blocks, reference):
            points.append(point)
            outcomes += [_outcomes(point, setting, policy, scores["test"]) for setting in point.settings]
        curves += [_curve(selection.label, split, found, costs, blocks) for split, found in sweeps.items()]
    return Evaluation(tuple(points), pd.concat(outcomes, ignore_index=True), pd.concat(curves, ignore_index=True))


def evaluate_without_exits(
    scores: dict[str, ExitScores] | None, static: dict[str, ExitScores], costs: CostTable
) -> Evaluation:
    """A model that decides nothing has one operating point, where all samples take its final classifier.

    Args:
        scores: of a model that stands beside the backbone, such as a truncated one; None for the backbone itself.
        static: of the backbone without exits.
        costs: of the model.
    """
    if scores is None:
        return Evaluation((), _static_outcomes(static["test"]), _curve_frame([]))
    blocks = [len(costs.blocks)]
    only = {
        split: Sweep(np.zeros(1), np.array([_final_accuracy(found)]), np.ones((1, 1)), len(found.labels))
        for split, found in scores.items()
    }
    chosen = [(0, 1.0)]
    val, test = (measure(chosen, only[split].accuracy, only[split].shares, costs, blocks) for split in ("val", "test"))
    setting = Setting(threshold=0.0, weight=1.0)
    point = OperatingPoint(policy=NO_POLICY, kind="fixed", target=0.0, settings=(setting,), val=val, test=test)
    own = _static_outcomes(scores["test"]).assign(point=point.name, threshold=0.0)
    curves = [_curve(NO_POLICY, split, found, costs, blocks) for split, found in only.items()]
    outcomes = pd.concat([_static_outcomes(static["test"]), own], ignore_index=True)
    return Evaluation((point,), outcomes, pd.concat(curves, ignore_index=True))


def _final_accuracy(scores: ExitScores) -> float:
    return float((scores.logits[-1].argmax(-1) == scores.labels).double().mean())


def prepare(selection: Selection, val: ExitScores, costs: CostTable) -> tuple[ExitPolicy, np.ndarray]:
    """A policy, fitted on val where it learns, and the settings to look at: the chosen one, or a grid made on val."""
    policy: ExitPolicy = registry.configured("policy", selection.name, selection.set)
    policy.fit(val.logits, val.labels, [macs / costs.baseline for macs in costs.cumulative])
    if policy.setting is not None:
        return policy, np.array([policy.setting], dtype=np.float64)
    return policy, policy.default_grid(val.logits)


def operating_points(
    policy: str,
    sweeps: dict[str, Sweep],
    costs: CostTable,
    blocks: list[int],
    reference: float,
    drops: Sequence[float] = DROPS,
    budgets: Sequence[float] = BUDGETS,
) -> list[OperatingPoint]:
    """The points of one policy: chosen on val, looked up on test.

    Args:
        policy: its label.
        sweeps: of the same settings, by split.
        costs: of the run.
        blocks: block number of every exit.
        reference: val accuracy of the backbone without exits.
        drops: accuracy drops to allow on val.
        budgets: mean costs to spend, as shares of the baseline.
    """
    val, test = sweeps["val"], sweeps["test"]
    cost = {split: found.mean(costs.cumulative) for split, found in sweeps.items()}
    wanted: list[tuple[PointKind, float, list[tuple[int, float]], list[tuple[int, float]]]] = []
    if len(val.settings) == 1:
        wanted.append(("fixed", float(val.settings[0]), [(0, 1.0)], [(0, 1.0)]))
    else:
        for drop in drops:
            t = cheapest_within_drop(val.accuracy, cost["val"], reference, drop)
            chosen = [] if t is None else [(t, 1.0)]
            wanted.append(("accuracy-drop", drop, chosen, chosen))
        for budget in budgets:
            on_val, on_test = (enclosing_settings(cost[split], budget * costs.baseline) for split in ("val", "test"))
            wanted.append(("equal-macs", budget, *((on_val, on_test) if on_val and on_test else ([], []))))
    return [
        OperatingPoint(
            policy=policy,
            kind=kind,
            target=target,
            settings=tuple(Setting(threshold=float(test.settings[t]), weight=weight) for t, weight in on_test),
            val=measure(on_val, val.accuracy, val.shares, costs, blocks) if on_val else None,
            test=measure(on_test, test.accuracy, test.shares, costs, blocks) if on_test else None,
        )
        for kind, target, on_val, on_test in wanted
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


def _outcomes(point: OperatingPoint, setting: Setting, policy: ExitPolicy, scores: ExitScores) -> pd.DataFrame:
    """What happened to every test sample under one setting; ``score`` is the largest probability at the exit taken."""
    deciding = policy.peek(scores.labels)
    exits = deciding.exits(deciding.signal(scores.logits), setting.threshold)
    samples = torch.arange(len(exits))
    return pd.DataFrame(
        {
            "point": point.name,
            "threshold": setting.threshold,
            "weight": setting.weight,
            "sample_id": scores.sample_id.numpy(),
            "exit": exits.numpy(),
            "prediction": deciding.answers(scores.logits)[exits, samples].numpy(),
            "label": scores.labels.numpy(),
            "score": confidences(scores.logits[exits, samples]).numpy(),
        }
    )


def _curve(policy: str, split: str, found: Sweep, costs: CostTable, blocks: list[int]) -> pd.DataFrame:
    macs, depth = found.mean(costs.cumulative), found.mean(blocks)
    rows = []
    for t, setting in enumerate(found.settings):
        accuracy = float(found.accuracy[t])
        low, high = wilson(round(accuracy * found.samples), found.samples)
        rows.append((policy, split, float(setting), accuracy, low, high, macs[t], depth[t]))
    return _curve_frame(rows)


def _curve_frame(rows: list[tuple[str, str, float, float, float, float, float, float]]) -> pd.DataFrame:
    columns = ["policy", "split", "threshold", "accuracy", "low", "high", "mean_macs", "mean_block"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.astype({"policy": str, "split": str} | dict.fromkeys(columns[2:], "float64"))

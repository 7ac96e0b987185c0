"""Curves, operating points and outcomes of a run from its stored scores. Settings are chosen on val and applied to test."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from benchmark import registry
from benchmark.evaluation import tables
from benchmark.evaluation.decisions import Sweep
from benchmark.evaluation.evidence import evidence_of
from benchmark.evaluation.redraw import redraw
from benchmark.evaluation.scores import ExitScores
from benchmark.evaluation.sweep import decide, without_exits
from methods.policies.policy import ExitPolicy
from results.operating_point import BUDGETS, OperatingPoint, PointKind, Redrawn, WeightedThreshold
from results.record import CostTable, ExitMetrics
from results.spec import Configured
from results.stats.curves import cheapest_within_drop, enclosing_settings, measure
from results.stats.hull import upper_hull
from results.store.run_files import GROUND_TRUTH, TABLES
from results.tables.run import NO_POLICY

DROPS = (0.0, 0.005, 0.01, 0.02)


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of one run.

    Attributes:
        points: operating points.
        thresholds: the settings chosen on val, and the number of its samples.
        outcomes: see `results.tables.run.Run.outcomes`.
        curves: see `results.tables.run.Run`.
        answers: the prediction of each exit for each test sample; see `results.tables.answers`.
        corners: see `results.tables.run.Run.corners`.
        ground_truth: the labels of the test samples, where they have a table of their own.
    """

    points: tuple[OperatingPoint, ...]
    thresholds: dict[str, Any]
    outcomes: pd.DataFrame
    curves: pd.DataFrame
    answers: pd.DataFrame
    corners: pd.DataFrame
    ground_truth: pd.DataFrame | None = None

    def write(self, folder: Path, val: str) -> None:
        """Write the thresholds and tables to the run's folder.

        Args:
            folder: of the run.
            val: identity of the split on which the thresholds were chosen, as in the record's data card.
        """
        thresholds = {"val": val, **self.thresholds}
        (folder / "thresholds.json").write_text(json.dumps(thresholds, indent=1) + "\n", encoding="utf-8")
        for name in (*TABLES, GROUND_TRUTH):
            if (table := getattr(self, name)) is not None:
                table.to_parquet(folder / f"{name}.parquet", index=False)


def evaluate(
    scores: dict[str, ExitScores],
    static: dict[str, ExitScores],
    costs: CostTable,
    blocks: list[int],
    policies: list[Configured],
    *,
    as_published: bool = False,
) -> Evaluation:
    """Sweep every policy over val and test.

    Args:
        scores: scores of the run by split.
        static: scores of the backbone without exits in the same seed, the reference for accuracy drops.
        costs: cost table of the run.
        blocks: block number of each exit, the last block for the final exit; length K.
        policies: the policies, at least one.
        as_published: whether val is the test split on purpose, for comparison with numbers that were published this way.

    Raises:
        ValueError: val and test are the same images.
    """
    if not as_published:
        refuse_leak(scores["val"], scores["test"])
    reference = accuracies(static["val"])[-1]
    points: list[OperatingPoint] = []
    frozen: list[dict[str, Any]] = []
    tested = evidence_of(scores["test"])
    outcomes, curves = [evidence_of(static["test"]).final_outcomes()], [tables.curve_frame([])]
    corners = []
    references = [without_exits(static[split], scores[split]) for split in ("val", "test")]
    for selection in policies:
        policy, settings = prepare(selection, scores["val"], costs)
        decided_on_val = decide(policy, scores["val"], settings)
        val = decided_on_val.sweep()
        chosen = choose(val, costs, reference)
        frozen.append(
            {"policy": selection.label, "settings": settings.tolist(), "points": frozen_points(chosen, settings)}
        )
        # From here on, test scores are used, and nothing is chosen.
        decided_on_test = decide(policy, scores["test"], settings)
        sweeps = {"val": val, "test": decided_on_test.sweep()}
        drops = [choice.target for choice in chosen if choice.kind == "accuracy-drop" and choice.mixture]
        redrawn = redraw(decided_on_val, decided_on_test, references, costs, blocks, drops) if drops else {}
        for point in look_up(selection.label, chosen, sweeps, costs, blocks, redrawn):
            points.append(point)
            outcomes += [tested.outcomes(point, setting, decided_on_test, policy) for setting in point.settings]
        curves += [tables.curve(selection.label, split, swept, costs, blocks) for split, swept in sweeps.items()]
        cost = val.mean(costs.cumulative)
        for t in np.unique([*upper_hull(cost, val.accuracy), cost.argmax()]):
            corners.append(tables.corner(selection.label, int(t), decided_on_test, scores["test"].sample_id.numpy()))
    return Evaluation(
        tuple(points),
        {"samples": len(scores["val"].labels), "policies": frozen},
        pd.concat(outcomes, ignore_index=True),
        pd.concat(curves, ignore_index=True),
        tested.answers(static["test"]),
        pd.concat(corners, ignore_index=True),
        tested.ground_truth(),
    )


def refuse_leak(val: ExitScores, test: ExitScores) -> None:
    """Check that val and test have different samples.

    Raises:
        ValueError: more than 10 % of the test samples are also in val, with equal ids, labels and bit-identical logits.
    """
    shared = len(_fingerprints(val) & _fingerprints(test))
    if shared > 0.1 * len(test.labels):
        raise ValueError(f"{shared} of {len(test.labels)} test samples are also in val, on which settings are chosen")


def _fingerprints(scores: ExitScores) -> set[int]:
    rows = zip(scores.sample_id.tolist(), scores.labels.tolist(), scores.logits[-1].numpy(), strict=True)
    return {hash((sample, label, logits.tobytes())) for sample, label, logits in rows}


def evaluate_without_exits(
    scores: dict[str, ExitScores] | None, static: dict[str, ExitScores], costs: CostTable
) -> Evaluation:
    """The evaluation of a model without early exits: one operating point, at which all samples reach the final classifier.

    Args:
        scores: scores of the model, such as a truncated backbone; None for the backbone itself.
        static: scores of the backbone without exits.
        costs: cost table of the model.
    """
    own_scores = static if scores is None else scores
    frozen = {"samples": len(own_scores["val"].labels), "policies": []}
    tested = evidence_of(own_scores["test"])
    answers, truth = tested.answers(static["test"]), tested.ground_truth()
    static_outcomes, corners = evidence_of(static["test"]).final_outcomes(), tables.no_corners(tested.has_right)
    if scores is None:
        return Evaluation((), frozen, static_outcomes, tables.curve_frame([]), answers, corners, truth)
    blocks = [len(costs.blocks)]
    sweeps = {split: without_exits(split_scores, split_scores).sweep() for split, split_scores in scores.items()}
    chosen = [(0, 1.0)]
    val, test = (
        measure(chosen, sweeps[split].accuracy, sweeps[split].shares, costs, blocks) for split in ("val", "test")
    )
    setting = WeightedThreshold(threshold=0.0, weight=1.0)
    point = OperatingPoint(policy=NO_POLICY, kind="fixed", target=0.0, settings=(setting,), val=val, test=test)
    own = evidence_of(scores["test"]).final_outcomes().assign(point=point.name, threshold=0.0, exit=0)
    curves = [tables.curve(NO_POLICY, split, swept, costs, blocks) for split, swept in sweeps.items()]
    outcomes = pd.concat([static_outcomes, own], ignore_index=True)
    swept = pd.concat(curves, ignore_index=True)
    return Evaluation((point,), frozen, outcomes, swept, answers, corners, truth)


def accuracies(scores: ExitScores) -> list[float]:
    """The metric of each exit over all samples, length K: accuracy, or that of another task."""
    return evidence_of(scores).at_exits()


def exit_metrics(scores: dict[str, ExitScores], blocks: list[int], heads: list[str]) -> tuple[ExitMetrics, ...]:
    """Accuracy of each exit over all samples of val and of test."""
    names = [*heads, "final classifier"]
    val, test = accuracies(scores["val"]), accuracies(scores["test"])
    return tuple(
        ExitMetrics(block=block, head=head, val_accuracy=on_val, test_accuracy=on_test)
        for block, head, on_val, on_test in zip(blocks, names, val, test, strict=True)
    )


def prepare(selection: Configured, val: ExitScores, costs: CostTable) -> tuple[ExitPolicy, np.ndarray]:
    """A policy, fitted on val if needed, and the settings to evaluate: the configured one, or a grid computed on val.

    A grid with more settings than the task evaluates is thinned evenly; both ends stay.
    """
    policy: ExitPolicy = registry.configured("policy", selection.name, selection.set)
    policy.fit(val.logits, val.labels, [macs / costs.baseline for macs in costs.cumulative])
    if policy.setting is not None:
        return policy, np.array([policy.setting], dtype=np.float64)
    grid, most = policy.with_context(val.labels, val.errors).default_grid(val.logits), evidence_of(val).most_settings
    if most is not None and len(grid) > most:
        grid = grid[np.linspace(0, len(grid) - 1, most).round().astype(int)]
    return policy, grid


@dataclass(frozen=True)
class ChosenPoint:
    """An operating point chosen on val, as (index of the setting, weight) pairs; empty if no setting on val meets it."""

    kind: PointKind
    target: float
    mixture: list[tuple[int, float]]


def choose(
    val: Sweep,
    costs: CostTable,
    reference: float,
    drops: Sequence[float] = DROPS,
    budgets: Sequence[float] = BUDGETS,
) -> list[ChosenPoint]:
    """Choose the operating points of one policy on val.

    Args:
        val: the sweep on val.
        costs: cost table of the run.
        reference: val accuracy of the backbone without exits.
        drops: permitted accuracy drops.
        budgets: mean costs, as shares of the baseline.
    """
    if len(val.settings) == 1:
        return [ChosenPoint("fixed", float(val.settings[0]), [(0, 1.0)])]
    cost = val.mean(costs.cumulative)
    chosen = []
    for drop in drops:
        t = cheapest_within_drop(val.accuracy, cost, reference, drop)
        chosen.append(ChosenPoint("accuracy-drop", drop, [] if t is None else [(t, 1.0)]))
    return chosen + [
        ChosenPoint("equal-macs", budget, enclosing_settings(cost, budget * costs.baseline)) for budget in budgets
    ]


def look_up(
    policy: str,
    chosen: list[ChosenPoint],
    sweeps: dict[str, Sweep],
    costs: CostTable,
    blocks: list[int],
    redrawn: Mapping[float, Redrawn] = MappingProxyType({}),
) -> list[OperatingPoint]:
    """Measure the chosen points on val and test.

    At equal MACs, the two settings whose costs on test enclose the budget are mixed so that the cost is exact. This uses the
    costs on test, but not the labels.

    Args:
        policy: label of the policy.
        chosen: the points chosen on val.
        sweeps: sweeps of the same settings, by split.
        costs: cost table of the run.
        blocks: block number of each exit.
        redrawn: intervals of the points chosen by accuracy drop, by drop.
    """
    val, test = sweeps["val"], sweeps["test"]
    points = []
    for choice in chosen:
        on_val, on_test = choice.mixture, choice.mixture
        if choice.kind == "equal-macs":
            on_test = enclosing_settings(test.mean(costs.cumulative), choice.target * costs.baseline)
        if not on_val or not on_test:
            on_val = on_test = []
        points.append(
            OperatingPoint(
                policy=policy,
                kind=choice.kind,
                target=choice.target,
                settings=tuple(
                    WeightedThreshold(threshold=float(test.settings[t]), weight=weight) for t, weight in on_test
                ),
                val=measure(on_val, val.accuracy, val.shares, costs, blocks) if on_val else None,
                test=measure(on_test, test.accuracy, test.shares, costs, blocks) if on_test else None,
                redrawn=redrawn.get(choice.target) if choice.kind == "accuracy-drop" and on_test else None,
            )
        )
    return points


def frozen_points(chosen: list[ChosenPoint], settings: np.ndarray) -> list[dict[str, Any]]:
    """The chosen points in the form of thresholds.json."""
    return [
        {
            "kind": choice.kind,
            "target": choice.target,
            "settings": [{"threshold": float(settings[t]), "weight": weight} for t, weight in choice.mixture],
        }
        for choice in chosen
    ]

"""Policies evaluated on what finished runs have stored, without a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmark import registry
from benchmark.errors import UserError
from benchmark.evaluation.decisions import Decisions, Sweep
from benchmark.evaluation.evaluate import choose, look_up, prepare
from benchmark.evaluation.evidence import evidence_of
from benchmark.evaluation.scores import ExitScores
from benchmark.evaluation.stored_runs import load_run_scores, stage_name
from benchmark.evaluation.sweep import decide
from benchmark.external import evaluation as external
from benchmark.grid.fitting import policy_mistake
from methods.policies.policy import ExitPolicy
from results.metric import METRICS
from results.record import EXTERNAL, EXTERNAL_FILE, DoneRecord
from results.spec import Configured
from results.stats.curves import measure
from results.stats.monotonicity import MARGINS, share_that_falls
from results.store.folder import Store, StoreError


def evaluate_policies(
    store: Store,
    record: DoneRecord,
    policies: Sequence[Configured],
    drops: Sequence[float],
    budgets: Sequence[float],
    *,
    skip_unsupported: bool,
) -> list[dict[str, Any]]:
    """The operating points of policies on a finished run: chosen on val, looked up on test.

    Args:
        store: the results folder.
        record: of a run with early exits.
        policies: with a threshold, or to be swept.
        drops: accuracy drops to allow.
        budgets: mean costs as shares of the baseline.
        skip_unsupported: whether policies are left out that read what the run lacks: learned gates, or all logits.

    Returns:
        one row per policy and operating point; columns are missing where a point was not reached. Besides the point, and the
        name of the metric that the columns ``accuracy`` hold:

        - ``falls_0.01``, ...: share of test samples for which the probability of the true class falls along the exits by more
          than this margin (conditional monotonicity). Not for external runs, and only in classification.
        - ``realised_macs``, ``realised_accuracy`` and ``budget_drift``, at equal MACs: the settings that cost the budget on
          val, applied to test: cost over that of the backbone, accuracy, and cost over the budget.

    Raises:
        UserError: a policy reads learned gates or logits, which the run does not have.
        StoreError: an artifact is missing, was changed or does not fit the policy.
    """
    blocks = [exit_.block for exit_ in record.exits]
    static = record.static_accuracy
    rows: list[dict[str, Any]] = []
    for selection, sweeps, falls in _sweeps(store, record, policies, skip_unsupported=skip_unsupported):
        chosen = choose(sweeps["val"], record.costs, static.val, drops, budgets)
        points = look_up(selection.label, chosen, sweeps, record.costs, blocks)
        for choice, point in zip(chosen, points, strict=True):
            row: dict[str, Any] = {"run_id": record.run_id, "method": record.label, "policy": selection.label}
            row |= {"dataset": record.data.name, "metric": METRICS[record.data.task].name}
            row |= {"point": point.kind, "target": point.target, **falls}
            if choice.kind == "equal-macs" and choice.mixture:
                test = sweeps["test"]
                realised = measure(choice.mixture, test.accuracy, test.shares, record.costs, blocks)
                share = realised.mean_macs / record.costs.baseline
                row |= {
                    "realised_macs": share,
                    "realised_accuracy": realised.accuracy,
                    "budget_drift": share / point.target,
                }
            if point.test is not None:
                row |= {
                    "thresholds": " ".join(f"{setting.threshold:.6g}" for setting in point.settings),
                    "accuracy": point.test.accuracy,
                    "drop": static.test - point.test.accuracy,
                    "mean_block": point.test.mean_block,
                    "layer_speedup": record.depth / point.test.mean_block,
                    "mac_speedup": record.costs.baseline / point.test.mean_macs,
                }
            rows.append(row)
    return rows


def correct_at_budget(
    store: Store, record: DoneRecord, policies: Sequence[Configured], budget: float, *, skip_unsupported: bool
) -> dict[str, np.ndarray | None]:
    """Correctness of every test sample at equal MACs, by policy: [N], between 0 and 1 where two settings are mixed.

    In other tasks, `Decisions.values`.

    Args:
        store: the results folder.
        record: of a run with early exits, not of an external one.
        policies: without a threshold of their own.
        budget: mean cost as a share of the baseline.
        skip_unsupported: as in `evaluate_policies`.

    Returns:
        None for a policy that does not reach the budget on val or on test.

    Raises:
        UserError, StoreError: see `evaluate_policies`.
    """
    scores = load_run_scores(store, record)
    blocks = [exit_.block for exit_ in record.exits]
    correct: dict[str, np.ndarray | None] = {}
    for selection, _, decisions in _decisions(store, record, scores, policies, skip_unsupported=skip_unsupported):
        sweeps = {split: decided.sweep() for split, decided in decisions.items()}
        chosen = choose(sweeps["val"], record.costs, record.static_accuracy.val, (), (budget,))
        (point,) = look_up(selection.label, chosen, sweeps, record.costs, blocks)
        test = decisions["test"]
        shares = [setting.weight * test.values(test.row(setting.threshold)) for setting in point.settings]
        correct[selection.label] = np.sum(shares, axis=0) if shares else None
    return correct


def _sweeps(
    store: Store, record: DoneRecord, policies: Sequence[Configured], *, skip_unsupported: bool
) -> Iterator[tuple[Configured, dict[str, Sweep], dict[str, float]]]:
    """The sweeps on val and test of each policy that the run supports, and the columns ``falls_*`` of its rows."""
    if record.is_external:
        path = store.artifact(stage_name(record, EXTERNAL), EXTERNAL_FILE)
        supported = [policy for policy in policies if policy.name == external.POLICY or not skip_unsupported]
        yield from ((policy, external.sweep_policy(path, policy), {}) for policy in supported)
        return
    scores = load_run_scores(store, record)
    names = [f"falls_{margin:g}" for margin in MARGINS]
    for selection, policy, decisions in _decisions(store, record, scores, policies, skip_unsupported=skip_unsupported):
        sweeps = {split: decided.sweep() for split, decided in decisions.items()}
        probability = evidence_of(scores["test"]).true_class_probability(policy)
        shares = () if probability is None else share_that_falls(probability)
        yield selection, sweeps, dict(zip(names, shares, strict=False))


def _decisions(
    store: Store,
    record: DoneRecord,
    scores: dict[str, ExitScores],
    policies: Sequence[Configured],
    *,
    skip_unsupported: bool,
) -> Iterator[tuple[Configured, ExitPolicy, dict[str, Decisions]]]:
    """Each policy that the exits support, fitted on val, with its decisions on the run's logits by split."""
    for selection in policies:
        if problem := policy_mistake(selection, record.data.task, record.data.name):
            if skip_unsupported:
                continue
            raise UserError(f"--policy {selection.name}: {problem}")
        if registry.card("policy", selection.name).reads_gates and scores["val"].errors is None:
            if skip_unsupported:
                continue
            raise UserError(f"--policy {selection.name}: the exits of {record.run_id} have no learned gate to read")
        try:
            policy, settings = prepare(selection, scores["val"], record.costs)
            decisions = {split: decide(policy, split_scores, settings) for split, split_scores in scores.items()}
        except ValueError as error:
            folder = store.stage(stage_name(record, "scores"))
            raise StoreError(f"{folder}: {selection.label}: {error}") from error
        yield selection, policy, decisions

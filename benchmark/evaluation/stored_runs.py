"""Policies evaluated on the stored scores of finished runs, without a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmark import registry
from benchmark.errors import UserError
from benchmark.evaluation.evaluate import choose, look_up, prepare
from benchmark.evaluation.scores import SCORED, ExitScores, load_scores, score_file
from benchmark.evaluation.sweep import sweep
from results.record import DoneRecord
from results.spec import Configured
from results.store.folder import Store, StoreError


def stage_name(record: DoneRecord, kind: str) -> str:
    """The name of the run's own stage of a kind: the last one, because the backbone's ``scores`` stage precedes the run's."""
    return [reference.name for reference in record.stages if reference.stage == kind][-1]


def load_run_scores(store: Store, record: DoneRecord) -> dict[str, ExitScores]:
    """The run's own scores by split.

    Raises:
        StoreError: an artifact is missing or was changed.
    """
    stage = stage_name(record, "scores")
    return {split: load_scores(store.artifact(stage, score_file(split))) for split in SCORED}


def evaluate_policies(
    store: Store,
    record: DoneRecord,
    policies: Sequence[Configured],
    drops: Sequence[float],
    budgets: Sequence[float],
    *,
    skip_gate_readers: bool,
) -> list[dict[str, Any]]:
    """The operating points of policies on a finished run: chosen on val, looked up on test.

    Args:
        store: the results folder.
        record: of a run with early exits.
        policies: with a threshold, or to be swept.
        drops: accuracy drops to allow.
        budgets: mean costs as shares of the baseline.
        skip_gate_readers: whether policies that read learned gates are left out of runs without gates.

    Returns:
        one row per policy and operating point; the columns after ``target`` are missing where a point was not reached.

    Raises:
        UserError: a policy reads learned gates, which the run does not have.
        StoreError: an artifact is missing, was changed or does not fit the policy.
    """
    scores = load_run_scores(store, record)
    blocks = [exit_.block for exit_ in record.exits]
    static = record.static_accuracy
    rows: list[dict[str, Any]] = []
    for selection in policies:
        reads_gates = registry.card("policy", selection.name).load().reads_gates
        if reads_gates and scores["val"].errors is None:
            if skip_gate_readers:
                continue
            raise UserError(f"--policy {selection.name}: the exits of {record.run_id} have no learned gate to read")
        try:
            policy, settings = prepare(selection, scores["val"], record.costs)
            sweeps = {split: sweep(policy, split_scores, settings) for split, split_scores in scores.items()}
        except ValueError as error:
            folder = store.stage(stage_name(record, "scores"))
            raise StoreError(f"{folder}: {selection.label}: {error}") from error
        chosen = choose(sweeps["val"], record.costs, static.val, drops, budgets)
        for point in look_up(selection.label, chosen, sweeps, record.costs, blocks):
            row: dict[str, Any] = {"run_id": record.run_id, "method": record.label, "policy": selection.label}
            row |= {"point": point.kind, "target": point.target}
            if point.test is not None:
                row |= {
                    "settings": " ".join(f"{setting.threshold:.6g}" for setting in point.settings),
                    "accuracy": point.test.accuracy,
                    "drop": static.test - point.test.accuracy,
                    "mean_block": point.test.mean_block,
                    "layer_speedup": record.depth / point.test.mean_block,
                    "mac_speedup": record.costs.baseline / point.test.mean_macs,
                }
            rows.append(row)
    return rows

"""The threshold of a finished run for a budget: chosen on val, with what it costs on test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from benchmark import provenance, registry
from benchmark.deployment.budget import Budget
from benchmark.deployment.deployed import Deployed, DeployedExit, InputForm, Interval, OnTest
from benchmark.deployment.measured_times import TimingSetup, measured_times
from benchmark.errors import UserError
from benchmark.evaluation.decisions import Sweep
from benchmark.evaluation.evaluate import prepare
from benchmark.evaluation.scores import ExitScores
from benchmark.evaluation.stored_runs import load_run_scores
from benchmark.evaluation.sweep import decide
from benchmark.measure.finished import finished_run, policy_label
from benchmark.training.inputs import input_card
from datasets.api import DatasetCard
from methods.policies.policy import ExitPolicy
from results.record import DoneRecord
from results.stats.curves import cheapest_within_drop
from results.stats.statistics import accuracy_interval, bounded_mean, paired_interval
from results.store.folder import Store
from results.tables.loading import load_runs
from results.tables.run import STATIC


def choose_deployment(
    store: Store, reference: str, budget: Budget, policy: str | None = None, timing: TimingSetup | None = None
) -> Deployed:
    """The setting of a policy for a budget.

    MACs: of the settings whose mean cost on val is within the budget, the one with the highest val accuracy. Drop: the cheapest
    setting whose val accuracy is at most that much below the backbone's. Time: of the operating points that were measured on
    this machine with batches of one image, those within the budget; of these, the one with the highest val accuracy.

    Args:
        store: the results folder, with the run's scores; weights are read for measurements only.
        reference: names a finished run with early exits; see `benchmark.run_reference`.
        budget: the limit.
        policy: label of a policy of the run; None for its first.
        timing: the device whose times count, and how times are measured; None for a budget that is no time.

    Raises:
        UserError: unknown run or policy, no scores, no measured times, or no setting within the budget.
        StoreError: an artifact was changed.
    """
    record = finished_run(store, reference, "RUN")
    scores = load_run_scores(store, record)
    label = policy_label(record, policy)
    selection = next(selection for selection in record.spec.policies if selection.label == label)
    fitted, settings = prepare(selection, scores["val"], record.costs)
    if not fitted.causal:
        raise UserError(f"--policy {label}: a control that cannot run inside inference")
    times: dict[float, float] = {}
    if budget.kind == "time":
        if timing is None:
            raise ValueError("a budget of time needs the device on which it is meant")
        times = measured_times(store, record, label, budget.option, timing)
        settings = np.array(list(times))
    choice = _choose(decide(fitted, scores["val"], settings).sweep(), settings, times, record, budget, label)
    setattr(fitted, fitted.swept, choice.setting)
    card = input_card(record.spec.train)
    return Deployed(
        run=record.run_id,
        dataset=record.data.name,
        backbone=record.spec.train.backbone,
        budget=budget.text,
        policy=selection,
        setting_name=fitted.swept,
        setting=choice.setting,
        classes=card.classes,
        input=_input_form(record, card),
        exits=tuple(
            DeployedExit(block=exit_.block, macs=macs)
            for exit_, macs in zip(record.exits, record.costs.cumulative, strict=True)
        ),
        baseline_macs=record.costs.baseline,
        val_accuracy=choice.val_accuracy,
        val_macs=choice.val_macs,
        milliseconds=times.get(choice.setting),
        measured_on=provenance.machine(str(timing.device)).name if times and timing else None,
        test=_on_test(store, record, fitted, scores["test"]),
    )


@dataclass(frozen=True)
class _Choice:
    """A setting with its accuracy and its mean MACs on val."""

    setting: float
    val_accuracy: float
    val_macs: float


def _choose(
    val: Sweep, settings: np.ndarray, times: dict[float, float], record: DoneRecord, budget: Budget, label: str
) -> _Choice:
    """The best setting within the budget; ``times`` are milliseconds by setting where the budget is a time."""
    cost, accuracy, reference = val.mean(record.costs.cumulative), val.accuracy, record.static_accuracy.val
    if budget.kind == "drop":
        index = cheapest_within_drop(accuracy, cost, reference, budget.limit)
        nearest = f"the smallest drop on val is {100 * (reference - accuracy.max()):.2f} points"
    else:
        spent = np.array([times[t] for t in settings]) if budget.kind == "time" else cost / record.costs.baseline
        within = np.flatnonzero(spent <= budget.limit + 1e-12)
        index = int(within[np.lexsort((cost[within], -accuracy[within]))[0]]) if len(within) else None
        nearest = f"the smallest is {spent.min():.3g}{' ms' if budget.kind == 'time' else ' of the MACs'}"
    if index is None:
        raise UserError(f"{budget.option} {budget.text}: no threshold of {label} stays within it; {nearest}")
    return _Choice(float(settings[index]), float(accuracy[index]), float(cost[index]))


def _input_form(record: DoneRecord, card: DatasetCard) -> InputForm:
    backbone = registry.card("backbone", record.spec.train.backbone)
    return InputForm(
        size=backbone.image_size,
        channels=backbone.channels,
        stored_size=card.image_size,
        stored_channels=card.channels,
        mean=card.mean,
        std=card.std,
    )


def _on_test(store: Store, record: DoneRecord, policy: ExitPolicy, test: ExitScores) -> OnTest:
    """The deployed policy on test; intervals are over test images, paired for the drop."""
    runs, problems = load_runs(store, [record.run_id])
    if not runs:
        raise UserError(*problems)
    order = test.sample_id.argsort()
    exits = torch.from_numpy(decide(policy, test, np.array([policy.required_setting()])).exit_taken[0].astype(np.int64))
    predictions = policy.with_context(test.labels, test.errors).predictions(test.logits)
    right = (predictions[exits, torch.arange(len(exits))] == test.labels)[order].double().numpy()
    taken = exits[order].numpy()
    prices = np.asarray(record.costs.cumulative, dtype=np.float64)
    macs = prices[taken]
    static = runs[0].values(STATIC)
    return OnTest(
        images=len(right),
        accuracy=_interval(right, accuracy_interval(right)),
        drop=_interval(static - right, paired_interval(static - right)),
        mean_macs=_interval(macs, bounded_mean(macs, float(min(prices)), float(max(prices)))),
        exit_shares=tuple(float(share) for share in np.bincount(taken, minlength=len(record.exits)) / len(taken)),
    )


def _interval(values: np.ndarray, interval: tuple[float, float]) -> Interval:
    return Interval(mean=float(values.mean()), low=interval[0], high=interval[1])

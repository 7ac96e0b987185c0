"""The threshold of a finished run for a budget: chosen on val, with what it costs on test."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from benchmark import registry
from benchmark.deployment.deployed import Deployed, DeployedExit, InputForm, Interval, OnTest
from benchmark.errors import UserError
from benchmark.evaluation.evaluate import prepare
from benchmark.evaluation.scores import ExitScores
from benchmark.evaluation.stored_runs import load_run_scores, stage_name
from benchmark.evaluation.sweep import decide
from benchmark.measure.finished import finished_run
from benchmark.training.inputs import input_card
from methods.lookup import unknown
from methods.policies.policy import ExitPolicy
from results.record import DoneRecord
from results.stats.curves import cheapest_within_drop
from results.stats.statistics import accuracy_interval, bounded_mean, paired_interval
from results.store.folder import Store
from results.store.latency import read_latencies
from results.tables.loading import load_runs
from results.tables.run import STATIC

UNITS = {"": "macs", "pt": "drop", "ms": "time"}
FORMS = "0.5 (share of the backbone's MACs), 1pt (points of accuracy lost on val) or 5ms (mean time per image)"


@dataclass(frozen=True)
class Budget:
    """What a deployed model may cost.

    Attributes:
        kind: ``macs``, a share of the MACs of the backbone without exits; ``drop``, an accuracy drop on val in [0, 1]; or
            ``time``, in milliseconds per image.
        limit: in that unit.
        text: as the user wrote it.
        option: of the command line, for messages.
    """

    kind: str
    limit: float
    text: str
    option: str = "--budget"

    @classmethod
    def parse(cls, text: str) -> Budget:
        """
        Raises:
            UserError: it is in none of the forms.
        """
        match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(pt|ms|)", text.strip())
        if match is None:
            raise UserError(f"--budget {text}: allowed are {FORMS}")
        kind, limit = UNITS[match[2]], float(match[1])
        if kind != "drop" and limit == 0:
            raise UserError(f"--budget {text}: must be above 0")
        if (kind == "macs" and limit > 2) or (kind == "drop" and limit > 100):
            raise UserError(f"--budget {text}: too large; allowed are {FORMS}")
        return cls(kind, limit / 100 if kind == "drop" else limit, text)


def choose_deployment(store: Store, reference: str, budget: Budget, policy: str | None = None) -> Deployed:
    """The setting of a policy for a budget.

    MACs: of the settings whose mean cost on val is within the budget, the one with the highest val accuracy. Drop: the cheapest
    setting whose val accuracy is at most that much below the backbone's. Time: of the operating points that `latency` measured
    with batches of one image, those within the budget; of these, the one with the highest val accuracy.

    Args:
        store: the results folder, with the run's scores; weights are not read.
        reference: names a finished run with early exits; see `benchmark.run_reference`.
        budget: the limit.
        policy: label of a policy of the run; None for its first.

    Raises:
        UserError: unknown run or policy, no scores, or no setting within the budget.
        StoreError: an artifact was changed.
    """
    record = finished_run(store, reference, "RUN")
    run_id = record.run_id
    scores_stage = stage_name(record, "scores")
    if not store.has_stage(scores_stage):
        raise UserError(
            f"RUN {run_id}: its scores are not in {store.root} ({scores_stage} is missing), as in records without scores; make "
            f"them with: python -m benchmark reproduce {run_id} --results {store.root}"
        )
    scores = load_run_scores(store, record)
    selections = {selection.label: selection for selection in record.spec.policies}
    label = next(iter(selections)) if policy is None else policy
    if label not in selections:
        raise UserError(f"--policy: {unknown('policy of this run', label, selections)}")
    fitted, settings = prepare(selections[label], scores["val"], record.costs)
    if not fitted.causal:
        raise UserError(f"--policy {label}: a control that cannot run inside inference")
    milliseconds: dict[float, float] = {}
    if budget.kind == "time":
        milliseconds = _measured(store, record, label, budget.option)
        settings = np.array(list(milliseconds))
    val = decide(fitted, scores["val"], settings).sweep()
    cost = val.mean(record.costs.cumulative)
    if budget.kind == "drop":
        index = cheapest_within_drop(val.accuracy, cost, record.static_accuracy.val, budget.limit)
        nearest = f"the smallest drop on val is {100 * (record.static_accuracy.val - val.accuracy.max()):.2f} points"
    else:
        spent = np.array([milliseconds[t] for t in settings]) if milliseconds else cost / record.costs.baseline
        within = np.flatnonzero(spent <= budget.limit + 1e-12)
        index = int(within[np.lexsort((cost[within], -val.accuracy[within]))[0]]) if len(within) else None
        nearest = f"the smallest is {spent.min():.3g}{' ms' if milliseconds else ' of the MACs'}"
    if index is None:
        raise UserError(f"{budget.option} {budget.text}: no setting of {label} stays within it; {nearest}")
    setting = float(settings[index])
    setattr(fitted, fitted.swept, setting)
    card = input_card(record.spec.train)
    backbone = registry.card("backbone", record.spec.train.backbone)
    return Deployed(
        run=run_id,
        dataset=record.data.name,
        backbone=record.spec.train.backbone,
        budget=budget.text,
        policy=selections[label],
        setting_name=fitted.swept,
        setting=setting,
        classes=card.classes,
        input=InputForm(
            size=backbone.image_size,
            channels=backbone.channels,
            stored_size=card.image_size,
            stored_channels=card.channels,
            mean=card.mean,
            std=card.std,
        ),
        exits=tuple(
            DeployedExit(block=exit_.block, macs=macs)
            for exit_, macs in zip(record.exits, record.costs.cumulative, strict=True)
        ),
        baseline_macs=record.costs.baseline,
        val_accuracy=float(val.accuracy[index]),
        val_macs=float(cost[index]),
        milliseconds=milliseconds.get(setting),
        test=_on_test(store, record, fitted, scores["test"]),
    )


def _measured(store: Store, record: DoneRecord, label: str, option: str) -> dict[float, float]:
    """Mean milliseconds per image in batches of one, by threshold; of several devices or precisions, the slowest counts."""
    times: dict[float, float] = {}
    for latency in read_latencies(store, []).get(record.run_id, []):
        timing = latency.at(1)
        if timing is not None and latency.point.startswith(f"{label}/"):
            times[latency.threshold] = max(timing.dynamic.mean, times.get(latency.threshold, -math.inf))
    if not times:
        raise UserError(
            f"{option}: no time of {record.run_id} with {label} was measured with batches of one image; measure it with: "
            f"python -m benchmark latency --run {record.run_id} --point NAME --batch-size 1"
        )
    return times


def _on_test(store: Store, record: DoneRecord, policy: ExitPolicy, test: ExitScores) -> OnTest:
    """The deployed policy on test; intervals are over test images, paired for the drop."""
    runs, problems = load_runs(store, [record.run_id])
    if not runs:
        raise UserError(*problems)
    order = test.sample_id.argsort()
    exits, predictions = policy.with_context(test.labels, test.errors).choose(test.logits)
    right = (predictions == test.labels)[order].double().numpy()
    taken = exits[order].numpy()
    prices = np.asarray(record.costs.cumulative, dtype=np.float64)
    macs = prices[taken]
    static = runs[0].correct(STATIC)
    return OnTest(
        images=len(right),
        accuracy=_interval(right, accuracy_interval(right)),
        drop=_interval(static - right, paired_interval(static - right)),
        mean_macs=_interval(macs, bounded_mean(macs, float(min(prices)), float(max(prices)))),
        exit_shares=tuple(float(share) for share in np.bincount(taken, minlength=len(record.exits)) / len(taken)),
    )


def _interval(values: np.ndarray, interval: tuple[float, float]) -> Interval:
    return Interval(mean=float(values.mean()), low=interval[0], high=interval[1])

"""Tidy tables of curves, exits, routing and classes; see `results.tables.points` for operating points."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from results.operating_point import OperatingPoint
from results.stats.calibration import expected_calibration_error
from results.stats.classes import per_class
from results.stats.controls import first_correct, regret
from results.stats.curves import enclosing_settings
from results.stats.exits import agreement, exit_conditional, flips, overthinking
from results.stats.hull import SHARES, accuracy_at, area, upper_hull
from results.stats.optimism import optimism
from results.tables import box_metrics, pixel_metrics
from results.tables.row_labels import labels
from results.tables.run import SETTING, STATIC, Run

ROWS = {"segmentation": pixel_metrics, "detection": box_metrics}
"""Rows of the tasks whose answers are not one class for an image, by task."""


def area_table(runs: list[Run]) -> pd.DataFrame:
    """One row per run and swept policy, on test.

    Columns: those of `_base`, area (mean accuracy over `hull.INTERVAL`, on the hull chosen on val), accuracy_at_25 ... _100
    (accuracy on the hull at shares of the MACs without exits; NaN below the cheapest setting), and claimed and honest MAC
    speed-up and drop for each drop of the record's points; see `results.stats.optimism`.
    """
    rows = []
    for run, label, policy in _policies(runs):
        curve = {split: _curve(run, policy, split) for split in ("val", "test")}
        if len(curve["val"][0]) < 2:
            continue  # a fixed threshold has only one setting
        corners = upper_hull(curve["val"][1], curve["val"][0])
        accuracy, cost = (values[corners] for values in curve["test"])
        row = _base(run, label) | {"policy": policy, "area": area(cost, accuracy)}
        row |= {f"accuracy_at_{100 * share:.0f}": accuracy_at(cost, accuracy, share) for share in SHARES}
        static = run.record.static_accuracy.val, run.record.static_accuracy.test
        for point in run.record.points:
            if point.policy == policy and point.kind == "accuracy-drop":
                gap = optimism(curve["val"], curve["test"], static, point.target)
                row |= {
                    f"drop_{point.target:g}_claimed_speedup": gap.claimed_speedup,
                    f"drop_{point.target:g}_claimed_drop": gap.claimed_drop,
                    f"drop_{point.target:g}_honest_speedup": gap.honest_speedup,
                    f"drop_{point.target:g}_honest_drop": gap.honest_drop,
                }
        rows.append(row)
    return pd.DataFrame(rows)


def drift_table(runs: list[Run]) -> pd.DataFrame:
    """One row per run, policy and budget that its settings reach on val: what the settings for the budget do on test.

    Where test images differ from val, as with the dataset option ``corruption``, so does their cost. Columns: those of `_base`,
    policy, target (the budget), macs and accuracy (realised on test), drift (macs / target). Costs are shares of the MACs
    without exits.
    """
    rows = []
    for run, label, policy in _policies(runs):
        (_, val_cost), (accuracy, cost) = (_curve(run, policy, split) for split in ("val", "test"))
        for point in run.record.points:
            if point.policy != policy or point.kind != "equal-macs":
                continue
            mixture = enclosing_settings(val_cost, point.target)
            if mixture:
                macs, right = (sum(weight * values[t] for t, weight in mixture) for values in (cost, accuracy))
                row = _base(run, label) | {"policy": policy, "target": point.target, "macs": macs, "accuracy": right}
                rows.append(row | {"drift": macs / point.target})
    return pd.DataFrame(rows)


def head_table(runs: list[Run]) -> pd.DataFrame:
    """One row per classification with early exits: statistics of its heads on test, which do not depend on the policy.

    Columns: those of `_base`, oracle_accuracy and oracle_macs (exiting at the first correct exit), wasteful, destructive,
    wasted_macs, flips. MACs are shares of the MACs without exits.
    """
    rows = []
    for run in _with_exits(runs):
        if not run.is_classification:
            continue  # an image is not right or wrong
        correct, cost = run.answers.correct, run.relative_costs
        oracle, wasted = first_correct(correct, cost), overthinking(correct, cost)
        rows.append(
            _base(run, run.method)
            | {"oracle_accuracy": oracle.accuracy, "oracle_macs": oracle.mean_cost}
            | {"wasteful": wasted.wasteful, "destructive": wasted.destructive, "wasted_macs": wasted.wasted_cost}
            | {"flips": flips(run.answers.prediction)}
        )
    return pd.DataFrame(rows)


def exit_table(runs: list[Run]) -> pd.DataFrame:
    """One row per run and exit, evaluated on all test samples.

    Columns: those of `_base`, block, head, macs (of exiting there, as a share of the MACs without exits), accuracy, ece, nll
    (in nats); of another task those of `exit_rows` in its module of `ROWS`.
    """
    rows = []
    for run in _with_exits(runs):
        cost = run.relative_costs
        of_task = ROWS.get(run.record.data.task)
        measured = of_task.exit_rows(run) if of_task else _class_exits(run)
        for k, exit_ in enumerate(run.record.exits):
            row = _base(run, run.method) | {"block": exit_.block, "head": exit_.head, "macs": cost[k]}
            rows.append(row | measured[k])
    return pd.DataFrame(rows)


def _class_exits(run: Run) -> list[dict[str, Any]]:
    answers = run.answers
    return [
        {"accuracy": answers.correct[k].mean()}
        | {"ece": expected_calibration_error(answers.confidence[k], answers.correct[k])}
        | {"nll": float(answers.nll[k].mean())}
        for k in range(len(answers.prediction))
    ]


def leaving_table(runs: list[Run]) -> pd.DataFrame:
    """One row per run, operating point and exit, for the test samples that exit there.

    Columns: those of `_base`, point, block, share, accuracy (of the exit on these samples), final_accuracy (of the final head
    on these samples), all_accuracy (of the exit on all samples), ece (on these samples; NaN if settings are mixed); of
    another task those of `leaving_rows` in its module of `ROWS`.
    """
    rows = []
    for run, label, point in _points(runs):
        of_task = ROWS.get(run.record.data.task)
        measured = of_task.leaving_rows(run, point) if of_task else _class_leaving(run, point)
        for exit_, row in zip(run.record.exits, measured, strict=True):
            rows.append(_base(run, label) | {"point": point.name, "block": exit_.block} | row)
    return pd.DataFrame(rows)


def _class_leaving(run: Run, point: OperatingPoint) -> list[dict[str, Any]]:
    outcomes = _FlatOutcomes(run, point)
    at_exit = exit_conditional(
        outcomes.exits, outcomes.right, outcomes.final_right, outcomes.weight, len(run.record.exits)
    )
    rows = []
    for k, anytime in enumerate(run.at_exits):
        here = outcomes.exits == k
        calibration = (
            expected_calibration_error(outcomes.score[here], outcomes.right[here])
            if len(point.settings) == 1
            else float("nan")
        )
        rows.append(
            {"share": at_exit.share[k], "accuracy": at_exit.accuracy[k]}
            | {"final_accuracy": at_exit.final_accuracy[k], "all_accuracy": anytime, "ece": calibration}
        )
    return rows


def routing_table(runs: list[Run]) -> pd.DataFrame:
    """One row per run and operating point: the policy compared with random and perfect routing, on test.

    Columns: those of `_base`, point, accuracy, random and oracle (accuracies at the same exit shares), regret, gain, agreement
    (with the final head), val_accuracy, val_macs and macs (shares of the MACs without exits). Only a classification has
    oracle, regret, gain and agreement. mIoU and AP are not linear in the shares, so random is the weighted mean over the
    settings that are mixed, as accuracy is.
    """
    rows = []
    for run, label, point in _points(runs):
        assert point.val is not None
        assert point.test is not None
        accuracy, shares = point.test.accuracy, np.array(point.test.exit_shares)
        if of_task := ROWS.get(run.record.data.task):
            mixed = run.point_outcomes[point.name]
            settings = [
                of_task.random_routing(run, np.bincount(taken, minlength=len(shares)) / len(taken))
                for taken in mixed.exit
            ]
            routing = {"random": float(mixed.weight @ settings)}
        else:
            controls, outcomes = regret(accuracy, run.answers.correct, shares), _FlatOutcomes(run, point)
            routing = {"random": controls.random, "oracle": controls.oracle, "regret": controls.regret}
            routing |= {"gain": controls.gain}
            routing |= {"agreement": agreement(outcomes.prediction, outcomes.final, outcomes.weight)}
        rows.append(
            _base(run, label)
            | {"point": point.name, "accuracy": accuracy}
            | routing
            | {"val_accuracy": point.val.accuracy, "val_macs": point.val.mean_macs / run.record.costs.baseline}
            | {"macs": point.test.mean_macs / run.record.costs.baseline}
        )
    return pd.DataFrame(rows)


def box_table(runs: list[Run]) -> pd.DataFrame | None:
    """One row per detection and operating point, and one per detection for the backbone without exits; None without detections.

    Columns: those of `_base`, point, macs (mean over test images, as a share of the MACs without exits), and those of
    `box_metrics.measures`.
    """
    names = labels(runs)
    rows = []
    for run in runs:
        points = [(STATIC, STATIC, 1.0)] if run.is_detection else []
        for point in run.record.points if run.is_detection else ():
            if point.test is not None:
                macs = point.test.mean_macs / run.record.costs.baseline
                points.append((names[run.record.run_id, point.policy], point.name, macs))
        for label, name, macs in points:
            outcomes = run.point_outcomes[name]
            measured = box_metrics.measures(run, outcomes.exit, outcomes.weight)
            rows.append(_base(run, label) | {"point": name, "macs": macs} | measured)
    return pd.DataFrame(rows) if rows else None


def class_table(runs: list[Run]) -> pd.DataFrame:
    """One row per run, operating point and class; see `classes.per_class`, whose accuracy is the recall of the class.

    Costs are shares of the MACs without exits. Further columns: the run's, point, and name of the class. Of another task,
    the columns are those of `class_rows` in its module of `ROWS`, whose accuracy is the IoU or AP of the class.
    """
    parts, where, others = [], [], []
    for run, label, point in _points(runs):
        if of_task := ROWS.get(run.record.data.task):
            base = _base(run, label) | {"point": point.name}
            others += [row | base for row in of_task.class_rows(run, point)]
            continue
        outcomes = _FlatOutcomes(run, point)
        static = run.values(STATIC)[outcomes.sample]
        parts.append(
            per_class(outcomes.label, run.relative_costs[outcomes.exits], outcomes.right, static, outcomes.weight)
        )
        base = _base(run, label) | {"point": point.name}
        where += [base | {"name": run.record.data.class_name(int(index))} for index in parts[-1]["class"]]
    tables = [pd.DataFrame(others)] if others else []
    if parts:
        columns = {name: np.concatenate([columns[name] for columns in parts]) for name in parts[0]}
        tables.insert(0, pd.DataFrame(columns).join(pd.DataFrame(where)))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


class _FlatOutcomes:
    """The outcomes at one operating point of a classification, one row per sample and setting: arrays [R]."""

    def __init__(self, run: Run, point: OperatingPoint) -> None:
        outcomes, answers = run.class_outcomes(point.name), run.answers
        settings = len(outcomes.weight)
        same = np.array_equal(answers.sample_id, outcomes.sample_id)
        sample = np.arange(len(outcomes.label)) if same else np.searchsorted(answers.sample_id, outcomes.sample_id)
        self.sample = np.tile(sample, settings)
        self.exits = outcomes.exit.ravel()
        self.prediction = outcomes.prediction.ravel()
        self.label = np.tile(outcomes.label, settings)
        self.weight = np.repeat(outcomes.weight, len(outcomes.label))
        self.score = outcomes.score.ravel()
        self.right = outcomes.right.ravel()
        self.final = answers.prediction[-1][self.sample]
        self.final_right = self.final == self.label


def _with_exits(runs: list[Run]) -> Iterator[Run]:
    return (run for run in runs if run.has_exits)


def _policies(runs: list[Run]) -> Iterator[tuple[Run, str, str]]:
    """Each run with early exits, with the label of the table row and the policy."""
    names = labels(runs)
    for run in _with_exits(runs):
        for policy in run.policies:
            yield run, names[run.record.run_id, policy], policy


def _points(runs: list[Run]) -> Iterator[tuple[Run, str, OperatingPoint]]:
    """Each reached operating point, with its run and the label of the table row."""
    names = labels(runs)
    for run in _with_exits(runs):
        for point in run.record.points:
            if point.reached:
                yield run, names[run.record.run_id, point.policy], point


def _base(run: Run, label: str) -> dict[str, Any]:
    """The columns run_id, those of `SETTING`, method, label and seed."""
    where: dict[str, Any] = {"run_id": run.record.run_id, **dict(zip(SETTING, run.setting, strict=True))}
    return where | {"method": run.method, "label": label, "seed": run.seed}


def _curve(run: Run, policy: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Accuracy and relative cost of every setting, in the order of the grid made on val."""
    rows = run.curves[(run.curves["policy"] == policy) & (run.curves["split"] == split)]
    return rows["accuracy"].to_numpy(), rows["mean_macs"].to_numpy() / run.record.costs.baseline

"""Symptoms of problems that are typical of early exits.

Each rule reads records and tables, names the run and the place, and gives the value with the limit that it exceeds. A symptom
is a reason to look closer, not a verdict.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict

import numpy as np
import pandas as pd

from results.judge.convergence import not_converged
from results.judge.symptom import Symptom
from results.judge.weak_runs import weak_runs
from results.record import DoneRecord, FailedRecord
from results.store.devices import UNVERIFIED
from results.store.folder import Store, StoreError
from results.tables.backbones import balance_of
from results.tables.pairing import are_paired
from results.tables.points import points
from results.tables.run import STATIC, Run

LEARNED = 0.5
"""An exit has learned when it covers this share of the way from chance to the final head."""
LARGE_DROP = 0.05
UNSTABLE = 0.10
"""Standard deviation over seeds, or gap between val and test, relative to the speed-up."""
FULL = 0.9
"""Share of the memory above which it is nearly full."""


def failures(runs: list[Run], failed: Iterable[FailedRecord] = (), table: pd.DataFrame | None = None) -> pd.DataFrame:
    """Every symptom; columns as `Symptom`.

    Args:
        runs: finished ones.
        failed: records of runs that did not finish.
        table: `results.tables.points.points` of these runs, if at hand.
    """
    exiting = [run for run in runs if run.has_exits]
    table = points(runs) if table is None else table
    if exiting:
        table = table[table["run_id"].isin([run.record.run_id for run in exiting])]
    symptoms = [
        *(symptom for run in exiting for symptom in exits_that_did_not_learn(run)),
        *(fast_but_wrong(table, {run.record.run_id: run.metric.name for run in exiting}) if exiting else ()),
        *(symptom for rule in (unstable_over_seeds, broken_promises) if exiting for symptom in rule(table)),
        *(symptom for run in exiting for symptom in unstable_between_splits(run)),
        *(symptom for run in exiting for symptom in heads_that_do_not_pay(run)),
        *(symptom for run in runs for symptom in best_rate_at_an_end(run)),
        *not_converged(runs),
        *weak_runs(runs),
        *on_other_images(runs),
        *(symptom for run in runs for symptom in nearly_full(run.record)),
        *(symptom for run in runs for symptom in unverified(run)),
        *(symptom for record in failed for symptom in out_of_memory(record)),
    ]
    return pd.DataFrame([asdict(symptom) for symptom in symptoms], columns=list(Symptom.__dataclass_fields__))


def failed_records(store: Store, run_ids: Iterable[str]) -> list[FailedRecord]:
    """The failed ones of these records; damaged and missing ones are skipped."""
    records = []
    for run_id in run_ids:
        try:
            record = store.record(run_id)
        except StoreError:
            continue
        if record.status == "failed":
            records.append(record)
    return records


def exits_that_did_not_learn(run: Run) -> Iterator[Symptom]:
    """An early exit whose test accuracy on all samples is less than halfway from chance to that of the final head.

    Chance: the accuracy, or mIoU, of always answering the most frequent class; in a detection, 0.
    """
    metric = run.metric
    chance = 0.0 if run.is_detection else balance_of(run.point_outcomes[STATIC]).majority_share
    limit = chance + LEARNED * (run.record.exits[-1].test_accuracy - chance)
    for exit_ in run.record.exits[:-1]:
        if exit_.test_accuracy < limit:
            yield Symptom(
                "exit does not learn", run.record.run_id, f"block {exit_.block}", exit_.test_accuracy, limit,
                f"the {exit_.head} exit after block {exit_.block} {metric.reaches(f'{100 * exit_.test_accuracy:.1f}')}, the "
                f"final head {100 * run.record.exits[-1].test_accuracy:.1f} %",
            )  # fmt: skip


def fast_but_wrong(table: pd.DataFrame, metrics: Mapping[str, str]) -> Iterator[Symptom]:
    """A speed-up that costs more than five points of accuracy, beyond the interval over test samples.

    Args:
        table: of `results.tables.points.points`.
        metrics: names of the metrics by run id.
    """
    for _, row in table[table["reached"] & (table["mac_speedup"] > 1)].iterrows():
        if row["drop_low"] > LARGE_DROP:
            yield Symptom(
                f"low {metrics[row['run_id']]} despite speed-up", row["run_id"], row["point"], row["drop"], LARGE_DROP,
                f"{row['mac_speedup']:.2f}x in MACs loses {100 * row['drop']:.1f} points",
            )  # fmt: skip


def unstable_over_seeds(table: pd.DataFrame) -> Iterator[Symptom]:
    """MAC speed-ups of one method and point that vary by more than a tenth over at least three training seeds.

    Equal-MACs points are ignored: their speed-up is fixed.
    """
    free = table[table["kind"].isin(["accuracy-drop", "fixed"]) & table["reached"]]
    for (*_, point), group in free.groupby(["backbone", "dataset", "scheme", "recipes", "label", "point"], sort=False):
        speed = group["mac_speedup"].to_numpy()
        if len(speed) >= 3 and speed.std(ddof=1) / speed.mean() > UNSTABLE:
            yield Symptom(
                "speed-up unstable across seeds", " ".join(group["run_id"]), str(point),
                float(speed.std(ddof=1) / speed.mean()), UNSTABLE,
                f"{speed.min():.2f}x to {speed.max():.2f}x in MACs over {len(speed)} seeds",
            )  # fmt: skip


def unstable_between_splits(run: Run) -> Iterator[Symptom]:
    """A threshold chosen on val whose MAC speed-up on test differs by more than a tenth."""
    for point in run.record.points:
        if point.kind == "equal-macs" or point.val is None or point.test is None:
            continue
        gap = point.val.mean_macs / point.test.mean_macs - 1
        if abs(gap) > UNSTABLE:
            on_val, on_test = (run.record.costs.baseline / measured.mean_macs for measured in (point.val, point.test))
            yield Symptom(
                "speed-up unstable between val and test", run.record.run_id, point.name, abs(gap), UNSTABLE,
                f"{on_val:.2f}x on val, {on_test:.2f}x on test",
            )  # fmt: skip


def broken_promises(table: pd.DataFrame) -> Iterator[Symptom]:
    """A drop on test that exceeds the permitted drop on val, beyond the interval over test samples."""
    for _, row in table[(table["kind"] == "accuracy-drop") & table["reached"]].iterrows():
        if row["drop_low"] > row["target"]:
            yield Symptom(
                "drop on test exceeds that on val", row["run_id"], row["point"], row["drop"], row["target"],
                f"the limit on val is a drop of {100 * row['target']:g}, test loses {100 * row['drop']:.1f} points",
            )  # fmt: skip


def heads_that_do_not_pay(run: Run) -> Iterator[Symptom]:
    """A head that costs more than it can save at every point, or an exit at which leaving saves nothing.

    Head k saves at most the share of samples that leave there times the remaining cost to the end; it costs its own MACs times
    the share of samples that reach it.
    """
    costs = run.record.costs
    reached = [point for point in run.record.points if point.test is not None]
    for k, exit_ in enumerate(run.record.exits[:-1]):
        place = f"block {exit_.block}"
        if costs.cumulative[k] >= costs.baseline:
            yield Symptom(
                "leaving saves nothing", run.record.run_id, place, costs.cumulative[k] / costs.baseline, 1.0,
                f"leaving after block {exit_.block} costs {costs.cumulative[k] / costs.baseline:.3f} × the MACs without exits",
            )  # fmt: skip
        ratios = []
        for point in reached:
            assert point.test is not None
            shares = np.array(point.test.exit_shares)
            paid = costs.heads[k] * shares[k:].sum()
            saved = shares[k] * (costs.cumulative[-1] - costs.cumulative[k])
            ratios.append(paid / saved if saved else np.inf if paid else 0.0)
        if ratios and min(ratios) > 1:
            yield Symptom(
                "head costs more than it saves", run.record.run_id, place, float(min(ratios)), 1.0,
                f"at every operating point the {exit_.head} head after block {exit_.block} costs more MACs than it can save",
            )  # fmt: skip


def best_rate_at_an_end(run: Run) -> Iterator[Symptom]:
    """The best learning rate on val is the smallest or the largest of at least three: a better one may lie beyond."""
    if len(run.tried) < 3:
        return
    for end, neighbour, word in (run.tried[0], run.tried[1], "smallest"), (run.tried[-1], run.tried[-2], "largest"):
        if end.chosen:
            yield Symptom(
                "best learning rate at an end", run.record.run_id, end.rates, end.val_accuracy, neighbour.val_accuracy,
                f"the {word} of the {len(run.tried)} learning rates that were tried",
            )  # fmt: skip


def on_other_images(runs: list[Run]) -> Iterator[Symptom]:
    """A run whose test images differ from those of the first run on a dataset of the same name; the two are not compared."""
    first: dict[str, Run] = {}
    for run in runs:
        other = first.setdefault(run.dataset, run)
        if not are_paired(run, STATIC, other, STATIC):
            yield Symptom(
                "tested on other images", run.record.run_id, run.dataset, np.nan, np.nan,
                f"it is not compared with {other.record.run_id}, whose test images of that name are others",
            )  # fmt: skip


def nearly_full(record: DoneRecord) -> Iterator[Symptom]:
    """A run that used nearly all memory of its machine or GPU."""
    made, machine = record.provenance, record.provenance.machine
    for place, peak, memory in (
        ("", made.peak_memory_bytes, machine.memory_bytes),
        ("GPU", made.gpu_peak_memory_bytes, machine.gpu_memory_bytes),
    ):
        if peak and memory and peak / memory > FULL:
            where = f" of the {place}" if place else ""
            yield Symptom(
                "memory nearly outgrows the device", record.run_id, place, peak / memory, FULL,
                f"{peak / 2**30:.1f} of {memory / 2**30:.1f} GiB{where} were in use",
            )  # fmt: skip


def out_of_memory(record: FailedRecord) -> Iterator[Symptom]:
    """A run that ran out of memory."""
    if record.failure == "oom":
        yield Symptom("memory outgrows the device", record.run_id, "", np.nan, np.nan, record.cause.splitlines()[0])


def unverified(run: Run) -> Iterator[Symptom]:
    """A run that was made or timed on a kind of GPU that has not passed ``doctor --device`` in this results folder."""
    for device in run.unverified_devices:
        yield Symptom(
            UNVERIFIED, run.record.run_id, device, np.nan, np.nan,
            f"{device} with its torch has passed no check in this results folder; run there: doctor --device cuda",
        )  # fmt: skip

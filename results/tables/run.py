"""A finished run as analyses see it: its record with its tables, and how runs are read from a results folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from results.record import DoneRecord, OperatingPoint, printable
from results.stats.significance import realised
from results.stats.speedups import layer_speedup, mac_speedup, official_swin_speedup
from results.stats.statistics import bootstrap_mean
from results.store.devices import UNVERIFIED, DeviceCheck, is_unverified, read_checks
from results.store.folder import TABLES, Store, StoreError
from results.store.latency import Latency, read_latencies
from results.tables.answers import Answers
from results.tables.outcomes import HullOutcomes, PointOutcomes, split_by_point, split_by_policy
from results.tables.record_validation import check_tables
from results.tables.tuning import Tried, chosen_on_val, is_tuned, without_rates

STATIC = "static"
NO_POLICY = "none"
"""The policy of a model without early exits that is not the reference, such as a truncated backbone."""
SMALL = {"sample_id": "int32", "exit": "int16", "prediction": "int16", "label": "int16"}
SETTING = ["backbone", "dataset", "scheme", "recipes"]
"""Runs that agree on these are compared with each other."""


@dataclass(frozen=True)
class Run:
    """A finished run: its record and its tables.

    Attributes:
        point_outcomes: the outcome of every test sample at each operating point, by the point's name. The point ``static``
            holds those of the backbone without exits.
        curves: one row per policy, split and setting: policy, split, threshold, accuracy, low, high, mean_macs, mean_block.
        folder: where the tables are.
        latencies: measured times, if any.
        tried: the learning rates that its grid tried, in ascending order, its own among them; see `results.tables.tuning`.
        device_checks: those of the results folder, by the machine's fingerprint.
    """

    record: DoneRecord
    point_outcomes: Mapping[str, PointOutcomes]
    curves: pd.DataFrame
    folder: Path
    latencies: tuple[Latency, ...] = ()
    tried: tuple[Tried, ...] = ()
    device_checks: Mapping[str, DeviceCheck] = field(default_factory=dict)

    @property
    def outcomes(self) -> pd.DataFrame:
        """The table that `taken` is cut from; read when asked for.

        One row per operating point, setting and test sample: point, threshold, weight, sample_id, exit, prediction, label,
        score.

        Raises:
            StoreError: the table is missing or damaged.
        """
        return _parquet(self.folder / "outcomes.parquet", ["point"])

    @cached_property
    def answers(self) -> Answers:
        """Every exit's answer to every test sample; read when first asked for.

        Raises:
            StoreError: the table is missing or damaged.
        """
        path = self.folder / "answers.parquet"
        try:
            return Answers.from_table(_parquet(path))
        except ValueError as error:
            raise StoreError(f"{path}: {error}") from error

    @property
    def corners(self) -> pd.DataFrame:
        """What every test sample does at the corners of the val-built hulls and where fewest leave; read when asked for.

        One row per policy, corner and sample: policy, threshold, sample_id, exit, right.

        Raises:
            StoreError: the table is missing or damaged.
        """
        return _parquet(self.folder / "corners.parquet", ["policy"])

    @cached_property
    def hull_outcomes(self) -> dict[str, HullOutcomes]:
        """`corners`, by policy."""
        return split_by_policy(self.corners)

    @property
    def method(self) -> str:
        return self.record.label

    @property
    def is_static(self) -> bool:
        """Whether it is the backbone without exits that others are measured against."""
        return self.method == STATIC

    @property
    def unverified_devices(self) -> tuple[str, ...]:
        """GPUs that made or timed it and have not passed ``doctor --device``."""
        machines = [self.record.provenance.machine, *(latency.machine for latency in self.latencies)]
        return tuple(dict.fromkeys(machine.name for machine in machines if is_unverified(machine, self.device_checks)))

    @property
    def has_exits(self) -> bool:
        return bool(self.record.spec.train.exits)

    @property
    def backbone(self) -> str:
        return self.record.spec.train.backbone

    @property
    def seed(self) -> int:
        return self.record.spec.train.seed

    @property
    def dataset(self) -> str:
        sizes = ", ".join(f"{split}={count}" for split, count in self.record.spec.train.dataset.set.items())
        # The name in the spec may be the whole path of a folder; the data card has the short name.
        name = self.record.data.name
        return f"{name} ({sizes})" if sizes else name

    @cached_property
    def recipes(self) -> str:
        """Six digits that stand for how the run was trained, but for a learning rate that was chosen on val."""
        recipes = self.record.spec.train.recipes
        content = without_rates(recipes) if is_tuned(self) else recipes.model_dump(mode="json")
        text = json.dumps(content if self.has_exits else content["finetune"], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:6]

    @cached_property
    def setting(self) -> tuple[str, str, str, str]:
        """The values of `SETTING`."""
        return self.backbone, self.dataset, self.record.spec.scheme, self.recipes

    @cached_property
    def rows(self) -> list[dict[str, object]]:
        """The run's part of `points`: one row an operating point."""
        return [_static_row(self)] if self.is_static else [_point_row(self, point) for point in self.record.points]

    def having(self, **changes: Any) -> Run:
        """A copy with other values; what was read and cut of its tables is kept, as these stay the same."""
        copy = replace(self, **changes)
        copy.__dict__.update(
            {name: self.__dict__[name] for name in ("answers", "hull_outcomes") if name in self.__dict__}
        )
        return copy

    def correct(self, point: str) -> np.ndarray:
        """Share of right answers of every test sample at a point, in ascending order of ids, [N]: 0 or 1, or between them where
        two settings are mixed."""
        return self.point_outcomes[point].share_right

    def realised(self, point: str) -> np.ndarray:
        """Right or wrong of each test sample at a point, in ascending order of ids; see `significance.realised`."""
        return realised(self.point_outcomes[point].right, self.point_outcomes[point].weight)

    def mean_over_exits(self, point: str, at_exit: np.ndarray) -> np.ndarray:
        """What every test sample pays at a point, in ascending order of ids, [N]; ``at_exit`` [K] is the price of each exit."""
        taken = self.point_outcomes[point]
        return taken.mean(at_exit[taken.exit])


def paired(first: Run, at: str, second: Run, against: str) -> np.ndarray | None:
    """`Run.correct` of the first at one point less that of the second at another, [N]; None unless `are_paired`."""
    return first.correct(at) - second.correct(against) if are_paired(first, at, second, against) else None


def are_paired(first: Run, at: str, second: Run, against: str) -> bool:
    """Whether the first at one point and the second at another have answered the same test images: they have the same ids, and
    the records know no difference."""
    return first.record.data.same_test_images(second.record.data) and np.array_equal(
        first.point_outcomes[at].sample_id, second.point_outcomes[against].sample_id
    )


def _static_row(run: Run) -> dict[str, object]:
    correct = run.point_outcomes[STATIC].share_right
    low, high = bootstrap_mean(correct)
    return {
        "point": STATIC, "policy": STATIC, "kind": STATIC, "target": 0.0, "reached": True,
        "accuracy": correct.mean(), "low": low, "high": high, "drop": 0.0, "drop_low": 0.0, "drop_high": 0.0,
        "mean_block": float(run.record.depth), "layer_speedup": 1.0, "layer_low": 1.0, "layer_high": 1.0,
        "mac_speedup": 1.0, "mac_low": 1.0, "mac_high": 1.0, "time_speedup": 1.0, "time_device": "",
        "official_swin_speedup": np.nan,
    }  # fmt: skip


def _point_row(run: Run, point: OperatingPoint) -> dict[str, object]:
    row: dict[str, object] = {
        "point": point.name, "policy": point.policy, "kind": point.kind, "target": point.target,
        "reached": point.reached,
    }  # fmt: skip
    if point.test is None:
        return row
    costs = run.record.costs
    blocks = [exit_.block for exit_ in run.record.exits]
    correct, static = (run.point_outcomes[name].share_right for name in (point.name, STATIC))
    # A percentile interval of a mean, turned over: dearer is slower.
    slow_block, slow_macs = (
        bootstrap_mean(run.mean_over_exits(point.name, np.array(price, dtype=np.float64)))
        for price in (blocks, costs.cumulative)
    )
    is_swin = run.record.backbone.family == "swin"
    drop = static - correct  # the same samples in the same order, as `check_tables` saw
    low, high = bootstrap_mean(correct)
    drop_low, drop_high = bootstrap_mean(drop)
    return row | {
        "accuracy": correct.mean(), "low": low, "high": high,
        "drop": drop.mean(), "drop_low": drop_low, "drop_high": drop_high,
        "mean_block": point.test.mean_block,
        "layer_speedup": layer_speedup(point.test.exit_shares, blocks, run.record.depth),
        "layer_low": run.record.depth / slow_block[1], "layer_high": run.record.depth / slow_block[0],
        "mac_speedup": mac_speedup(point.test.exit_shares, costs.cumulative, costs.baseline),
        "mac_low": costs.baseline / slow_macs[1], "mac_high": costs.baseline / slow_macs[0],
        "official_swin_speedup": official_swin_speedup(point.test.exit_shares, blocks) if is_swin else np.nan,
    } | _time(run, point)  # fmt: skip


def _time(run: Run, point: OperatingPoint) -> dict[str, object]:
    """The measured speed-up at batch 1, if somebody measured it."""
    for latency in run.latencies:
        timing = latency.at(1)
        if latency.point == point.name and timing is not None:
            device = f"{latency.machine.name}, {latency.precision}"
            flag = f", {UNVERIFIED}" if is_unverified(latency.machine, run.device_checks) else ""
            return {"time_speedup": timing.speedup, "time_device": device + flag}
    return {"time_speedup": np.nan, "time_device": ""}


def labels(runs: list[Run]) -> dict[tuple[str, str], str]:
    """What a row is called, by (run id, policy): the method, the policy, or both, whichever tells the runs apart."""
    exiting = [run for run in runs if run.has_exits]
    methods = {run.method for run in exiting}
    policies = {point.policy for run in exiting for point in run.record.points}
    named = {}
    for run in runs:
        for policy in dict.fromkeys(point.policy for point in run.record.points):
            both = run.method if policy in (NO_POLICY, run.method) else f"{run.method}, {policy}"
            named[run.record.run_id, policy] = (
                run.method if len(policies) == 1 else policy if len(methods) == 1 else both
            )
    return named


def load_runs(
    store: Store, run_ids: list[str], say: Callable[[str], None] = lambda _: None
) -> tuple[list[Run], list[str]]:
    """The finished runs, and a sentence for every record that is missing, failed or damaged.

    Of runs that differ in a tried learning rate alone, the best on val. ``say`` is told now and then how many are read.
    """
    runs, problems = [], store.displaced(run_ids)
    timed, checks = read_latencies(store, problems), read_checks(store, problems)
    for number, run_id in enumerate(run_ids):
        if number % 100 == 0:
            say(f"reading records, {number} of {len(run_ids)}")
        try:
            record = store.record(run_id)
            if record.status == "failed":
                problems.append(f"{run_id}: failed ({printable(record.cause)})")
                continue
            runs.append(_load(store, record, tuple(timed.get(run_id, ())), checks))
        except StoreError as error:
            problems.append(str(error))
    return without_repeats(chosen_on_val(runs)), problems


def _load(store: Store, record: DoneRecord, timed: tuple[Latency, ...], checks: Mapping[str, DeviceCheck]) -> Run:
    """
    Raises:
        StoreError: something is missing, damaged, or does not fit together.
    """
    folder = store.run(record.run_id)
    paths = {name: store.table(record.run_id, f"{name}.parquet") for name in TABLES}
    try:
        run = Run(
            record,
            split_by_point(_parquet(paths["outcomes"], ["point"])),
            _parquet(paths["curves"]),
            folder,
            timed,
            device_checks=checks,
        )
        check_tables(run)
    except (ValueError, TypeError) as error:
        raise StoreError(f"{folder}: {error}") from None
    return run


def without_repeats(runs: list[Run]) -> list[Run]:
    """Runs of one training, evaluated for several grids, say everything once: a later one keeps the policies that are new."""
    seen: set[tuple[str, str]] = set()
    kept = []
    for run in runs:
        training = json.dumps(run.record.spec.train.model_dump(mode="json"), sort_keys=True)
        points = tuple(point for point in run.record.points if (training, point.policy) not in seen)
        policies = {point.policy for point in points}
        if not policies and (training, STATIC) in seen:
            continue
        seen |= {(training, policy) for policy in policies | {STATIC}}
        curves = run.curves[run.curves["policy"].isin(policies)]
        kept.append(run.having(record=run.record.model_copy(update={"points": points}), curves=curves))
    return kept


def _parquet(path: Path, few: Sequence[str] = ()) -> pd.DataFrame:
    """A table beside a record, its whole numbers in few bytes: a report may have a thousand such tables in memory.
    ``few``: columns of few distinct texts, which then take a byte a row.
    """
    from pyarrow import ArrowInvalid
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path, read_dictionary=list(few)) as file:
            table = file.read(use_threads=False)
        for index, name in enumerate(table.column_names):
            if name in SMALL:
                with suppress(ArrowInvalid):  # they do not fit, or are none
                    table = table.set_column(index, name, table.column(index).cast(SMALL[name]))
        return table.to_pandas(split_blocks=True, use_threads=False)
    except (OSError, ValueError, KeyError) as error:  # pyarrow's errors are ValueErrors; KeyError: no such column
        raise StoreError(f"{path}: cannot be read ({error})") from error

"""A finished run: its record with its tables."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pyarrow import ArrowInvalid, BufferReader
from pyarrow.parquet import ParquetFile

from results.record import DoneRecord, OperatingPoint
from results.store.devices import DeviceCheck, is_unverified
from results.store.folder import StoreError
from results.store.latency import Latency
from results.store.run_files import read_run_file
from results.tables.answers import Answers
from results.tables.outcomes import HullOutcomes, PointOutcomes, split_by_policy

MAX_ROWS = 50_000_000
MAX_TABLE_BYTES = 2**32
"""The largest table that is read: its rows, and its size in memory as the file states it."""
STATIC = "static"
NO_POLICY = "none"
"""The policy of a model without early exits that is not the reference, such as a truncated backbone."""
SMALL = {"sample_id": "int32", "exit": "int16", "prediction": "int16", "label": "int16"}
SETTING = ["backbone", "dataset", "scheme", "recipes"]
"""Runs that agree on these are compared with each other."""


@dataclass(frozen=True)
class TriedRate:
    """A learning rate that a grid tried, and its result.

    Attributes:
        rates: the recipes and learning rates that were varied, in words: ``exits 0.002``.
        val_accuracy: mean over all exits, in [0, 1].
        chosen: whether it is the run's own.
    """

    rates: str
    val_accuracy: float
    chosen: bool


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
    tried: tuple[TriedRate, ...] = ()
    device_checks: Mapping[str, DeviceCheck] = field(default_factory=dict)

    @property
    def outcomes(self) -> pd.DataFrame:
        """The table behind `point_outcomes`, read from its file on each access.

        One row per operating point, setting and test sample: point, threshold, weight, sample_id, exit, prediction, label,
        score.

        Raises:
            StoreError: the table is missing or damaged.
        """
        return self._table("outcomes", ["point"])

    @cached_property
    def answers(self) -> Answers:
        """Every exit's answer to every test sample, read from its file on first access.

        Raises:
            StoreError: the table is missing or damaged.
        """
        try:
            return Answers.from_table(self._table("answers"))
        except ValueError as error:
            raise StoreError(f"{self.folder / 'answers.parquet'}: {error}") from error

    @property
    def corners(self) -> pd.DataFrame:
        """The outcomes at the corners of the hulls built on val, and at the setting where fewest samples leave early; read from
        its file on each access.

        One row per policy, corner and sample: policy, threshold, sample_id, exit, right.

        Raises:
            StoreError: the table is missing or damaged.
        """
        return self._table("corners", ["policy"])

    @cached_property
    def hull_outcomes(self) -> dict[str, HullOutcomes]:
        """`corners`, by policy."""
        return split_by_policy(self.corners)

    def _table(self, name: str, categorical: Sequence[str] = ()) -> pd.DataFrame:
        return read_table(self.folder / f"{name}.parquet", self.record, categorical)

    @property
    def method(self) -> str:
        return self.record.label

    @property
    def is_static(self) -> bool:
        """Whether it is the backbone without exits, the reference of accuracy drops."""
        return self.method == STATIC

    @property
    def unverified_devices(self) -> tuple[str, ...]:
        """GPUs that trained, scored or timed the run and have not passed ``doctor --device``."""
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
    def policies(self) -> list[str]:
        """The policies that were evaluated, in the grid's order."""
        return list(dict.fromkeys(point.policy for point in self.record.points))

    @property
    def judged_policy(self) -> str:
        """The policy that the run is judged by: its method's own where it was evaluated, else the first; empty if none was."""
        own = self.record.own_policy
        return own if own in self.policies else next(iter(self.policies), "")

    def point(self, policy: str, kind: str, target: float) -> OperatingPoint | None:
        """The operating point of a policy by kind and target; None if the run does not reach it."""
        points = (p for p in self.record.points if (p.policy, p.kind, p.target) == (policy, kind, target) and p.reached)
        return next(points, None)

    @cached_property
    def recipes(self) -> str:
        """Six hex digits over recipes and initial weights of the run, without a learning rate that was chosen on val."""
        spec = self.record.spec
        recipes = spec.train.recipes
        content = recipes.without_learning_rates() if spec.is_tuned else recipes.model_dump(mode="json")
        weights = spec.train.weights.sha256 or spec.train.weights.source  # a path differs from machine to machine
        text = json.dumps([content if self.has_exits else content["finetune"], weights], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:6]

    @cached_property
    def setting(self) -> tuple[str, str, str, str]:
        """The values of `SETTING`."""
        return self.backbone, self.dataset, self.record.spec.scheme, self.recipes

    def changed(self, **fields: Any) -> Run:
        """A copy with other fields, which keeps the tables that were already read."""
        copy = replace(self, **fields)
        tables: dict[str, Any] = {
            name: self.__dict__[name] for name in ("answers", "hull_outcomes") if name in self.__dict__
        }
        copy.__dict__.update(tables)
        return copy

    def correct(self, point: str) -> np.ndarray:
        """Correctness of every test sample at a point, [N], in ascending order of ids: 0 or 1, or between where the point mixes
        two settings."""
        return self.point_outcomes[point].share_right

    def mean_over_exits(self, point: str, at_exit: np.ndarray) -> np.ndarray:
        """A quantity of the exit that each test sample takes at a point, [N], in ascending order of ids.

        Args:
            point: name of an operating point.
            at_exit: the quantity at each exit, such as its cost, [K].
        """
        outcomes = self.point_outcomes[point]
        return outcomes.mean(at_exit[outcomes.exit])


def paired(first: Run, at: str, second: Run, against: str) -> np.ndarray | None:
    """`Run.correct` of the first run at one point minus that of the second at another, [N]; None unless `are_paired`."""
    return first.correct(at) - second.correct(against) if are_paired(first, at, second, against) else None


def are_paired(first: Run, at: str, second: Run, against: str) -> bool:
    """Whether two runs were tested on the same images: their sample ids are equal, and so are the data cards' hashes."""
    return first.record.data.same_test_images(second.record.data) and np.array_equal(
        first.point_outcomes[at].sample_id, second.point_outcomes[against].sample_id
    )


def labels(runs: list[Run]) -> dict[tuple[str, str], str]:
    """Names of table rows, by (run id, policy): the method, the policy, or both, as far as needed to distinguish the runs."""
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


def read_table(
    path: Path, record: DoneRecord, categorical: Sequence[str] = (), most_rows: int = MAX_ROWS
) -> pd.DataFrame:
    """A table beside a record, its integers in few bytes: a report may hold a thousand such tables in memory.

    Args:
        path: of the Parquet file.
        record: beside which it lies, with its hash.
        categorical: text columns with few distinct values.
        most_rows: a longer table is not read: it may come from a stranger.

    Raises:
        StoreError: the table is missing, too large, was changed since the record was written, or is no table.
    """
    content = read_run_file(path, record)
    try:
        with ParquetFile(BufferReader(content), read_dictionary=list(categorical)) as file:
            size = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
            if file.metadata.num_rows > most_rows or size > MAX_TABLE_BYTES:
                rows = f"{file.metadata.num_rows:,} rows of {size:,} bytes"
                raise ValueError(f"it has {rows}; at most {most_rows:,} rows fit the record")
            table = file.read(use_threads=False)
        for index, name in enumerate(table.column_names):
            if name in SMALL:
                with suppress(ArrowInvalid):  # a value does not fit, or the column holds no integers
                    table = table.set_column(index, name, table.column(index).cast(SMALL[name]))
        return table.to_pandas(split_blocks=True, use_threads=False)
    except (OSError, ValueError, KeyError) as error:  # pyarrow's errors are ValueErrors; KeyError: no such column
        raise StoreError(f"{path}: cannot be read ({error})") from error

"""Compares a record with a second run from the same spec, part by part, and judges whether the result was reproduced.

If no difference of the environments can change bits, every artifact must be bit-identical. Otherwise the second run is another
random draw of the training. Then the MACs of every exit must be equal; accuracies without exits, at equal MACs and at fixed
thresholds may differ by `POINTS` or half of the 95 % interval of the paired difference; the MAC speed-up at a fixed threshold
may differ by `SPEEDUP`. A threshold that was chosen on val for a permitted drop is noisier: such points are shown, and judged
only if the folder holds at least three seeds of the run. In that case, all tolerances are at least the spread over seeds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from results.judge.seed_spread import Spread, seed_spread
from results.judge.verdicts import is_close
from results.metric import METRICS
from results.operating_point import Measured, PointKind
from results.provenance import Machine
from results.record import Artifact, DoneRecord, StageRef
from results.store.folder import Store, StoreError
from results.store.run_files import tables_of
from results.tables.loading import read_outcomes
from results.tables.pairing import paired
from results.tables.parquet import read_table
from results.tables.run import STATIC, Run

POINTS = 0.01
SPEEDUP = 0.10
VISIBLE = 0.0005
"""Smaller relative changes of a speed-up are not shown."""


@dataclass(frozen=True)
class Part:
    """One compared quantity or file.

    Attributes:
        equal: whether the two are exactly equal.
        close: whether they are within the tolerance; for a file, the same as `equal`.
        is_file: whether it is a file, which must be equal only where the same bits are expected.
        judged: whether it counts for the verdict within tolerances.
        remark: the difference and the tolerance.
    """

    what: str
    recorded: str
    reproduced: str
    equal: bool
    close: bool
    is_file: bool
    judged: bool = True
    remark: str = ""


@dataclass(frozen=True)
class Reproduction:
    """The verdict.

    Attributes:
        bitwise: whether the same bits were expected.
    """

    parts: tuple[Part, ...]
    bitwise: bool

    @property
    def same_bits(self) -> bool:
        return all(part.equal for part in self.parts)

    @property
    def within_tolerance(self) -> bool:
        return all(part.close for part in self.parts if part.judged and not part.is_file)

    @property
    def reproduced(self) -> bool:
        return self.same_bits if self.bitwise else self.within_tolerance


def judge(recorded: Store, reproduced: Store, run_id: str, again: str, *, bitwise: bool) -> Reproduction:
    """Compare a record and its tables, if present, with those of a second run.

    Args:
        recorded: the results folder of the record.
        reproduced: the results folder of the second run.
        run_id: of the record.
        again: id of the second run, which differs if stages changed.
        bitwise: whether the same bits are expected.

    Raises:
        StoreError: a record is damaged, or its run failed.
    """
    first, second = recorded.done_record(run_id), reproduced.done_record(again)
    folders = recorded.run(run_id), reproduced.run(again)
    parts = [*_artifacts(first, second), *_tables(*folders, (first, second)), _macs(first, second)]
    spread = {} if bitwise else seed_spread(recorded, first)
    parts += _Numbers(first, second, folders, spread).parts()
    return Reproduction(tuple(parts), bitwise)


def in_pairs(first: DoneRecord, second: DoneRecord) -> Iterator[tuple[str, StageRef | None, StageRef | None]]:
    """The stages of two records in pairs, with a name; None where a record lacks the stage."""
    for kind in dict.fromkeys(reference.stage for reference in (*first.stages, *second.stages)):
        one, other = ([ref for ref in record.stages if ref.stage == kind] for record in (first, second))
        count = max(len(one), len(other))
        for i in range(count):
            name = kind if count == 1 else f"{kind} {i + 1}"
            yield name, one[i] if i < len(one) else None, other[i] if i < len(other) else None


def machines(
    first: DoneRecord, recorded: Store, second: DoneRecord, reproduced: Store
) -> Iterator[tuple[Machine, Machine]]:
    """Pairs of the machines that finished the two runs and that made each of their stages."""
    ended = first.provenance.machine, second.provenance.machine
    yield ended
    for _, one, other in in_pairs(first, second):
        yield _machine(recorded, one, ended[0]), _machine(reproduced, other, ended[1])


def _machine(store: Store, reference: StageRef | None, otherwise: Machine) -> Machine:
    """The machine of a stage if its folder is present, else that of its run."""
    try:
        return store.provenance(reference.name).machine if reference else otherwise
    except StoreError:
        return otherwise


def _artifacts(first: DoneRecord, second: DoneRecord) -> Iterator[Part]:
    """Compares every file of every stage by its checksum."""
    for stage, one, other in in_pairs(first, second):
        files = [{_name(a): a.sha256 for a in ref.artifacts} if ref else {} for ref in (one, other)]
        for name in dict.fromkeys([*files[0], *files[1]]):
            sums = files[0].get(name), files[1].get(name)
            shown = [total[:12] if total else "-" for total in sums]
            yield _file(f"{stage}/{name}", shown, equal=sums[0] == sums[1])


def _name(artifact: Artifact) -> str:
    return artifact.path.rsplit("/", 1)[-1]


def _tables(first: Path, second: Path, records: tuple[DoneRecord, DoneRecord]) -> Iterator[Part]:
    """Compares the tables beside the record by their values; tables and columns that the recorded folder lacks are ignored."""
    for name in tables_of(records[0]):
        paths = [folder / f"{name}.parquet" for folder in (first, second)]
        if not paths[0].is_file():
            continue
        tables = [_table(path, record) for path, record in zip(paths, records, strict=True)]
        if tables[0] is None:
            yield _file(f"{name}.parquet", ["damaged", "-"], equal=False)
            continue
        rows = [f"{len(table):,} rows" if table is not None else "-" for table in tables]
        yield _file(f"{name}.parquet", rows, equal=tables[1] is not None and _same_values(tables[0], tables[1]))


def _same_values(recorded: pd.DataFrame, reproduced: pd.DataFrame) -> bool:
    """Whether the values are equal, apart from row order and integer width; see `results.store.sharing`."""
    if not set(recorded.columns) <= set(reproduced.columns):
        return False
    keys = ("point", "policy", "split", "threshold", "exit", "sample_id", "class")
    order = [
        *(name for name in keys if name in recorded),
        *(name for name in recorded.columns.tolist() if name not in keys),
    ]
    first, second = (
        table[list(recorded.columns)].sort_values(order, ignore_index=True) for table in (recorded, reproduced)
    )
    return bool(len(first) == len(second) and ((first == second) | (first.isna() & second.isna())).all(axis=None))


def _table(path: Path, record: DoneRecord) -> pd.DataFrame | None:
    """The table; None if it is missing or damaged."""
    try:
        return read_table(path, record)
    except StoreError:
        return None


def _file(what: str, shown: list[str], *, equal: bool) -> Part:
    return Part(what, shown[0], shown[1], equal, equal, is_file=True)


def _macs(first: DoneRecord, second: DoneRecord) -> Part:
    """Compares the MACs of every exit and of the backbone without exits."""
    costs = [record.costs for record in (first, second)]
    shown = [f"{len(table.cumulative)} exits, {table.cumulative[-1] / 1e6:,.1f} M" for table in costs]
    equal = (costs[0].baseline, costs[0].cumulative) == (costs[1].baseline, costs[1].cumulative)
    return Part("MACs of every exit", shown[0], shown[1], equal, equal, is_file=False)


class _Numbers:
    """Compares test accuracy without exits, and every operating point that either run reached."""

    def __init__(
        self, first: DoneRecord, second: DoneRecord, folders: tuple[Path, Path], spread: Mapping[str, Spread]
    ) -> None:
        self.records, self.spread = (first, second), spread
        self.runs = [_run(record, folder) for record, folder in zip(self.records, folders, strict=True)]

    def parts(self) -> Iterator[Part]:
        static = [record.static_accuracy.test for record in self.records]
        close, remark = self.accuracies(STATIC, static[0], static[1])
        shown = (f"{100 * static[0]:.2f} %", f"{100 * static[1]:.2f} %")
        what = f"{METRICS[self.records[0].data.task].name} without exits"
        yield Part(what, *shown, static[0] == static[1], close, is_file=False, remark=remark)
        points = [{point.name: point for point in record.points} for record in self.records]
        for name, kind in {point.name: point.kind for by_name in points[::-1] for point in by_name.values()}.items():
            one, other = (by_name[name].test if name in by_name else None for by_name in points)
            if one is not None or other is not None:
                yield self.point(name, kind, one, other)

    def point(self, name: str, kind: PointKind, one: Measured | None, other: Measured | None) -> Part:
        judged = kind != "accuracy-drop" or name in self.spread
        shown = _shown(self.records[0], one), _shown(self.records[1], other)
        if one is None or other is None:
            remark = "one of the two does not reach it"
            return Part(name, *shown, equal=False, close=False, is_file=False, judged=judged, remark=remark)
        close, remark = self.accuracies(name, one.accuracy, other.accuracy)
        faster = _speedup(self.records[1], other) / _speedup(self.records[0], one) - 1
        allowed = max(SPEEDUP, self.spread[name].speedup if name in self.spread else 0.0)
        if abs(faster) >= VISIBLE:
            remark += f", speed-up {100 * faster:+.1f} % ({100 * allowed:.0f} allowed)"
        if not judged:
            remark = re.sub(r" \([\d.]+ allowed\)", "", remark)
        close = close and is_close(faster, 0.0, allowed)
        return Part(name, *shown, one == other, close, is_file=False, judged=judged, remark=remark.removeprefix(", "))

    def accuracies(self, point: str, first: float, second: float) -> tuple[bool, str]:
        """Whether two accuracies are close, and a remark on their difference."""
        gap = second - first
        if not gap:
            return True, ""
        allowed = max(POINTS, self.half_interval(point), self.spread[point].accuracy if point in self.spread else 0.0)
        return is_close(second, first, allowed), f"{100 * gap:+.2f} points ({100 * allowed:.2f} allowed)"

    def half_interval(self, point: str) -> float:
        """Half of the 95 % interval of the paired difference; 0 where the samples cannot be paired."""
        first, second = self.runs
        if first is None or second is None:
            return 0.0
        difference = paired(second, point, first, point)
        if difference is None or not len(difference):
            return 0.0
        low, high = first.metric.paired_interval(difference)
        return 0.0 if np.isnan(low) else (high - low) / 2


def _run(record: DoneRecord, folder: Path) -> Run | None:
    """The record with its outcomes; None if these are missing or damaged."""
    try:
        return Run(record, read_outcomes(folder, record), pd.DataFrame(), folder)
    except (StoreError, ValueError):
        return None


def _speedup(record: DoneRecord, measured: Measured) -> float:
    return record.costs.baseline / measured.mean_macs


def _shown(record: DoneRecord, measured: Measured | None) -> str:
    if measured is None:
        return "not reached"
    return f"{100 * measured.accuracy:.2f} % at {_speedup(record, measured):.3f}x"

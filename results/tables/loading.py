"""Reads finished runs from a results folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from results.record import DoneRecord
from results.store.devices import DeviceCheck, read_checks
from results.store.folder import Store, StoreError
from results.store.latency import Latency, read_latencies
from results.store.probes import Probes, read_probes
from results.store.representations import Measurements, read_measurements
from results.store.run_files import GROUND_TRUTH, tables_of
from results.tables.box_answers import BoxAnswers
from results.tables.outcomes import PointOutcomes, split_by_point, split_by_point_of
from results.tables.parquet import MAX_ROWS, read_table
from results.tables.pixel_counts import PixelCounts
from results.tables.recomputed import check_numbers
from results.tables.run import STATIC, Run
from results.tables.table_validation import check_tables
from results.tables.tuning import chosen_on_val
from results.text import printable


def load_runs(
    store: Store, run_ids: list[str], say: Callable[[str], None] = lambda _: None
) -> tuple[list[Run], list[str]]:
    """The finished runs. Of runs that differ only in a tried learning rate, the one with the best val accuracy is returned.

    Args:
        store: the results folder.
        run_ids: ids of the runs.
        say: called with a progress message every 100 records.

    Returns:
        the runs, and one sentence per record that is missing, failed or damaged.
    """
    runs, problems = [], store.conflicts(run_ids)
    latencies, checks = read_latencies(store, problems), read_checks(store, problems)
    probes, measurements = read_probes(store, problems), read_measurements(store, problems)
    for number, run_id in enumerate(run_ids):
        if number % 100 == 0:
            say(f"reading records, {number} of {len(run_ids)}")
        try:
            record = store.record(run_id)
            if record.status == "failed":
                problems.append(f"{run_id}: failed ({printable(record.cause)})")
                continue
            runs.append(_load(store, record, tuple(latencies.get(run_id, ())), checks, probes, measurements))
        except StoreError as error:
            problems.append(str(error))
    distinct, repeats = without_repeats(chosen_on_val(runs))
    return distinct, [*problems, *repeats]


def _load(
    store: Store,
    record: DoneRecord,
    latencies: tuple[Latency, ...],
    checks: Mapping[str, DeviceCheck],
    probes: Sequence[Probes],
    measurements: Sequence[Measurements],
) -> Run:
    """A run with its tables.

    Raises:
        StoreError: a table is missing, damaged or inconsistent with the record.
    """
    folder = store.run(record.run_id)
    for name in tables_of(record):
        store.table(record.run_id, f"{name}.parquet")
    try:
        run = Run(
            record,
            read_outcomes(folder, record),
            read_table(folder / "curves.parquet", record),
            folder,
            latencies,
            probes=tuple(one for one in probes if one.fits(record)),
            measurements=tuple(table for table in measurements if table.fits(record)),
            device_checks=checks,
        )
        check_tables(run)
        check_numbers(run)
    except (ValueError, TypeError, OverflowError) as error:
        raise StoreError(f"{folder}: {error}") from None
    return run


def read_outcomes(folder: Path, record: DoneRecord) -> Mapping[str, PointOutcomes]:
    """The outcomes of a run at each operating point, by its name.

    Args:
        folder: with the tables of the run.
        record: of the run.

    Raises:
        StoreError: a table is missing or damaged.
        ValueError: its rows do not fit together.
    """
    table = read_table(folder / "outcomes.parquet", record, ["point"], _outcome_rows(record))
    if record.data.task == "classification":
        return split_by_point(table)
    if "sample_id" not in table:
        raise ValueError("the table of outcomes has no column sample_id")
    samples, exits, classes = np.unique(table["sample_id"]), max(len(record.exits), 1), record.data.classes
    answers = read_table(folder / "answers.parquet", record)
    if record.data.task == "segmentation":
        return split_by_point_of(table, PixelCounts.from_table(answers, samples, exits, classes))
    truth = read_table(folder / f"{GROUND_TRUTH}.parquet", record)
    return split_by_point_of(table, BoxAnswers.from_tables(answers, truth, samples, exits, classes))


def _outcome_rows(record: DoneRecord) -> int:
    """Number of rows in the table of outcomes: each test sample at each setting of each point, and without exits."""
    rows = record.data.sizes["test"] * (1 + sum(len(point.settings) for point in record.points))
    return min(rows, MAX_ROWS)


def without_repeats(runs: list[Run]) -> tuple[list[Run], list[str]]:
    """The runs without repeated results: of runs with the same training in one setting, later ones keep only policies of no
    earlier one.

    Returns:
        the runs, and one sentence per run whose repeated results differ from those that count.
    """
    seen: dict[tuple[str, str], Run] = {}
    distinct, problems = [], []
    for run in runs:
        training = json.dumps([run.setting, run.record.spec.train.model_dump(mode="json")], sort_keys=True)
        points = tuple(point for point in run.record.points if (training, point.policy) not in seen)
        policies = {point.policy for point in points}
        if (earlier := seen.get((training, STATIC))) and _contradicts(run, earlier):
            problems.append(
                f"{run.record.run_id}: the same training as {earlier.record.run_id} with other results, which do not count"
            )
        if not policies and earlier:
            continue
        for policy in policies | {STATIC}:
            seen.setdefault((training, policy), run)
        curves = run.curves[run.curves["policy"].isin(policies)]
        distinct.append(run.changed(record=run.record.model_copy(update={"points": points}), curves=curves))
    return distinct, problems


def _contradicts(run: Run, earlier: Run) -> bool:
    """Whether an operating point that both have has other outcomes."""
    shared = run.point_outcomes.keys() & earlier.point_outcomes.keys()
    pairs = ((run.point_outcomes[name], earlier.point_outcomes[name]) for name in shared)
    return any(not np.array_equal(one.exits_and_answers, other.exits_and_answers) for one, other in pairs)

"""From long format, a row per setting and sample, to wide format: arrays of settings by samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd


def grouped(
    table: pd.DataFrame, table_name: str, columns: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """The other columns of a table by the values of its first column, in order of appearance.

    Args:
        table: in long format.
        table_name: for messages.
        columns: those that it must have; the first one groups its rows.
        optional: columns that become NaN where they are missing.

    Raises:
        ValueError: a column is missing.
    """
    missing = [name for name in columns if name not in table]
    if missing:
        raise ValueError(f"the table of {table_name} has no column {', '.join(missing)}")
    codes, names = pd.factorize(table[columns[0]])
    arrays = {name: table[name].to_numpy() for name in columns[1:]}
    arrays |= {name: table[name].to_numpy() if name in table else np.full(len(table), np.nan) for name in optional}
    if (codes[1:] < codes[:-1]).any():
        # numpy sorts 16-bit integers by radix, several times faster than others.
        order = np.argsort(codes.astype(np.int16) if len(names) < 2**15 else codes, kind="stable")
        codes, arrays = codes[order], {name: values[order] for name, values in arrays.items()}
    starts = np.searchsorted(codes, np.arange(len(names) + 1))
    for name, start, end in zip(names, starts[:-1], starts[1:], strict=True):
        yield str(name), {column: values[start:end] for column, values in arrays.items()}


def to_wide(rows: dict[str, np.ndarray], rows_name: str) -> dict[str, np.ndarray]:
    """The columns but the threshold as [S, N]: settings in ascending order, samples in ascending order of their ids.

    Args:
        rows: columns of equal length, among them ``threshold`` (NaN: the backbone without exits) and ``sample_id``.
        rows_name: for messages.

    Raises:
        ValueError: a setting does not have each sample once.
    """
    threshold, sample_id = rows["threshold"], rows["sample_id"]
    columns = {name: values for name, values in rows.items() if name != "threshold"}
    count = len(sample_id)
    if count:
        # The two orders in which tables are written, setting by setting and sample by sample, need no sorting.
        samples = _first_change(threshold) if not np.isnan(threshold[0]) else count
        if count % samples == 0 and _is_grid(threshold.reshape(-1, samples), sample_id.reshape(-1, samples)):
            return {name: values.reshape(-1, samples) for name, values in columns.items()}
        settings = _first_change(sample_id)
        if count % settings == 0 and _is_grid(threshold.reshape(-1, settings).T, sample_id.reshape(-1, settings).T):
            return {name: np.ascontiguousarray(values.reshape(-1, settings).T) for name, values in columns.items()}
    try:
        where = _by_setting(threshold, sample_id)
    except ValueError as error:
        raise ValueError(f"{rows_name}: {error}") from None
    return {name: values[where] for name, values in columns.items()}


def _first_change(values: np.ndarray) -> int:
    """The number of equal values at the beginning."""
    changes = values != values[0]
    return int(changes.argmax()) if changes.any() else len(values)


def _is_grid(threshold: np.ndarray, sample_id: np.ndarray) -> bool:
    """Whether two arrays [S, N] hold the ascending thresholds of the settings and the ascending ids of the samples."""
    settings, ids = threshold[:, 0], sample_id[0]
    if len(settings) == 1 and np.isnan(settings[0]):  # the backbone without exits
        return bool(np.isnan(threshold).all() and (ids[1:] > ids[:-1]).all())
    return bool(
        (settings[1:] > settings[:-1]).all()
        and (ids[1:] > ids[:-1]).all()
        and (threshold == settings[:, None]).all()
        and (sample_id == ids).all()
    )


def _by_setting(threshold: np.ndarray, sample_id: np.ndarray) -> np.ndarray:
    """Row indices [S, N] of each sample under each setting, in ascending order of thresholds and sample ids.

    Raises:
        ValueError: a setting does not have each sample once.
    """
    starts = np.flatnonzero(np.r_[True, (threshold[1:] != threshold[:-1]) & ~np.isnan(threshold[1:])])
    rows: np.ndarray = np.arange(len(threshold))
    if (len(starts) > 1 and (np.diff(threshold[starts]) <= 0).any()) or not _ascends(sample_id, starts):
        rows = np.lexsort((sample_id, threshold))
        starts = np.flatnonzero(np.r_[True, np.diff(threshold[rows]) > 0])
    if not len(threshold) or len(threshold) % len(starts):
        raise ValueError("a setting does not have each sample once")
    indices: np.ndarray = rows.reshape(len(starts), -1)
    ids: np.ndarray = sample_id[indices]
    if (
        (ids != ids[0]).any()
        or (ids[0][1:] <= ids[0][:-1]).any()
        or (starts != indices.shape[1] * np.arange(len(starts))).any()
    ):
        raise ValueError("a setting does not have each sample once")
    return indices


def _ascends(sample_id: np.ndarray, starts: np.ndarray) -> bool:
    """Whether the sample ids ascend within each setting."""
    falls = np.flatnonzero(sample_id[1:] <= sample_id[:-1]) + 1
    return len(falls) == len(starts) - 1 and bool((falls == starts[1:]).all())

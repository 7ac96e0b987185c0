"""The spread of results over the training seeds in a results folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from results.record import DoneRecord
from results.stats.statistics import over_seeds
from results.store.folder import Store, StoreError
from results.tables.run import STATIC

SEEDS = 3
"""With fewer seeds no spread is computed."""


@dataclass(frozen=True)
class Spread:
    """Half of the 95 % prediction interval of one more seed: s t sqrt(1 + 1/n).

    It is 0 where all seeds have the same value, which says nothing about the spread and so widens no tolerance.

    Attributes:
        seeds: n.
        accuracy: in [0, 1].
        speedup: of the MAC speed-up, relative to its mean; 0 for the backbone without exits.
    """

    seeds: int
    accuracy: float
    speedup: float


def seed_spread(store: Store, record: DoneRecord) -> dict[str, Spread]:
    """Spread by operating point, over finished runs that differ from the record only in their seed, itself included.

    Points that fewer than `SEEDS` runs reach are left out; the backbone without exits is the point ``static``.
    """
    values: dict[str, list[tuple[float, float]]] = {}
    for other in _same_but_for_the_seed(store, record):
        values.setdefault(STATIC, []).append((other.static_accuracy.test, 1.0))
        for point in other.points:
            if point.test is not None:
                speedup = other.costs.baseline / point.test.mean_macs
                values.setdefault(point.name, []).append((point.test.accuracy, speedup))
    return {name: _spread(np.array(rows)) for name, rows in values.items() if len(rows) >= SEEDS}


def _spread(values: np.ndarray) -> Spread:
    count = len(values)
    halves = []
    for column in values.T:
        low, high = over_seeds(column.tolist())  # of the mean: s t / sqrt(n)
        halves.append(np.nan_to_num((high - low) / 2 * np.sqrt(count + 1)))
    return Spread(count, float(halves[0]), float(halves[1] / values[:, 1].mean()))


def _same_but_for_the_seed(store: Store, record: DoneRecord) -> Iterator[DoneRecord]:
    for run_id in store.run_ids():
        try:
            other = store.record(run_id)
        except StoreError:
            continue
        if other.status == "done" and other.spec.with_train(seed=record.spec.train.seed) == record.spec:
            yield other

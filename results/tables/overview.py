"""A table of the runs in a results folder, from their records."""

from __future__ import annotations

from typing import Any

import pandas as pd

from results.metric import METRICS
from results.operating_point import DROP, OperatingPoint
from results.record import DoneRecord, RunRecord
from results.store.folder import Store, StoreError

COLUMNS = [
    *("run_id", "status", "cause", "method", "backbone", "dataset", "scheme", "seed", "metric", "static_accuracy"),
    *("finished", "point", "accuracy", "layer_speedup", "mac_speedup"),
]


def overview(store: Store) -> tuple[pd.DataFrame, list[str]]:
    """One row per finished or failed run, and one sentence per damaged record.

    Columns: run_id, status, cause (of a failure), method, backbone, dataset, scheme, seed, metric (its name), static_accuracy
    (of the backbone without exits, on test), finished (time), and for one operating point on test: point, accuracy,
    layer_speedup, mac_speedup.
    The point is the first one that reached a drop of at most `DROP` on val, or else the first fixed threshold.
    """
    rows, problems = [], []
    for run_id in store.run_ids():
        try:
            rows.append(_row(store.record(run_id)))
        except StoreError as error:
            problems.append(str(error))
    return pd.DataFrame(rows, columns=COLUMNS), problems


def _row(record: RunRecord) -> dict[str, Any]:
    train = record.spec.train
    row: dict[str, Any] = {
        "run_id": record.run_id,
        "status": record.status,
        "method": record.label,
        "backbone": train.backbone,
        "dataset": train.dataset.name,
        "scheme": record.spec.scheme,
        "seed": train.seed,
        "finished": record.provenance.finished.isoformat(),
    }
    if record.status == "failed":
        return row | {"cause": record.cause}
    row |= {"dataset": record.data.name, "metric": METRICS[record.data.task].name}
    row["static_accuracy"] = record.static_accuracy.test
    point = _point(record)
    if point is not None and point.test is not None:
        row |= {
            "point": point.name,
            "accuracy": point.test.accuracy,
            "layer_speedup": record.depth / point.test.mean_block,
            "mac_speedup": record.costs.baseline / point.test.mean_macs,
        }
    return row


def _point(record: DoneRecord) -> OperatingPoint | None:
    at_drop = (point for point in record.points if (point.kind, point.target) == ("accuracy-drop", DROP) and point.test)
    fixed = (point for point in record.points if point.kind == "fixed")
    return next(at_drop, None) or next(fixed, None)

"""Tidy tables of what the blocks of backbones represent, and of how exits differ from the final classifier."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from results.stats.exits import disagreement
from results.store.probes import Probes
from results.store.representations import Measurements
from results.tables.run import Run

PROBE, NEAREST_MEAN = "probe-accuracy", "nearest-mean-accuracy"
KEY = ["measure", "split", "block", "part"]
COLUMNS = ["run_id", "backbone", "dataset", "seed", *KEY, "value", "note"]


def representation_table(runs: list[Run]) -> pd.DataFrame | None:
    """One row per value of a measure after a block, once for each backbone and dataset; None where no
    tokens were measured.

    run_id: of the first run on the backbone. measure and part: see `results.store.representations`; also the accuracies of
    linear probes and nearest class means, by kind of inputs. note: why a value is undefined.
    """
    tables = []
    seen: set[tuple[object, ...]] = set()
    for run in runs:
        new = [table for table in run.measurements if _subject(table) not in seen]
        seen |= {_subject(table) for table in new}
        if new:
            rows = [row for table in new for row in _measured(table)]
            rows += [row for probes in run.label_probes for row in _probed(probes)]
            table = pd.DataFrame(rows).drop_duplicates(KEY).astype({"value": "float64"})
            tables.append(
                table.assign(run_id=run.record.run_id, backbone=run.backbone, dataset=run.dataset, seed=run.seed)
            )
    return pd.concat(tables, ignore_index=True)[COLUMNS] if tables else None


def _subject(table: Measurements) -> tuple[object, ...]:
    """What a table is about; corrupted images are others for the same backbone."""
    return table.kind, table.backbone, *sorted(table.content.items())


def _measured(table: Measurements) -> Iterator[dict[str, Any]]:
    for row in table.rows:
        yield row.model_dump()


def _probed(probes: Probes) -> Iterator[dict[str, Any]]:
    for probe in probes.probes:
        accuracies = {
            (PROBE, "val"): probe.val_accuracy, (PROBE, "test"): probe.test_accuracy,
            (NEAREST_MEAN, "val"): probe.mean_val_accuracy, (NEAREST_MEAN, "test"): probe.mean_test_accuracy,
        }  # fmt: skip
        for (measure, split), value in accuracies.items():
            yield {
                "measure": measure, "split": split, "block": probe.block, "part": probe.inputs, "value": value, "note": "",
            }  # fmt: skip


def disagreement_table(runs: list[Run]) -> pd.DataFrame | None:
    """One row per early exit, on all test samples: `results.stats.exits.disagreement`; None without early exits.

    Runs of other tasks, whose images are neither right nor wrong, are left out.
    """
    rows = []
    for run in runs:
        if not run.has_exits or not run.is_classification:
            continue
        shares = disagreement(run.answers.prediction, run.answers.label)
        columns = {
            "disagreement": shares.all, "final_right": shares.final_right, "final_wrong": shares.final_wrong,
            "corrected": shares.corrected,
        }  # fmt: skip
        for number, exit_ in enumerate(run.record.exits[:-1]):
            rows.append(
                {
                    "run_id": run.record.run_id, "method": run.method, "backbone": run.backbone, "dataset": run.dataset,
                    "seed": run.seed, "block": exit_.block, "head": exit_.head,
                    **{name: float(values[number]) for name, values in columns.items()},
                }
            )  # fmt: skip
    return pd.DataFrame(rows) if rows else None

"""The backbones without exits on their test images: majority baseline, balanced accuracy and recall by class.

In a segmentation pixels take the place of images, and in a detection labelled boxes; one is recalled if it is found at IoU 0.5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from results.stats.average_precision import right_boxes
from results.stats.classes import Balance
from results.tables.outcomes import BoxOutcomes, ClassOutcomes, PixelOutcomes, PointOutcomes
from results.tables.pixel_counts import REGION
from results.tables.run import STATIC, Run


@dataclass(frozen=True)
class BackboneResult:
    """The result of one trained backbone without exits.

    Attributes:
        run: with this backbone; the run ``static`` where there is one.
        balance: of its predictions on test.
        accuracy: on test, in [0, 1]; in a segmentation the mIoU, in a detection the AP.
        low, high: its 95 % interval over test images.
    """

    run: Run
    balance: Balance
    accuracy: float
    low: float
    high: float

    def names(self, classes: list[int]) -> list[str]:
        return [self.run.record.data.class_name(index) for index in classes]


def backbone_results(runs: list[Run]) -> list[BackboneResult]:
    """One per trained backbone: runs whose backbones without exits give the same predictions share it."""
    results: dict[tuple[str, str, int, bytes], BackboneResult] = {}
    for run in sorted(runs, key=lambda run: not run.is_static):
        outcomes = run.point_outcomes[STATIC]
        key = (run.backbone, run.dataset, run.seed, outcomes.exits_and_answers.tobytes())
        if key not in results:
            values = outcomes.values
            interval = run.metric.interval(values)
            results[key] = BackboneResult(run, balance_of(outcomes), float(values.mean()), *interval)
    return list(results.values())


def balance_of(outcomes: PointOutcomes) -> Balance:
    """Of the first setting."""
    if isinstance(outcomes, PixelOutcomes):
        return Balance.of_pixels(outcomes.counts[0, ..., REGION].sum(axis=0, dtype=np.int64))
    if isinstance(outcomes, BoxOutcomes):
        matches, taken = outcomes.evidence.matches, outcomes.exit[0]
        found = [right_boxes(one, matches, taken)[0] for one in matches.classes]
        labels = outcomes.evidence.found.label[outcomes.evidence.found_at(taken)]
        return Balance.of_boxes(
            np.array([one.label for one in matches.classes]), np.array([one.positives.sum() for one in matches.classes]),
            np.array(found), np.array([(labels == one.label).sum() for one in matches.classes]),
        )  # fmt: skip
    assert isinstance(outcomes, ClassOutcomes)
    return Balance.of(outcomes.label, outcomes.prediction[0])


def backbone_table(runs: list[Run]) -> pd.DataFrame:
    """One row per trained backbone, on test.

    Columns: run_id, backbone, dataset, seed, train, val and test (images), classes, majority (the most frequent class),
    majority_share (the metric of always answering it), accuracy with interval over test images (low, high), balanced_accuracy
    (mean recall over classes), lowest_recall of lowest_class, and never_predicted (names of classes, joined).
    """
    return pd.DataFrame([_row(result) for result in backbone_results(runs)])


def _row(result: BackboneResult) -> dict[str, Any]:
    run, balance = result.run, result.balance
    data = run.record.data
    lowest = int(balance.recall.argmin())
    return (
        {"run_id": run.record.run_id, "backbone": run.backbone, "dataset": run.dataset, "seed": run.seed}
        | {split: data.sizes[split] for split in ("train", "val", "test")}
        | {"classes": data.classes, "majority": data.class_name(balance.majority)}
        | {"majority_share": balance.majority_share}
        | {"accuracy": result.accuracy, "low": result.low, "high": result.high}
        | {"balanced_accuracy": balance.balanced_accuracy, "lowest_recall": balance.recall[lowest]}
        | {"lowest_class": data.class_name(int(balance.classes[lowest]))}
        | {"never_predicted": ", ".join(result.names(balance.never_predicted))}
    )

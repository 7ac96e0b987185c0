"""Rows of the tables of `results.tables.metrics` for segmentations."""

from __future__ import annotations

from typing import Any

import numpy as np

from results.operating_point import OperatingPoint
from results.stats.iou import iou_by_class, mean_iou
from results.tables.outcomes import PixelOutcomes
from results.tables.pixel_counts import REGION
from results.tables.run import Run


def exit_rows(run: Run) -> list[dict[str, Any]]:
    """The metrics of every exit on all test images.

    Columns: accuracy (mIoU), boundary_iou, pixel_accuracy (share of the labelled pixels), and the number of classes over which
    the mIoU is averaged.
    """
    region = run.pixel_counts.at_exit[..., REGION].sum(axis=1, dtype=np.int64)
    right, labelled = region[..., 0].sum(axis=-1), (region[..., 0] + region[..., 2]).sum(axis=-1)
    columns = {
        "accuracy": run.at_exits, "boundary_iou": run.boundary_at_exits, "pixel_accuracy": right / labelled,
        "classes": (region.sum(axis=-1) > 0).sum(axis=-1),
    }  # fmt: skip
    return [{name: values[k] for name, values in columns.items()} for k in range(len(region))]


def leaving_rows(run: Run, point: OperatingPoint) -> list[dict[str, Any]]:
    """Share and mIoU of the images that leave at each exit; of mixed settings, the counts have the weights of the settings.

    Columns: share, accuracy (mIoU of the exit on these images), final_accuracy (of the final head on them), all_accuracy (of
    the exit on all images). The mIoU of different images is over the classes that occur in them.
    """
    outcomes, evidence = _outcomes(run, point), run.pixel_counts
    rows = []
    for k, anytime in enumerate(run.at_exits):
        weight = outcomes.mean(outcomes.exit == k)  # of each image, [N]
        own, final = (
            float(mean_iou(np.tensordot(weight, evidence.at_exit[at][..., REGION], axes=1)))
            for at in (k, len(run.at_exits) - 1)
        )
        rows.append(
            {"share": float(weight.mean()), "accuracy": own, "final_accuracy": final, "all_accuracy": float(anytime)}
        )
    return rows


def random_routing(run: Run, shares: np.ndarray) -> float:
    """The mIoU of the expected counts when images are sent to the exits at random.

    Args:
        run: with early exits.
        shares: of the images at each exit, in one setting, [K].
    """
    summed = run.pixel_counts.at_exit[..., REGION].sum(axis=1, dtype=np.int64)
    return float(mean_iou(np.tensordot(shares, summed, axes=1)))


def class_rows(run: Run, point: OperatingPoint) -> list[dict[str, Any]]:
    """One row per class with labelled test pixels.

    Columns: class, samples (test images with the class), cost (mean over these images, as a share of the MACs without exits),
    mean_block (where they leave), accuracy (IoU), static_accuracy, drop (static minus policy), and name.
    """
    outcomes, labelled = _outcomes(run, point), run.pixel_counts.labelled > 0
    by_setting = iou_by_class(outcomes.counts[..., REGION].sum(axis=1, dtype=np.int64))  # [S, C]
    static = iou_by_class(run.pixel_counts.without_exits[..., REGION].sum(axis=0, dtype=np.int64))
    cost = run.mean_over_exits(point.name, run.relative_costs)
    block = run.mean_over_exits(point.name, np.array([exit_.block for exit_ in run.record.exits], dtype=np.float64))
    rows = []
    for index in np.flatnonzero(labelled.any(axis=0)):
        here, iou = labelled[:, index], float(outcomes.weight @ by_setting[:, index])
        rows.append(
            {
                "class": int(index), "samples": int(here.sum()), "cost": cost[here].mean(), "mean_block": block[here].mean(),
                "accuracy": iou, "static_accuracy": static[index], "drop": static[index] - iou,
                "name": run.record.data.class_name(int(index)),
            }
        )  # fmt: skip
    return rows


def _outcomes(run: Run, point: OperatingPoint) -> PixelOutcomes:
    outcomes = run.point_outcomes[point.name]
    assert isinstance(outcomes, PixelOutcomes)
    return outcomes

"""Rows of the tables of `results.tables.metrics` for detections."""

from __future__ import annotations

from typing import Any

import numpy as np

from results.operating_point import OperatingPoint
from results.stats.average_precision import pooled_precision
from results.tables.box_answers import SIZES
from results.tables.run import STATIC, Run


def exit_rows(run: Run) -> list[dict[str, Any]]:
    """The metrics of every exit on all test images; the columns are those of `measures`."""
    return [measures(run, np.full((1, len(run.boxes.sample_id)), k), np.ones(1)) for k in range(run.boxes.exits)]


def measures(run: Run, exits: np.ndarray, weight: np.ndarray) -> dict[str, float]:
    """COCO's metrics where images leave at exits.

    Columns: accuracy (AP), ap50, ap_small, ap_medium and ap_large (of labelled boxes with an area up to 32^2, up to 96^2, and
    above it, in pixels of the stored image; NaN without such boxes), and ar100.

    Args:
        run: a detection.
        exits: of S settings, [S, N].
        weight: of the settings, [S].
    """
    names = ("accuracy", "ap50", *(f"ap_{size}" for size in SIZES), "ar100")
    rows = np.array([run.boxes.metrics(taken) for taken in exits])
    return dict(zip(names, (weight @ rows).tolist(), strict=True))


def leaving_rows(run: Run, point: OperatingPoint) -> list[dict[str, Any]]:
    """Share and AP of the images that leave at each exit; of mixed settings, images have the weights of the settings.

    Columns: share, accuracy (AP of the exit on these images), final_accuracy (of the final head on them), all_accuracy (of the
    exit on all images). The AP of different images is over the classes that occur in them.
    """
    outcomes, evidence = run.point_outcomes[point.name], run.boxes
    rows = []
    for k, anytime in enumerate(run.at_exits):
        weight = outcomes.mean(outcomes.exit == k)  # of each image, [N]
        own, final = (_alone(run, at, weight) for at in (k, evidence.exits - 1))
        rows.append(
            {"share": float(weight.mean()), "accuracy": own, "final_accuracy": final, "all_accuracy": float(anytime)}
        )
    return rows


def random_routing(run: Run, shares: np.ndarray) -> float:
    """The AP when images are sent to the exits at random: each exit's boxes count with the share of the images there.

    Args:
        run: with early exits.
        shares: of the images at each exit, in one setting, [K].
    """
    images = len(run.boxes.sample_id)
    weights = np.repeat(np.append(shares, 0.0)[:, None], images, axis=1)
    return pooled_precision(run.boxes.matches, weights)


def class_rows(run: Run, point: OperatingPoint) -> list[dict[str, Any]]:
    """One row per class with labelled boxes that count.

    Columns: class, samples (test images with the class), cost (mean over these images, as a share of the MACs without exits),
    mean_block (where they leave), accuracy (AP), static_accuracy, drop (static minus policy), and name.
    """
    outcomes, evidence = run.point_outcomes[point.name], run.boxes
    settings = [evidence.precision(taken).mean(axis=1) for taken in outcomes.exit]
    by_class = np.tensordot(outcomes.weight, np.stack(settings), axes=1)
    static = evidence.precision(run.point_outcomes[STATIC].exit[0]).mean(axis=1)
    cost = run.mean_over_exits(point.name, run.relative_costs)
    block = run.mean_over_exits(point.name, np.array([exit_.block for exit_ in run.record.exits], dtype=np.float64))
    rows = []
    for one, own, before in zip(evidence.matches.classes, by_class, static, strict=True):
        here = one.positives > 0
        rows.append(
            {
                "class": one.label, "samples": int(here.sum()), "cost": cost[here].mean(), "mean_block": block[here].mean(),
                "accuracy": own, "static_accuracy": before, "drop": before - own,
                "name": run.record.data.class_name(one.label),
            }
        )  # fmt: skip
    return rows


def _alone(run: Run, exit_index: int, weight: np.ndarray) -> float:
    """The AP of one exit on images with weights, [N]; NaN without images."""
    weights = np.zeros((run.boxes.exits + 1, len(weight)))
    weights[exit_index] = weight
    return pooled_precision(run.boxes.matches, weights)

"""Symptoms of runs that say little about early exits: a weak backbone, exits that decide nothing, a small val split.

Such a run can show a large speed-up without a drop, since there is little accuracy to lose.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from results.judge.symptom import Symptom
from results.stats.classes import Balance
from results.tables.backbones import BackboneResult, backbone_results, balance_of
from results.tables.run import STATIC, Run

NEVER_PREDICTED = "class never predicted"
NEAR_MAJORITY = "hardly above the majority class"
ONE_EXIT = "everything leaves at the first exit"
SMALL_VAL = "val too small for its drop"
ALL = 0.99
"""Share of test images that count as all."""
OF_TEST = " of the test images"


def weak_runs(runs: list[Run]) -> Iterator[Symptom]:
    """Every symptom of these rules."""
    for result in backbone_results(runs):
        yield from classes_never_predicted(result)
        yield from near_majority(result)
    for run in runs:
        if run.has_exits:
            yield from classes_lost_by_exits(run)
            yield from one_exit(run, runs)
            yield from small_val(run)


def near_majority_limit(share: float) -> float:
    """The accuracy above which a classifier is clearly better than always answering a class with this share.

    A quarter more than the share, or a third of its errors less, whichever is reached first.
    """
    return share + min(share / 4, (1 - share) / 3)


def near_majority(result: BackboneResult) -> Iterator[Symptom]:
    """A backbone without exits that is hardly more accurate than always answering the most frequent class of the test split."""
    share, data = result.balance.majority_share, result.run.record.data
    limit = near_majority_limit(share)
    if len(result.balance.classes) > 1 and (result.accuracy < limit or result.low <= share):
        yield Symptom(
            NEAR_MAJORITY, result.run.record.run_id, "without exits", result.accuracy, limit,
            f"{result.run.backbone} without exits {result.run.metric.reaches(f'{100 * result.accuracy:.1f}', OF_TEST)}; "
            f"always answering {data.class_name(result.balance.majority)} gives {100 * share:.1f} %",
        )  # fmt: skip


def classes_never_predicted(result: BackboneResult) -> Iterator[Symptom]:
    """A backbone without exits that predicts a class for none of the test images."""
    missing = result.balance.never_predicted
    if missing:
        yield Symptom(
            NEVER_PREDICTED, result.run.record.run_id, "without exits", len(missing), 0,
            f"{result.run.backbone} without exits never predicts {_listed(result.names(missing))}, "
            f"{_of(result.balance, missing)}",
        )  # fmt: skip


def classes_lost_by_exits(run: Run) -> Iterator[Symptom]:
    """Classes that the backbone without exits predicts, and the run with exits does not, at an operating point."""
    without = balance_of(run.point_outcomes[STATIC])
    lost: dict[int, list[str]] = {}
    for point in run.record.points:
        if point.reached:
            for index in np.setdiff1d(without.classes[without.predicted > 0], run.point_outcomes[point.name].answered):
                lost.setdefault(int(index), []).append(point.name)
    if lost:
        names = [run.record.data.class_name(index) for index in lost]
        places = list(dict.fromkeys(place for points in lost.values() for place in points))
        yield Symptom(
            NEVER_PREDICTED, run.record.run_id, places[0], len(lost), 0,
            f"with early exits {run.method} never predicts {_listed(names)}, which the backbone without exits does",
        )  # fmt: skip


def one_exit(run: Run, runs: Iterable[Run]) -> Iterator[Symptom]:
    """Operating points at which all test images leave at the same early exit; one symptom a run and exit."""
    places: dict[int, dict[str, float]] = {}
    for point in run.record.points:
        if point.test is not None:
            exit_ = int(np.argmax(point.test.exit_shares))
            if exit_ < len(run.record.exits) - 1 and point.test.exit_shares[exit_] >= ALL:
                places.setdefault(exit_, {})[point.name] = point.test.exit_shares[exit_]
    for exit_, shares in places.items():
        block = run.record.exits[exit_].block
        name = ONE_EXIT if exit_ == 0 else "everything leaves at one exit"
        yield Symptom(
            name, run.record.run_id, next(iter(shares)), next(iter(shares.values())), ALL,
            f"all test images leave after block {block} at {len(shares)} operating point{'s' * (len(shares) > 1)}; the "
            f"backbone truncated after block {block} does the same{_truncated(run, block, runs)}",
        )  # fmt: skip


def small_val(run: Run) -> Iterator[Symptom]:
    """A val split so small that chance alone changes an accuracy on it by more than the drop that is permitted there.

    The standard error of a drop on val is estimated from the differences to the backbone without exits on test.
    """
    images = run.record.data.sizes["val"]
    flagged = []
    for point in run.record.points:
        if point.kind == "accuracy-drop" and point.reached and point.target > 0:
            difference = run.values(point.name) - run.values(STATIC)
            error = float(difference.std() / np.sqrt(max(images, 1)))
            if error > point.target:
                flagged.append((point.target, error, point.name))
    if flagged:
        target, error, name = max(flagged)
        yield Symptom(
            SMALL_VAL, run.record.run_id, name, error, target,
            f"with {images:,} val images the standard error of a drop is {100 * error:.1f} points: too much to choose "
            f"a threshold that loses at most {100 * target:g}",
        )  # fmt: skip


def _truncated(run: Run, block: int, runs: Iterable[Run]) -> str:
    """The accuracy of the backbone truncated after a block, where it was run with the same seed and data."""
    for other in runs:
        is_cut = not other.has_exits and not other.is_static and len(other.record.costs.blocks) == block
        if is_cut and (other.backbone, other.dataset, other.seed) == (run.backbone, run.dataset, run.seed):
            percent = f"{100 * other.record.exits[-1].test_accuracy:.1f}"
            return f" ({other.method} was run: {percent} % {run.metric.name})"
    return ""


def _listed(names: list[str]) -> str:
    return f"{len(names)} classes ({', '.join(names[:5])}, ...)" if len(names) > 5 else ", ".join(names)


def _of(balance: Balance, missing: list[int]) -> str:
    samples = int(balance.samples[np.isin(balance.classes, missing)].sum())
    return f"which {samples:,} of {balance.samples.sum():,} {balance.unit} belong to"

"""Evidence of a detection: the signals that policies read, and the boxes that every exit finds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from benchmark.evaluation.decisions import Decisions
from benchmark.evaluation.detections import Detections
from benchmark.evaluation.scores import ExitScores
from benchmark.evaluation.signal_evidence import SignalEvidence
from results.stats.average_precision import average_precision, precision_of_draws, pseudo_values
from results.stats.box_matching import FoundBoxes, Matches, TrueBoxes, match
from results.stats.statistics import bounded_mean
from results.tables.box_answers import SIDES
from results.tables.pixel_counts import WITHOUT_EXITS

_MATCHES: WeakKeyDictionary[Detections, Matches] = WeakKeyDictionary()
"""Of scores that are in memory: every policy uses the same matches, which take long."""


@dataclass(frozen=True)
class BoxDecisions(Decisions):
    """Decisions on images in which boxes are found.

    Attributes:
        matches: of the boxes of every exit; their images are in ascending order of the sample ids.
        order: position of each of these images among the samples, [N].
    """

    matches: Matches
    order: np.ndarray

    def _taken(self, row: int) -> np.ndarray:
        return self.exit_taken[row].astype(np.int64)[self.order]

    def values(self, row: int) -> np.ndarray:
        """`results.stats.average_precision.pseudo_values`."""
        values = np.empty(len(self.order))
        values[self.order] = pseudo_values(self.matches, self._taken(row))
        return values

    def measured(self) -> tuple[np.ndarray, np.ndarray]:
        values = [self.values(row) for row in range(len(self.settings))]
        return np.array([v.mean() for v in values]), np.array([bounded_mean(v, 0.0, 1.0) for v in values])

    @property
    def draws(self) -> int:
        """Few, because the precision of every draw is computed from all boxes."""
        return 100

    def metric_of_draws(self, times: np.ndarray) -> np.ndarray:
        drawn = times[self.order]
        return np.stack(
            [precision_of_draws(self.matches, self._taken(row), drawn) for row in range(len(self.settings))]
        )


class BoxEvidence(SignalEvidence):
    """The scores of a detection."""

    most_settings: ClassVar[int | None] = 20

    @cached_property
    def _order(self) -> np.ndarray:
        return np.argsort(self.scores.sample_id.numpy())

    @property
    def _matches(self) -> Matches:
        boxes = _detections(self.scores)
        if boxes not in _MATCHES:
            _MATCHES[boxes] = match(*_boxes(boxes, self._order), boxes.exits)
        return _MATCHES[boxes]

    def at_exits(self) -> list[float]:
        """The AP of each exit."""
        exits, images = self.scores.logits.shape[:2]
        return [average_precision(self._matches, np.full(images, k)) for k in range(exits)]

    def sent(self, settings: np.ndarray, exit_taken: np.ndarray) -> BoxDecisions:
        return BoxDecisions(settings, len(self.scores.logits), exit_taken, self._matches, self._order)

    def final_exit(self) -> BoxDecisions:
        boxes = _detections(self.scores)
        found, truth = _boxes(boxes, self._order, boxes.exits - 1)
        taken = np.zeros((1, boxes.images), dtype=np.int16)
        return BoxDecisions(np.zeros(1), 1, taken, match(found, truth, 1), self._order)

    def answers(self, static: ExitScores) -> pd.DataFrame:
        """The boxes of every exit and of the backbone without exits, one row each."""
        boxes = _detections(static)
        final = _found_frame(boxes, static.sample_id.numpy(), boxes.exits - 1).assign(exit=WITHOUT_EXITS)
        own = _found_frame(_detections(self.scores), self.scores.sample_id.numpy())
        return pd.concat([final, own], ignore_index=True)

    def ground_truth(self) -> pd.DataFrame:
        boxes = _detections(self.scores)
        image = _rows(boxes.truth_offsets.numpy())
        corners = boxes.truth_boxes.numpy()
        columns = {"sample_id": self.scores.sample_id.numpy()[image], "label": boxes.truth_labels.numpy()}
        columns |= {"ignored": boxes.truth_ignored.numpy()} | {side: corners[:, i] for i, side in enumerate(SIDES)}
        return pd.DataFrame(columns)


def _detections(scores: ExitScores) -> Detections:
    assert scores.detections is not None
    return scores.detections


def _boxes(detections: Detections, order: np.ndarray, first_exit: int = 0) -> tuple[FoundBoxes, TrueBoxes]:
    """The boxes of the exits from ``first_exit`` on, which becomes exit 0, and the labelled ones, with images in an order."""
    place = np.argsort(order)
    row = _rows(detections.offsets.numpy())
    exit_, image = np.divmod(row, max(detections.images, 1))
    here = exit_ >= first_exit
    found = FoundBoxes(
        exit_[here] - first_exit, place[image[here]], detections.boxes.numpy()[here], detections.scores.numpy()[here],
        detections.labels.numpy()[here],
    )  # fmt: skip
    truth = TrueBoxes(
        detections.images, place[_rows(detections.truth_offsets.numpy())], detections.truth_boxes.numpy(),
        detections.truth_labels.numpy(), detections.truth_ignored.numpy(),
    )  # fmt: skip
    return found, truth


def _found_frame(detections: Detections, sample_id: np.ndarray, first_exit: int = 0) -> pd.DataFrame:
    """One row per box of the exits from ``first_exit`` on."""
    exit_, image = np.divmod(_rows(detections.offsets.numpy()), max(detections.images, 1))
    here = exit_ >= first_exit
    corners = detections.boxes.numpy()[here]
    columns = {"exit": exit_[here].astype(np.int16), "sample_id": sample_id[image[here]]}
    columns |= {"label": detections.labels.numpy()[here], "score": detections.scores.numpy()[here]}
    return pd.DataFrame(columns | {side: corners[:, i] for i, side in enumerate(SIDES)})


def _rows(offsets: np.ndarray) -> np.ndarray:
    """The row of each entry of a ragged array."""
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))

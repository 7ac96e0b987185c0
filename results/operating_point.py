"""An operating point of a run: the thresholds chosen on val, and what they give on val and test."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from results.frozen import Frozen

PointKind = Literal["accuracy-drop", "equal-macs", "fixed"]
BUDGETS = (0.4, 0.5, 0.6, 0.75)
"""The mean costs of the points of kind ``equal-macs``, as shares of the MACs of the backbone without exits."""
DROP = 0.01
"""The largest accuracy drop on val at the point of kind ``accuracy-drop`` that commands and reports choose among several."""

Share = Annotated[float, Field(ge=0, le=1)]
"""An accuracy, or a share of samples."""


class WeightedThreshold(Frozen):
    """A threshold of an operating point, with its weight in the mixture."""

    threshold: float
    weight: Annotated[float, Field(gt=0, le=1)]


class Measured(Frozen):
    """A policy at an operating point, on one split. Accuracies (mIoU in segmentation, AP in detection) in [0, 1], costs
    in MACs."""

    accuracy: Share
    mean_macs: Annotated[float, Field(gt=0, le=1e18)]
    mean_block: Annotated[float, Field(gt=0, le=10_000)]
    exit_shares: tuple[Share, ...]
    """Share of samples that exit at each exit, length K, summing to 1."""

    @field_validator("exit_shares")
    @classmethod
    def _sums_to_one(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        if not abs(sum(shares) - 1) < 1e-6:
            raise ValueError("the exit shares do not sum to 1")
        return shares


class Redrawn(Frozen):
    """95 % bootstrap intervals over val and test images, with the threshold chosen again on each resample of val.

    Other intervals are over test images for a given threshold; these also cover the choice of the threshold.
    """

    drop: tuple[float, float]
    """Accuracy drop on test against the backbone without exits."""
    layer_speedup: tuple[float, float]
    """The number of the last block over the mean block; `results.tables.points` divides the depth of the backbone."""
    mac_speedup: tuple[float, float]

    @model_validator(mode="after")
    def _are_intervals(self) -> Self:
        if not (-1 <= self.drop[0] <= self.drop[1] <= 1):
            raise ValueError(f"{self.drop} is not an interval of an accuracy drop")
        for low, high in (self.layer_speedup, self.mac_speedup):
            if not 0 < low <= high <= 1e6:
                raise ValueError(f"({low}, {high}) is not an interval of a speed-up")
        return self


class OperatingPoint(Frozen):
    """An operating point: thresholds chosen on val, with results on val and test.

    kind ``accuracy-drop``: the cheapest setting whose val accuracy is at most `target` below that of the static backbone.
    kind ``equal-macs``: the mean MACs are `target` times the baseline. The settings come from a grid made on val; the two
    neighbours of the budget are mixed so that the mean cost on test is exact. This uses the costs on test, not the labels.
    kind ``fixed``: the threshold is given in the grid file and equals `target`.
    """

    policy: str
    kind: PointKind
    target: float
    settings: tuple[WeightedThreshold, ...]
    """Empty if no setting meets the target."""
    val: Measured | None
    """None if `settings` is empty."""
    test: Measured | None
    """None if `settings` is empty."""
    redrawn: Redrawn | None = None
    """Intervals of a point of kind ``accuracy-drop``; None for others, and if fewer than 95 % of the draws reach the drop."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if not self.reached == (self.val is not None) == (self.test is not None):
            raise ValueError(f"the point {self.name!r} has settings without numbers, or numbers without settings")
        return self

    @property
    def reached(self) -> bool:
        return bool(self.settings)

    @property
    def name(self) -> str:
        """Name of the point in the table of outcomes, such as ``confidence/accuracy-drop-0.005``."""
        return f"{self.policy}/{self.kind}-{self.target:g}"

"""A finished run: its record and its tables."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from results.metric import METRICS, Metric
from results.operating_point import OperatingPoint
from results.record import DoneRecord
from results.spec import Recipe, option_text
from results.stats.iou import mean_iou
from results.store.devices import DeviceCheck, is_unverified
from results.store.folder import StoreError
from results.store.latency import Latency
from results.store.probes import Probes
from results.store.representations import Measurements
from results.tables.answers import Answers
from results.tables.box_answers import BoxAnswers
from results.tables.examples import COUNT, EXAMPLES, Example, examples_of
from results.tables.outcomes import (
    BoxOutcomes,
    ClassOutcomes,
    Evidence,
    HullOutcomes,
    PixelOutcomes,
    PointOutcomes,
    split_by_policy,
)
from results.tables.parquet import read_table
from results.tables.pictures import PICTURES, Picture, pictures_of
from results.tables.pixel_counts import EDGE, REGION, PixelCounts

STATIC = "static"
NO_POLICY = "none"  # policy of a model without early exits other than the reference, such as a truncated backbone
SETTING = ["backbone", "dataset", "scheme", "recipes"]  # equal for runs that are compared with each other
ORDERED = ("running-quantile",)
"""Policies whose decision on an image depends on the images before it, so that images are no independent samples. `tests`
compares them with the registered cards."""

Image = TypeVar("Image", Example, Picture)


def is_ordered(policy: str) -> bool:
    """Whether a policy, by its name with options, is one of `ORDERED`."""
    return policy.partition("(")[0] in ORDERED


@dataclass(frozen=True)
class TriedRate:
    """A learning rate that a grid tried, and its result.

    Attributes:
        rates: the varied recipes and their learning rates, such as ``exits 0.002``.
        val_accuracy: val accuracy averaged over all exits, in [0, 1].
        chosen: whether this rate has the best val accuracy.
    """

    rates: str
    val_accuracy: float
    chosen: bool


@dataclass(frozen=True)
class Run:
    """A finished run: its record and its tables.

    Attributes:
        point_outcomes: the outcomes of the test samples at each operating point, by the point's name. The point ``static`` is
            the backbone without exits.
        curves: one row per policy, split and setting: policy, split, threshold, accuracy, low, high, mean_macs, mean_block.
        folder: folder of the tables.
        latencies: measured times.
        tried: the learning rates that the grid tried, in ascending order, including the run's own; see `results.tables.tuning`.
        probes: linear probes of the run's backbone, with any loss.
        measurements: tables about the tokens and the gradients of the run's backbone.
        device_checks: checks of devices in the results folder, by the machine's fingerprint.
    """

    record: DoneRecord
    point_outcomes: Mapping[str, PointOutcomes]
    curves: pd.DataFrame
    folder: Path
    latencies: tuple[Latency, ...] = ()
    tried: tuple[TriedRate, ...] = ()
    probes: tuple[Probes, ...] = ()
    measurements: tuple[Measurements, ...] = ()
    device_checks: Mapping[str, DeviceCheck] = field(default_factory=dict)

    @property
    def head_probes(self) -> list[Probes]:
        """The linear probes with the loss of the run's heads."""
        return [probes for probes in self.probes if probes.fit_heads(self.record)]

    @property
    def label_probes(self) -> list[Probes]:
        """The linear probes with cross-entropy, which learn from the labels alone."""
        return [probes for probes in self.probes if probes.distillation is None]

    @property
    def outcomes(self) -> pd.DataFrame:
        """The table behind `point_outcomes`, read from its file on each access.

        One row per operating point, setting and test sample; columns as in `results.tables.columns`.

        Raises:
            StoreError: the table is missing or damaged.
        """
        return self._table("outcomes", ["point"])

    @cached_property
    def answers(self) -> Answers:
        """The prediction of each exit for each test sample of a classification, read from its file on first access.

        Raises:
            StoreError: the table is missing or damaged.
        """
        try:
            return Answers.from_table(self._table("answers"))
        except ValueError as error:
            raise StoreError(f"{self.folder / 'answers.parquet'}: {error}") from error

    @property
    def examples(self) -> list[Example]:
        """A few test images with their labels and answers, read from their file on each access; none where there is no file.

        Raises:
            StoreError: the table is damaged.
        """
        return self._images(EXAMPLES, examples_of, max_rows=COUNT * (len(self.record.exits) + 3))

    @property
    def pictures(self) -> list[Picture]:
        """A few test images of a detection, likewise.

        Raises:
            StoreError: the table is damaged.
        """
        return self._images(PICTURES, pictures_of, max_rows=COUNT)

    @property
    def corners(self) -> pd.DataFrame:
        """The outcomes at the corners of the hulls on val and at the settings with the fewest early exits, read from the
        file on each access.

        One row per policy, corner and sample; columns as in `results.tables.columns`.

        Raises:
            StoreError: the table is missing or damaged.
        """
        return self._table("corners", ["policy"])

    @cached_property
    def hull_outcomes(self) -> dict[str, HullOutcomes]:
        """`corners`, by policy."""
        return split_by_policy(self.corners, self.evidence)

    @property
    def is_classification(self) -> bool:
        """Whether an answer is one class for the whole image, which is right or wrong."""
        return self.record.data.task == "classification"

    @property
    def is_segmentation(self) -> bool:
        return self.record.data.task == "segmentation"

    @property
    def is_detection(self) -> bool:
        return self.record.data.task == "detection"

    @property
    def metric(self) -> Metric:
        return METRICS[self.record.data.task]

    def class_outcomes(self, point: str) -> ClassOutcomes:
        """The outcomes of a classification at an operating point."""
        outcomes = self.point_outcomes[point]
        assert isinstance(outcomes, ClassOutcomes)
        return outcomes

    @property
    def evidence(self) -> Evidence | None:
        """The counts or boxes of every exit for every test image; None in a classification, which has `answers`."""
        static = self.point_outcomes[STATIC]
        return static.evidence if isinstance(static, PixelOutcomes | BoxOutcomes) else None

    @property
    def pixel_counts(self) -> PixelCounts:
        """The counts of every exit for every test image of a segmentation."""
        assert isinstance(self.evidence, PixelCounts)
        return self.evidence

    @property
    def boxes(self) -> BoxAnswers:
        """The boxes of every exit for every test image of a detection."""
        assert isinstance(self.evidence, BoxAnswers)
        return self.evidence

    @cached_property
    def at_exits(self) -> np.ndarray:
        """The metric of each exit on all test samples, [K]."""
        if self.is_segmentation:
            return mean_iou(self.pixel_counts.at_exit[..., REGION].sum(axis=1, dtype=np.int64))
        if self.is_detection:
            return self.boxes.at_exits.mean(axis=(1, 2))
        return self.answers.correct.mean(axis=1)

    @cached_property
    def boundary_at_exits(self) -> np.ndarray:
        """The boundary IoU of each exit of a segmentation on all test images, [K]; Cheng et al., CVPR 2021."""
        return mean_iou(self.pixel_counts.at_exit[..., EDGE].sum(axis=1, dtype=np.int64))

    @cached_property
    def ap50_at_exits(self) -> np.ndarray:
        """The AP at an IoU of 0.5 of each exit of a detection on all test images, [K]."""
        return self.boxes.at_exits[..., 0].mean(axis=1)

    def _table(self, name: str, categorical: Sequence[str] = ()) -> pd.DataFrame:
        return read_table(self.folder / f"{name}.parquet", self.record, categorical)

    def _images(self, name: str, images_of: Callable[[pd.DataFrame], list[Image]], max_rows: int) -> list[Image]:
        """The images in a file that not every run has."""
        if not any(artifact.path == name for artifact in self.record.files):
            return []
        path = self.folder / name
        try:
            return images_of(read_table(path, self.record, max_rows=max_rows))
        except ValueError as error:
            raise StoreError(f"{path}: {error}") from error

    @property
    def method(self) -> str:
        return self.record.label

    @property
    def is_static(self) -> bool:
        """Whether the run is the backbone without exits, the reference for accuracy drops."""
        return self.method == STATIC

    @property
    def unverified_devices(self) -> tuple[str, ...]:
        """GPUs that trained, scored or timed the run and have not passed ``doctor --device``."""
        machines = [self.record.provenance.machine, *(latency.machine for latency in self.latencies)]
        return tuple(dict.fromkeys(machine.name for machine in machines if is_unverified(machine, self.device_checks)))

    @property
    def has_exits(self) -> bool:
        return bool(self.record.spec.train.exits)

    @property
    def heads_recipe(self) -> Recipe:
        """The recipe of the last training of the heads: their own, or that of joint training."""
        recipes = self.record.spec.train.recipes
        return recipes.exits if any(stage.stage == "exits" for stage in self.record.stages) else recipes.joint

    @property
    def backbone(self) -> str:
        return self.record.spec.train.backbone

    @property
    def seed(self) -> int:
        return self.record.spec.train.seed

    @property
    def dataset(self) -> str:
        sizes = ", ".join(f"{key}={option_text(value)}" for key, value in self.record.spec.train.dataset.set.items())
        # The name in the spec may be the path of a folder; the data card has a short name.
        name = self.record.data.name
        return f"{name} ({sizes})" if sizes else name

    @cached_property
    def policies(self) -> list[str]:
        """The evaluated policies, in the order of the grid; those that nothing is compared with (`is_ordered`) come last."""
        return sorted(dict.fromkeys(point.policy for point in self.record.points), key=is_ordered)

    @property
    def relative_costs(self) -> np.ndarray:
        """Cost of leaving at each exit as a share of the MACs without exits, [K]."""
        return np.array(self.record.costs.cumulative) / self.record.costs.baseline

    @property
    def judged_policy(self) -> str:
        """The policy that judges the run: the method's own if it was evaluated, else the first one; empty without policies."""
        own = self.record.own_policy
        return own if own in self.policies else next(iter(self.policies), "")

    def point(self, policy: str, kind: str, target: float) -> OperatingPoint | None:
        """The operating point of a policy by kind and target; None if the run does not reach it."""
        points = (p for p in self.record.points if (p.policy, p.kind, p.target) == (policy, kind, target) and p.reached)
        return next(points, None)

    @cached_property
    def recipes(self) -> str:
        """Six hex digits, a hash of the run's recipes (without learning rates that were chosen on val) and initial weights."""
        spec = self.record.spec
        recipes = spec.train.recipes
        content = recipes.without_learning_rates() if spec.is_tuned else recipes.model_dump(mode="json")
        used = content if self.has_exits else content["finetune"]
        text = json.dumps([used, spec.train.weights.identity], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:6]

    @cached_property
    def setting(self) -> tuple[str, str, str, str]:
        """The values of `SETTING`."""
        return self.backbone, self.dataset, self.record.spec.scheme, self.recipes

    def under(self, policy: str) -> Run:
        """The run with the operating points and curves of one policy alone."""
        points = tuple(point for point in self.record.points if point.policy == policy)
        record = self.record.model_copy(update={"points": points})
        return self.changed(record=record, curves=self.curves[self.curves["policy"] == policy])

    def changed(self, **fields: Any) -> Run:
        """A copy with some fields replaced, which keeps the tables that were already read."""
        copy = replace(self, **fields)
        tables: dict[str, Any] = {
            name: self.__dict__[name] for name in ("answers", "hull_outcomes") if name in self.__dict__
        }
        copy.__dict__.update(tables)
        return copy

    def values(self, point: str) -> np.ndarray:
        """The value of each test sample at a point, [N], in ascending order of ids; its mean is the metric.

        In a classification the correctness, between 0 and 1 if settings are mixed.
        """
        return self.point_outcomes[point].values

    def mean_over_exits(self, point: str, at_exit: np.ndarray) -> np.ndarray:
        """A quantity of the exit taken by each test sample at a point, [N], in ascending order of ids.

        Args:
            point: name of an operating point.
            at_exit: the quantity at each exit, such as the cost, [K].
        """
        outcomes = self.point_outcomes[point]
        return outcomes.mean(at_exit[outcomes.exit])

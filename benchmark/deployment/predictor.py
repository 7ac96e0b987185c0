"""Predictions of a finished run on new images, by true dynamic inference in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmark import registry
from benchmark.deployment.image_files import read_image, stored_form
from benchmark.errors import UserError
from benchmark.evaluation.evaluate import prepare
from benchmark.evaluation.scores import load_scores, score_file
from benchmark.evaluation.stored_runs import stage_name
from benchmark.measure.dynamic import run_dynamic
from benchmark.measure.finished import (
    choose_point,
    finished_run,
    load_model,
    policy_at,
    policy_label,
    refuse_without_weights,
)
from benchmark.training.inputs import input_card
from datasets.api import DataError, DatasetCard
from datasets.transforms import to_input
from methods.model import MultiExitModel
from methods.policies.policy import ExitPolicy, confidences
from results.record import CostTable
from results.store.folder import Store

BATCH_SIZE = 64


@dataclass(frozen=True)
class Prediction:
    """What the model predicts for one image.

    Attributes:
        label: class index.
        name: class name.
        confidence: largest softmax probability at the exit taken, in [0, 1].
        exit: number of the exit taken, 1-based; the final classifier is the last.
        block: block after which the image exited, 1-based.
        macs: multiply-accumulates that ran for the image, evaluated heads included.
    """

    label: int
    name: str
    confidence: float
    exit: int
    block: int
    macs: int


@dataclass(frozen=True)
class Predictor:
    """A trained model with an exit policy and the preprocessing of its dataset.

    Attributes:
        run_id: of the run.
        point: name of the operating point, or the policy with its threshold.
        model: in evaluation mode.
        policy: with a threshold, fitted on val where it learns.
        card: of the dataset that the model was trained on; it names the classes.
        size: side of the model's input in pixels.
        channels: of the model's input.
        costs: of the model.
        blocks: block number of each exit, length K.
        device: of the model.
    """

    run_id: str
    point: str
    model: MultiExitModel
    policy: ExitPolicy
    card: DatasetCard
    size: int
    channels: int
    costs: CostTable
    blocks: tuple[int, ...]
    device: torch.device

    def predict(self, images: Sequence[np.ndarray], batch_size: int = BATCH_SIZE) -> list[Prediction]:
        """Predict images in memory; see `stored_form` for their shapes.

        Raises:
            ValueError: an image has another type or shape.
        """
        prepared = [stored_form(np.asarray(image), self.card, self.size) for image in images]
        return [prediction for batch in _batches(prepared, batch_size) for prediction in self._batch(batch)]

    def predict_files(
        self, paths: Sequence[Path], skip: Callable[[str], None], batch_size: int = BATCH_SIZE
    ) -> Iterator[tuple[Path, Prediction]]:
        """Predict image files, batch by batch. ``skip`` is called with a sentence for each file that cannot be decoded."""
        for batch in _batches(paths, batch_size):
            images: dict[Path, np.ndarray] = {}
            for path in batch:
                try:
                    images[path] = read_image(path, self.card, self.size)
                except DataError as error:
                    skip(str(error))
            yield from zip(images, self._batch(list(images.values())), strict=True)

    def _batch(self, images: Sequence[np.ndarray]) -> list[Prediction]:
        if not images:
            return []
        pixels = to_input(
            np.stack(images), size=self.size, channels=self.channels, mean=self.card.mean, std=self.card.std
        )
        routed = run_dynamic(self.model, self.policy, pixels.to(self.device), keep_logits=True)
        confidence = torch.empty(len(images))
        # From shallow to deep: the last exit that an image reaches is the one it takes.
        for evaluated in routed.evaluated:
            confidence[evaluated.rows.cpu()] = confidences(evaluated.answer).cpu()
        rows = zip(routed.predictions.tolist(), confidence.tolist(), routed.exits.tolist(), strict=True)
        return [
            Prediction(
                label=label,
                name=self.card.classes[label],
                confidence=probability,
                exit=taken + 1,
                block=self.blocks[taken],
                macs=self.costs.cumulative[taken],
            )
            for label, probability, taken in rows
        ]


def _batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def load_predictor(
    store: Store,
    reference: str,
    device: torch.device,
    *,
    point: str | None = None,
    threshold: float | None = None,
    policy: str | None = None,
) -> Predictor:
    """The predictor of a finished run.

    Args:
        store: the results folder.
        reference: names a finished run with early exits; see `benchmark.run_reference`.
        device: where the model runs.
        point: name of an operating point; without it and without a threshold, a drop of at most 1 point on val.
        threshold: of the policy, in place of an operating point.
        policy: label of a policy of the run, for a threshold; None for the run's first policy.

    Raises:
        UserError: the run or the point does not exist, the run's weights are not in the folder, or the threshold does not fit.
        StoreError: an artifact was changed.
        DataError: the run was trained on a folder of images that is not on this machine.
    """
    record = finished_run(store, reference, "RUN")
    run_id = record.run_id
    refuse_without_weights(store, record)
    val = load_scores(store.artifact(stage_name(record, "scores"), score_file("val")))
    if threshold is None:
        operating_point = choose_point(record, point)
        name, chosen = operating_point.name, policy_at(record, operating_point, val)
    else:
        label = policy_label(record, policy)
        selection = next(selection for selection in record.spec.policies if selection.label == label)
        chosen, _ = prepare(selection, val, record.costs)
        set_threshold(chosen, label, threshold)
        name = f"{label}/{chosen.swept}-{threshold:g}"
    if not chosen.causal:
        raise UserError(f"RUN {run_id}: the policy of {name} is a control that cannot run inside inference")
    backbone = registry.card("backbone", record.spec.train.backbone)
    return Predictor(
        run_id=run_id,
        point=name,
        model=load_model(store, record, device),
        policy=chosen,
        card=input_card(record.spec.train),
        size=backbone.image_size,
        channels=backbone.channels,
        costs=record.costs,
        blocks=tuple(exit_.block for exit_ in record.exits),
        device=device,
    )


def set_threshold(policy: Any, label: str, threshold: float) -> None:
    """Set the swept parameter of a policy.

    Raises:
        UserError: the value is outside the policy's range.
    """
    setattr(policy, policy.swept, threshold)
    try:
        check = getattr(policy, "__post_init__", None)
        if check is not None:
            check()
    except ValueError as error:
        raise UserError(f"--threshold {threshold:g} for {label}: {error}") from None

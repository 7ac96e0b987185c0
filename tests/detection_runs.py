"""Finished detection runs without training: invented boxes at every exit, evaluated as those of a trained model.

Later exits and some methods find more objects and place their boxes better; small objects are harder; one class never occurs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from benchmark.evaluation.detections import Detections
from benchmark.evaluation.evaluate import accuracies, evaluate, evaluate_without_exits, exit_metrics
from benchmark.evaluation.scores import ExitScores
from methods.policies.box_signals import SIGNALS
from results.record import SplitAccuracy
from results.spec import Configured
from results.store.folder import Store
from results.tables.pictures import PICTURES, Picture, pictures_frame
from tests.invented_runs import DEPTH, METHODS, InventedModel, data_card, write_runs

CLASSES = ("shirt", "trouser", "dress", "bag", "boot", "hat")
"""No image contains a hat."""
IMAGES = {"val": 80, "test": 120}
SIDE = 128
POLICY = "box-confidence"


def write_detection(root: Path, seeds: tuple[int, ...] = (0, 1), methods: tuple[str, ...] = tuple(METHODS)) -> Store:
    """The runs of ``static``, ``truncated`` to 6 blocks and some methods, with each seed."""
    return write_runs(root, seeds, methods, _write)


def invented_scores(split: str, seed: int, blocks: list[int], advantage: float = 0.0) -> ExitScores:
    """Scores of exits after blocks. The images of a split are the same for every seed, and so is the last block of a seed."""
    images = IMAGES[split]
    scenes = np.random.default_rng(len(split))
    image = np.repeat(np.arange(images), scenes.integers(0, 5, images))  # some images have no object
    side = scenes.choice([14.0, 40.0, 110.0], len(image), p=[0.3, 0.5, 0.2]) * scenes.uniform(0.85, 1.1, len(image))
    corner = scenes.uniform(0, SIDE - side)[:, None] * np.ones(2)
    truth = np.hstack([corner, corner + side[:, None]]).astype(np.float32)
    label = scenes.integers(0, len(CLASSES) - 1, len(image)).astype(np.int16)
    ignored = scenes.random(len(image)) < 0.05
    hard = scenes.beta(2, 4, images)
    found, signals = [], []
    for block in blocks:
        rng = np.random.default_rng([len(split), seed, block, round(1000 * advantage) * (block < DEPTH)])
        ease = np.clip(0.35 + 0.6 * block / DEPTH + 2 * advantage * (block < DEPTH) - hard, 0.02, 0.98)
        hit = np.flatnonzero(rng.random(len(image)) < np.clip(ease[image] + 0.2 * (side > 20), 0, 1))
        moved = truth[hit] + rng.normal(0, 0.12, (len(hit), 4)) * (1.1 - ease[image[hit]])[:, None] * side[hit, None]
        right = np.where(rng.random(len(hit)) < 0.9, label[hit], rng.integers(0, len(CLASSES), len(hit)))
        wrong = rng.integers(0, images, images)
        at = rng.uniform(0, SIDE - 40, (len(wrong), 2))
        boxes = np.vstack([moved, np.hstack([at, at + rng.uniform(8, 40, at.shape)])])
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        score = np.concatenate([rng.beta(5, 2, len(hit)), rng.beta(2, 5, len(wrong))])
        labels = np.concatenate([right, rng.integers(0, len(CLASSES), len(wrong))])
        found.append((np.concatenate([image[hit], wrong]), boxes, score, labels))
        signals.append(np.clip(ease + rng.normal(0, 0.05, images), 0, 1))
    return ExitScores(
        torch.from_numpy(np.repeat(np.stack(signals)[..., None], len(SIGNALS), axis=2)).float(),
        torch.zeros(images, dtype=torch.int64), torch.arange(images) + 1000,
        detections=_detections(found, images, image, truth, label, ignored),
    )  # fmt: skip


def picture(split: str, position: int) -> np.ndarray:
    """An image with its objects in shades of grey, uint8 [SIDE, SIDE, 1]."""
    boxes = invented_scores(split, 0, [DEPTH]).detections
    assert boxes is not None
    image = np.full((SIDE, SIDE, 1), 30, dtype=np.uint8)
    for n in range(int(boxes.truth_offsets[position]), int(boxes.truth_offsets[position + 1])):
        left, top, right, bottom = boxes.truth_boxes[n].int().tolist()
        image[top:bottom, left:right] = 90 + 30 * int(boxes.truth_labels[n])
    return image


def _detections(
    found: list[tuple[np.ndarray, ...]],
    images: int,
    image: np.ndarray,
    truth: np.ndarray,
    label: np.ndarray,
    ignored: np.ndarray,
) -> Detections:
    counts, columns = [], []
    for where, *values in found:
        order = np.lexsort((-values[1], where))
        counts.append(np.bincount(where, minlength=images))
        columns.append([value[order] for value in values])
    boxes, score, labels = (np.concatenate(column) for column in zip(*columns, strict=True))
    return Detections(
        _offsets(np.concatenate(counts)), torch.from_numpy(boxes).float(), torch.from_numpy(score).float(),
        torch.from_numpy(labels).to(torch.int16), _offsets(np.bincount(image, minlength=images)), torch.from_numpy(truth),
        torch.from_numpy(label), torch.from_numpy(ignored),
    )  # fmt: skip


def _offsets(counts: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([[0], counts.cumsum()]))


def _write(store: Store, model: InventedModel) -> None:
    costs, blocks = model.costs, model.blocks
    static = {split: invented_scores(split, model.seed, [DEPTH]) for split in IMAGES}
    scores = {split: invented_scores(split, model.seed, blocks, model.advantage) for split in IMAGES}
    if model.exits:
        evaluation = evaluate(scores, static, costs, blocks, [Configured(name=POLICY)])
    else:
        evaluation = evaluate_without_exits(None if model.method == "static" else scores, static, costs)
    record = model.record(
        "boxes",
        data_card("fashion-scenes-detection", "detection", CLASSES, IMAGES),
        policy=POLICY,
        points=evaluation.points,
        exits=exit_metrics(scores, blocks, model.heads),
        static_accuracy=SplitAccuracy(**{split: accuracies(one)[-1] for split, one in static.items()}),
    )
    with store.write_run(record) as folder:
        evaluation.write(folder, "")
        images = [Picture(1000 + n, picture("test", n), 1.0) for n in range(4)]
        pictures_frame(images).to_parquet(folder / PICTURES, index=False)

"""Estimates of a plan's compute and storage, from multiply-accumulates (MACs) and an assumed throughput. Imports no torch.

A MAC counts as two operations. Training on an image costs three forward passes (one forward, two for the backward pass); heads
on a frozen backbone cost one forward pass of the backbone and three of the heads. Backbones are counted from their registry
cards. Heads are counted from their cost stage if it is finished, otherwise as a quarter of their block, which is more than most
cost. Data loading, start-up, cost stages, records and the report are not counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from benchmark import registry
from benchmark.execution.units import Unit
from benchmark.stages.plan import Plan
from benchmark.stages.stage import Stage
from datasets.split_rules import SplitRule
from methods.api import BackboneCard
from results.record import COSTS, CostTable
from results.spec import TrainSpec
from results.store.folder import Store

TRAINING_PASSES = 3
"""Cost of a training step in forward passes."""
FLOAT_BYTES = 4
CHECKPOINT_COPIES = 6
"""Size of a training's two checkpoints in weights: each holds the weights and the two moments of AdamW."""
HEAD_SHARE = 0.25
"""Assumed cost of a head of unknown cost, as a share of its block."""
RECORD_BYTES = 1_000_000
"""Approximate size of a run's record and tables."""
BOXES, BOX_BYTES = 100, 22
"""Boxes of an exit in an image, of which trained exits find as many as are kept, and the stored size of one."""
ANSWER_BYTES = {"classification": 0, "segmentation": 70, "detection": 20 * BOXES}
"""Of an image at an exit, in the table of answers: what it has above `RECORD_BYTES`."""


@dataclass(frozen=True)
class Estimate:
    """The estimate of a unit, a task or a plan.

    Attributes:
        macs: multiply-accumulates to compute.
        artifact_bytes: size of the artifacts.
        checkpoint_bytes: size of the checkpoints, which are removed when their stage is done.
    """

    macs: float = 0.0
    artifact_bytes: int = 0
    checkpoint_bytes: int = 0

    def __add__(self, other: Estimate) -> Estimate:
        return Estimate(
            self.macs + other.macs,
            self.artifact_bytes + other.artifact_bytes,
            self.checkpoint_bytes + other.checkpoint_bytes,
        )

    def hours(self, tflops: float) -> float:
        """Hours on one device of this throughput in 10^12 operations per second."""
        return 2 * self.macs / (tflops * 1e12) / 3600


class Estimator:
    """Estimates for a plan in a results folder, whose finished cost stages it reads."""

    def __init__(self, plan: Plan, store: Store) -> None:
        self.store = store
        self.runs = {run.run_id: run.spec.train for run in plan.runs}
        self.costs = {
            stage.name: run.cost for run in plan.runs if plan.is_done(run.cost) for stage in (*run.training, run.scores)
        }
        """Name of a stage that trains or scores heads to their finished cost stage."""

    def unit(self, unit: Unit) -> Estimate:
        if not unit.stages:
            return Estimate(artifact_bytes=sum(map(self._record, unit.names)) if unit.kind == "records" else 0)
        stage = unit.stages[0]
        if stage.kind == "cost":
            return Estimate()
        train = stage.run.train
        card, images = registry.card("backbone", train.backbone), _images(train)
        backbone_macs, backbone_weights = backbone_size(card, stage.blocks)
        if stage.kind == "scores":
            scored = images["val"] + images["test"]
            head_macs, exits = (self.heads(stage)[0], len(train.exits)) if stage.heads else (0, 0)
            stored = scored * (exits + 1) * evidence_bytes(train)
            return Estimate(scored * (backbone_macs + head_macs), stored)
        macs, weights = 0.0, 0
        if stage.kind == "exits":  # one forward pass of the frozen backbone serves all stages of the unit
            epochs = max(each.recipe.epochs for each in unit.stages if each.recipe)
            macs = images["train"] * epochs * backbone_macs
        elif stage.recipe is not None:
            macs = TRAINING_PASSES * images["train"] * stage.recipe.epochs * backbone_macs
            weights = backbone_weights
        for each in unit.stages:
            if each.kind != "finetune" and each.recipe is not None:
                head_macs, head_weights = self.heads(each)
                macs += TRAINING_PASSES * images["train"] * each.recipe.epochs * head_macs
                weights += head_weights
        return Estimate(macs, FLOAT_BYTES * weights, CHECKPOINT_COPIES * FLOAT_BYTES * weights)

    def heads(self, stage: Stage) -> tuple[float, int]:
        """MACs for an image and weights of the exit heads that a stage trains or scores."""
        train = stage.run.train
        if cost := self.costs.get(stage.name):
            table = CostTable.model_validate_json(self.store.artifact(cost.name, COSTS).read_text(encoding="utf-8"))
            return sum(table.heads[:-1]), table.heads_parameters
        card = registry.card("backbone", train.backbone)
        macs, weights = zip(*(block_size(card, block) for block in train.head_blocks), strict=True)
        return HEAD_SHARE * sum(macs), round(HEAD_SHARE * sum(weights))

    def _record(self, run_id: str) -> int:
        """Size of a run's record and tables, which have answers of all exits and of the backbone without exits."""
        train = self.runs[run_id]
        of_image = (len(train.exits) + 2) * ANSWER_BYTES[registry.card("dataset", train.dataset.name).task]
        return RECORD_BYTES + of_image * _images(train)["test"]


def evidence_bytes(train: TrainSpec) -> int:
    """What scoring stores of an image at an exit: the fields of `benchmark.evaluation.scores.ExitScores`."""
    card = registry.card("dataset", train.dataset.name)
    if card.task == "detection":  # signals and boxes
        return 4 * FLOAT_BYTES + BOXES * BOX_BYTES
    if card.task == "segmentation":  # signals, six counts of every class, and the class of every patch
        grid = registry.card("backbone", train.backbone).grids[-1]
        return (8 + 6 * len(card.classes)) * FLOAT_BYTES + grid * grid
    return len(card.classes) * FLOAT_BYTES


def block_size(card: BackboneCard, block: int) -> tuple[int, int]:
    """MACs for an image and weights of a transformer block (1-based) whose MLP is four times as wide as its tokens."""
    dim, side = card.dims[block - 1], card.grids[block - 1]
    tokens = side * side + card.prefix_tokens
    window = card.architecture.get("window_size")
    attended = min(window * window, tokens) if window else tokens
    macs, weights = 12 * tokens * dim * dim + 2 * tokens * attended * dim, 12 * dim * dim
    if block > 1 and card.dims[block - 2] != dim:  # the block merges 2x2 patches of half the width first
        macs, weights = macs + 2 * tokens * dim * dim, weights + 2 * dim * dim
    return macs, weights


def backbone_size(card: BackboneCard, blocks: int) -> tuple[int, int]:
    """MACs for an image and weights of a backbone's first blocks, including the patch embedding."""
    sizes = [block_size(card, block) for block in range(1, blocks + 1)]
    embedding = card.channels * card.image_size**2 * card.dims[0]
    macs = embedding + sum(block_macs for block_macs, _ in sizes)
    weights = embedding // card.grids[0] ** 2 + sum(block_weights for _, block_weights in sizes)
    return macs, weights


def total(estimates: Iterable[Estimate]) -> Estimate:
    return sum(estimates, Estimate())


def _images(train: TrainSpec) -> dict[str, int]:
    """Images of each split."""
    card, changes = registry.card("dataset", train.dataset.name), train.dataset.set
    return {split: changes.get(split, size) for split, size in SplitRule.of(changes).sizes(card).items()}

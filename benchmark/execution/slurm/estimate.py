"""How long a plan takes and how much it stores, from multiply-accumulates and a stated throughput.

Training an image is three forward passes (forward, and twice as much backward); heads on a frozen backbone need one of the
backbone and three of their own. A multiply-accumulate is two operations. The backbone is counted from its card, so that nothing
here imports torch; a head from its finished cost stage, and until there is one as a quarter of its block, which is above most.
What reading images and starting Python take is not counted, nor is anything for costs, records and the report.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from benchmark import registry
from benchmark.execution.slurm.layout import JobArray, Unit
from benchmark.stages.graph import run_stages
from benchmark.stages.stage import Stage
from datasets.split_rules import SplitRule
from methods.api import BackboneCard
from results.record import CostTable
from results.spec import TrainSpec
from results.store.folder import Store

BACKWARD = 3
"""A training step in forward passes."""
FLOAT = 4
CHECKPOINT = 3
"""Weights and AdamW's two moments, in weights."""
HEAD = 0.25
"""A head of unknown cost, in its block's."""
PER_RECORD = 1_000_000
"""Bytes of a run's record and tables, roughly."""
COSTS = "cost.json"


@dataclass(frozen=True)
class Estimate:
    """Of a unit, a task or a plan.

    Attributes:
        macs: to compute.
        kept: bytes of artifacts.
        passing: bytes of checkpoints, which go when the stage is done.
    """

    macs: float = 0.0
    kept: int = 0
    passing: int = 0

    def __add__(self, other: Estimate) -> Estimate:
        return Estimate(self.macs + other.macs, self.kept + other.kept, self.passing + other.passing)

    def hours(self, tflops: float) -> float:
        """On one device of this throughput (10^12 operations a second)."""
        return 2 * self.macs / (tflops * 1e12) / 3600


class Estimator:
    """Estimates for a results folder, whose finished cost stages it reads."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def of_array(self, array: JobArray) -> list[Estimate]:
        """A task each."""
        return [total(self.of_unit(unit) for unit in task.units) for task in array.tasks]

    def of_unit(self, unit: Unit) -> Estimate:
        if not unit.stages:
            return Estimate(kept=PER_RECORD if unit.kind == "records" else 0)
        stage = unit.stages[0]
        if stage.kind == "cost":
            return Estimate()
        train = stage.run.train
        card, sizes = registry.card("backbone", train.backbone), _sizes(train)
        macs, weights = backbone_size(card, stage.blocks)
        if stage.kind == "scores":
            images = sizes["val"] + sizes["test"]
            own, exits = (self.heads(stage)[0], len(train.exits)) if stage.heads else (0, 0)
            classes = len(registry.card("dataset", train.dataset.name).classes)
            return Estimate(images * (macs + own), FLOAT * images * (exits + 1) * classes)
        seen = [sizes["train"] * each.recipe.epochs for each in unit.stages if each.recipe]
        if stage.kind == "finetune":
            return Estimate(BACKWARD * seen[0] * macs, FLOAT * weights, CHECKPOINT * FLOAT * weights)
        heads = [self.heads(each) for each in unit.stages]
        work = sum(BACKWARD * images * head for images, (head, _) in zip(seen, heads, strict=True))
        trained = sum(size for _, size in heads)
        if stage.kind == "exits":
            work += max(seen) * macs  # one forward pass of the backbone for all
        else:
            work, trained = work + BACKWARD * seen[0] * macs, trained + weights
        return Estimate(work, FLOAT * trained, CHECKPOINT * FLOAT * trained)

    def heads(self, stage: Stage) -> tuple[float, int]:
        """MACs and weights of the exits' heads that a stage trains or runs."""
        train = stage.run.train
        cost = run_stages(stage.run).cost
        if self.store.has_stage(cost.name):
            text = self.store.artifact(cost.name, COSTS).read_text(encoding="utf-8")
            table = CostTable.model_validate_json(text)
            return sum(table.heads[:-1]), table.heads_parameters
        card = registry.card("backbone", train.backbone)
        macs, weights = zip(*(block_size(card, block) for block in train.exits), strict=True)
        return HEAD * sum(macs), round(HEAD * sum(weights))


def block_size(card: BackboneCard, block: int) -> tuple[int, int]:
    """MACs for an image and weights of a transformer block (1-based) whose MLP is four times as wide as its tokens."""
    dim, side = card.dims[block - 1], card.grids[block - 1]
    tokens = side * side + card.prefix_tokens
    window = card.architecture.get("window_size")
    attended = min(window * window, tokens) if window else tokens
    macs, weights = 12 * tokens * dim * dim + 2 * tokens * attended * dim, 12 * dim * dim
    if block > 1 and card.dims[block - 2] != dim:  # merges 2x2 patches of half the width first
        macs, weights = macs + 2 * tokens * dim * dim, weights + 2 * dim * dim
    return macs, weights


def backbone_size(card: BackboneCard, blocks: int) -> tuple[int, int]:
    """MACs for an image and weights of a backbone's first blocks, its patch embedding included."""
    sizes = [block_size(card, block) for block in range(1, blocks + 1)]
    embedding = card.channels * card.image_size**2 * card.dims[0]
    return embedding + sum(macs for macs, _ in sizes), embedding // card.grids[0] ** 2 + sum(size for _, size in sizes)


def total(estimates: Iterable[Estimate]) -> Estimate:
    return sum(estimates, Estimate())


def _sizes(train: TrainSpec) -> dict[str, int]:
    card = registry.card("dataset", train.dataset.name)
    return {
        split: train.dataset.set.get(split, size) for split, size in SplitRule.of(train.dataset.set).sizes(card).items()
    }

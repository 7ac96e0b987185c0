"""Finished runs of methods that were never trained: their models, costs and records.

`tests.segmentation_runs` and `tests.detection_runs` invent the answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from results.operating_point import OperatingPoint
from results.record import BackboneInfo, CostTable, DataCard, DoneRecord, ExitMetrics, MethodInfo, SplitAccuracy
from results.spec import Configured, Recipes, RunSpec, TrainSpec
from results.store.folder import Store
from tests.results.builders import provenance

BACKBONE = "vit_nano_patch4_64"
EXITS = (3, 6, 9)
DEPTH = 12
METHODS = {
    "lgvit": ("LGViT", 0.05, "#D55E00", "o"),
    "vanilla": ("Linear heads", 0.0, "#0072B2", "s"),
    "homogeneous-local": ("Homogeneous LPH", 0.04, "#009E73", "^"),
    "homogeneous-global": ("Homogeneous GAH", 0.02, "#CC79A7", "v"),
}
"""Name in text, advantage of the early exits, color and marker."""


@dataclass(frozen=True)
class InventedModel:
    """A method with a seed: one of `METHODS`, or ``static`` or ``truncated`` (to 6 blocks), which have no exits."""

    method: str
    seed: int

    @property
    def exits(self) -> tuple[int, ...]:
        return EXITS if self.method in METHODS else ()

    @property
    def depth(self) -> int:
        return 6 if self.method == "truncated" else DEPTH

    @property
    def blocks(self) -> list[int]:
        """The block of each exit and the last one."""
        return [*self.exits, self.depth]

    @property
    def heads(self) -> list[str]:
        """Of the exits before the last block."""
        return ["lph", "lph", "gah"] if self.exits else []

    @property
    def advantage(self) -> float:
        return METHODS[self.method][1] if self.method in METHODS else 0.0

    @property
    def costs(self) -> CostTable:
        return costs_of(self.exits, self.depth)

    def record(
        self,
        name: str,
        data: DataCard,
        policy: str,
        points: tuple[OperatingPoint, ...],
        exits: tuple[ExitMetrics, ...],
        static_accuracy: SplitAccuracy,
    ) -> DoneRecord:
        """The record of a run; ``name`` is the middle of its id."""
        title, _, color, marker = METHODS.get(self.method, (self.method.capitalize(), 0.0, None, None))
        method = Configured(name=self.method, set={"depth": self.depth} if self.method == "truncated" else {})
        train = TrainSpec(
            dataset=Configured(name=data.name), backbone=BACKBONE, method=method, exits=self.exits, recipes=Recipes(),
            seed=self.seed,
        )  # fmt: skip
        spec = RunSpec(
            train=train, scheme="paper" if self.exits else "none", policies=(Configured(name=policy),) if self.exits else (),
        )  # fmt: skip
        return DoneRecord(
            run_id=f"{self.method}-{name}-{self.seed}", spec=spec, provenance=provenance(), stages=(), data=data,
            method=MethodInfo(name=self.method, options=method.set, display_name=title, color=color, marker=marker),
            backbone=BackboneInfo(name=BACKBONE, family="vit"), own_policy=policy if self.exits else "",
            costs=self.costs, exits=exits, static_accuracy=static_accuracy, points=points,
        )  # fmt: skip


def write_runs(
    root: Path, seeds: tuple[int, ...], methods: tuple[str, ...], write: Callable[[Store, InventedModel], None]
) -> Store:
    """A results folder with the runs of ``static``, ``truncated`` and some methods, with each seed."""
    store = Store(root)
    store.prepare()
    for seed in seeds:
        for method in ("static", "truncated", *methods):
            write(store, InventedModel(method, seed))
    return store


def data_card(name: str, task: str, classes: tuple[str, ...], images: dict[str, int]) -> DataCard:
    """The card of a dataset with these numbers of images in val and test."""
    return DataCard(
        name=name, task=task, fingerprint="f" * 64, classes=len(classes), class_names=classes, sizes={"train": 600, **images},
        split_identity={}, content={}, split_rule="", transforms={}, citation="composed from Fashion-MNIST", licence="MIT",
        redistributable=True,
    )  # fmt: skip


def costs_of(exits: tuple[int, ...], depth: int) -> CostTable:
    """Every block costs the same, and so does every head, which is much cheaper."""
    heads = len(exits) + 1
    cumulative = tuple(1_000_000 * block + 20_000 * number for number, block in enumerate((*exits, depth), start=1))
    return CostTable(
        stem=0, blocks=(1_000_000,) * depth, heads=(20_000,) * heads, cumulative=cumulative, depth=DEPTH,
        baseline=1_000_000 * DEPTH + 20_000, norms=0, linear_conv_cumulative=cumulative,
        linear_conv_baseline=1_000_000 * DEPTH + 20_000, parameters=900_000, heads_parameters=20_000 * (heads - 1),
        uncounted=(),
    )  # fmt: skip

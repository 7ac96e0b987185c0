"""Runs on photos that teach a backbone little, without training: four unbalanced classes, of which two are never predicted.

Every exit answers like the backbone, so that all images leave at the first exit without a drop.
"""

from __future__ import annotations

from pathlib import Path

import torch

from benchmark import provenance, registry
from benchmark.evaluation.evaluate import accuracies, evaluate, evaluate_without_exits, exit_metrics
from benchmark.evaluation.scores import ExitScores
from benchmark.stages.graph import heads_of, method_of
from results.record import CostTable, DataCard, DoneRecord, SplitAccuracy
from results.spec import Configured, Recipes, RunSpec, TrainSpec
from results.store.folder import Store

BACKBONE = "vit_nano_patch4_28"
CLASSES = ("intact", "cracked", "dusty", "shaded")
SHARES = (0.575, 0.225, 0.11, 0.09)
IMAGES = 400
EXITS = (4, 8)
DEPTH = 12


def write_hard_photos(root: Path) -> Store:
    """The runs of ``static``, ``truncated`` to 4 blocks, and ``lgvit``."""
    store = Store(root)
    store.prepare()
    for method, options in (("static", {}), ("truncated", {"depth": 4}), ("lgvit", {})):
        _write(store, Configured(name=method, set=options))
    return store


def _write(store: Store, method: Configured) -> None:
    options = method.set
    exits = EXITS if method.name == "lgvit" else ()
    train = TrainSpec(
        dataset=Configured(name="folder:/photos"), backbone=BACKBONE, method=method, exits=exits, recipes=Recipes(), seed=0,
    )  # fmt: skip
    spec = RunSpec(train=train, scheme="paper" if exits else "none", policies=(Configured(name="confidence"),))
    costs = _costs(exits, options.get("depth", DEPTH))
    blocks = [*exits, len(costs.blocks)]
    scores = {split: _scores(len(blocks), seed) for seed, split in enumerate(("val", "test"))}
    static = {split: ExitScores(s.logits[-1:], s.labels, s.sample_id) for split, s in scores.items()}
    if exits:
        evaluation = evaluate(scores, static, costs, blocks, list(spec.policies))
    else:
        own = None if method.name == "static" else static
        evaluation = evaluate_without_exits(own, static, costs)
    record = DoneRecord(
        run_id=f"{method.name}-photos", spec=spec, method=registry.method_info(method.name, method_of(train)),
        backbone=registry.backbone_info(BACKBONE), stages=(), provenance=provenance.provenance("cpu", 1.0),
        own_policy="confidence" if exits else "", data=_data_card(), costs=costs,
        exits=exit_metrics(scores, blocks, [choice.name for choice in heads_of(train)]),
        static_accuracy=SplitAccuracy(**{split: accuracies(s)[-1] for split, s in static.items()}), points=evaluation.points,
    )  # fmt: skip
    with store.write_run(record) as folder:
        evaluation.write(folder, "")


def _data_card() -> DataCard:
    return DataCard(
        name="folder:photos", fingerprint="f" * 64, classes=len(CLASSES), class_names=CLASSES,
        sizes={"train": 3 * IMAGES, "val": IMAGES, "test": IMAGES}, split_identity={}, content={}, split_rule="", transforms={},
        citation="", licence="the user's own images", redistributable=False,
    )  # fmt: skip


def _costs(exits: tuple[int, ...], depth: int) -> CostTable:
    """A MAC for each part of the model in place of a trace, which takes seconds."""
    heads = len(exits) + 1
    cumulative = tuple(1000 * block + 10 * number for number, block in enumerate((*exits, depth), start=1))
    return CostTable(
        stem=0, blocks=(1000,) * depth, heads=(10,) * heads, cumulative=cumulative, depth=DEPTH, baseline=1000 * DEPTH + 10,
        norms=0, linear_conv_cumulative=cumulative, linear_conv_baseline=1000 * DEPTH + 10, parameters=9000,
        heads_parameters=100, uncounted=(),
    )  # fmt: skip


def _scores(exits: int, seed: int) -> ExitScores:
    """Logits of the first two classes, the same at every exit; the first is too frequent to be left for the others."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.cat([torch.full((round(share * IMAGES),), index) for index, share in enumerate(SHARES)])
    logits = torch.full((len(labels), len(CLASSES)), -3.0)
    logits[:, 0] = 1.0
    logits[:, 1] = (labels == 1) * 1.1 + 0.5 * torch.randn(len(labels), generator=generator)
    return ExitScores(logits.expand(exits, -1, -1).clone(), labels, torch.arange(len(labels)) + seed * len(labels))

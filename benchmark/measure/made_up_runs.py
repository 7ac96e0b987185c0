"""A results folder full of finished runs that nobody trained: random scores through the real evaluation, records and tables."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from benchmark import provenance, registry
from benchmark.evaluation.evaluate import Evaluation, accuracies, evaluate, evaluate_without_exits, exit_metrics
from benchmark.evaluation.scores import ExitScores
from benchmark.grid.load import Grid
from benchmark.measure.price import price
from benchmark.stages.graph import heads_of, method_of, run_stages
from benchmark.stages.stage import RunStages, Stage
from datasets.split_rules import SplitRule
from results.record import CostTable, DataCard, DoneRecord, SplitAccuracy, StageRef
from results.spec import RunSpec
from results.store.folder import Store

SAMPLES = 200


def make_finished(grid: Grid, store: Store, *, tables: bool = True, samples: int = SAMPLES, variants: int = 1) -> int:
    """Write a finished record for every run of a grid; of runs that differ in their seed alone many share their numbers and
    tables.

    Args:
        grid: of runs that need no data to be planned.
        store: an empty results folder; the tables, which its runs link to, are made beside it.
        tables: also the tables beside each record, and the manifests of all stages.
        samples: of val and of test.
        variants: how many seeds have numbers of their own; the others take these in turn.

    Returns:
        how many records there are.
    """
    templates: dict[tuple[object, ...], tuple[DoneRecord, Path]] = {}
    count = 0
    for run in map(run_stages, grid.runs):
        train = run.spec.train
        variant = train.seed % variants
        alike = train.backbone, train.dataset.model_dump_json(), train.method.model_dump_json(), train.exits, variant
        if alike not in templates:
            record, evaluation = _template(run.spec, samples, variant)
            folder = store.root.parent / "tables" / str(len(templates))
            folder.mkdir(parents=True)
            evaluation.write(folder)
            templates[alike] = record, folder
        record, made = templates[alike]
        own = {"run_id": run.run_id, "spec": run.spec, "stages": _references(run)}
        folder = store.run(run.run_id)
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(
            record.model_copy(update=own).model_dump_json(indent=1) + "\n", encoding="utf-8"
        )
        count += 1
        if tables:
            for path in made.iterdir():
                os.link(path, folder / path.name)
            for stage in run.chain:
                _stage(store, stage)
    return count


def _template(spec: RunSpec, samples: int, variant: int) -> tuple[DoneRecord, Evaluation]:
    train = spec.train
    dataset = registry.card("dataset", train.dataset.name)
    method = method_of(train)
    heads = heads_of(train)
    costs: CostTable = price(train.backbone, method, train.exits, len(dataset.classes))
    scores = {
        split: _scores(len(heads) + 1, len(dataset.classes), samples, 10 * variant + len(split))
        for split in ("val", "test")
    }
    static = {split: ExitScores(found.logits[-1:], found.labels, found.sample_id) for split, found in scores.items()}
    blocks = [*train.exits, len(costs.blocks)]
    if heads:
        evaluation = evaluate(scores, static, costs, blocks, list(spec.policies))
    else:
        evaluation = evaluate_without_exits(None, static, costs)
    rule = SplitRule.of(train.dataset.set)
    record = DoneRecord(
        run_id="",
        spec=spec,
        method=registry.method_info(train.method.name, method),
        backbone=registry.backbone_info(train.backbone),
        stages=(),
        provenance=provenance.provenance("cpu", 1.0),
        data=DataCard(
            name=dataset.name,
            fingerprint=dataset.fingerprint,
            classes=len(dataset.classes),
            sizes=rule.sizes(dataset) | dict.fromkeys(scores, samples),
            split_identity={},
            content={},
            transforms={},
            split_rule=rule.describe(dataset),
            citation=dataset.citation,
            licence=dataset.licence,
            redistributable=dataset.redistributable,
        ),
        costs=costs,
        exits=exit_metrics(scores, blocks, [choice.name for choice in heads]),
        static_accuracy=SplitAccuracy(**{split: accuracies(found)[-1] for split, found in static.items()}),
        points=evaluation.points,
    )
    return record, evaluation


def _scores(exits: int, classes: int, samples: int, seed: int) -> ExitScores:
    """Logits whose right class stands out the more the later the exit."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (samples,), generator=generator)
    logits = torch.randn(exits, samples, classes, generator=generator)
    logits[:, torch.arange(samples), labels] += torch.linspace(3, 1, exits).flip(0)[:, None]
    return ExitScores(logits, labels, torch.arange(samples))


def _references(run: RunStages) -> tuple[StageRef, ...]:
    return tuple(
        StageRef(
            stage=stage.kind,
            key=stage.key,
            code=stage.fields["code"],
            seconds=1.0,
            shared_pass=1,
            artifacts=(),
        )
        for stage in run.chain
    )


def _stage(store: Store, stage: Stage) -> None:
    """What tells a plan that a stage is there."""
    folder = store.stage(stage.name)
    if not folder.exists():
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text('{"artifacts": [], "fields": {}}\n', encoding="utf-8")

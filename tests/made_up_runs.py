"""Finished runs without training: random scores, evaluated and recorded like those of trained models.

On corrupted test images the models are less confident.
"""

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
from results.record import Artifact, CostTable, DataCard, DoneRecord, SplitAccuracy, StageRef
from results.sealed import sealed
from results.spec import RunSpec
from results.store.files import sha256
from results.store.folder import Store

SAMPLES = 200


def make_finished(grid: Grid, store: Store, *, tables: bool = True, samples: int = SAMPLES, variants: int = 1) -> int:
    """Write a finished record for every run of a grid. Runs that differ in their seed alone may share numbers and tables.

    Args:
        grid: its runs must not need data to be planned.
        store: an empty results folder. The tables are written beside it, and the runs link to them.
        tables: whether to write the tables beside each record, and the manifests of all stages.
        samples: number of samples in val and in test.
        variants: number of seeds with numbers of their own; further seeds reuse them in turn.

    Returns:
        the number of records.
    """
    templates: dict[tuple[object, ...], tuple[DoneRecord, Path]] = {}
    manifest = sealed('{"artifacts": [], "fields": {}}')
    made_by = sealed(provenance.stage_provenance("cpu", 1.0).model_dump_json())
    count = 0
    for run in map(run_stages, grid.runs):
        train = run.spec.train
        variant = train.seed % variants
        template_key = (
            train.backbone,
            train.dataset.model_dump_json(),
            train.method.model_dump_json(),
            train.exits,
            variant,
        )
        if template_key not in templates:
            record, evaluation = _template(run.spec, samples, variant)
            folder = store.root.parent / "tables" / str(len(templates))
            folder.mkdir(parents=True)
            evaluation.write(folder, "")
            files = tuple(
                Artifact(path=path.name, sha256=sha256(path), bytes=path.stat().st_size) for path in folder.iterdir()
            )
            templates[template_key] = record.model_copy(update={"files": files}), folder
        record, table_folder = templates[template_key]
        changes = {"run_id": run.run_id, "spec": run.spec, "stages": _references(run)}
        folder = store.run(run.run_id)
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(
            sealed(record.model_copy(update=changes).model_dump_json(), indent=1), encoding="utf-8"
        )
        count += 1
        if tables:
            for path in table_folder.iterdir():
                os.link(path, folder / path.name)
            for stage in run.chain:
                _stage(store, stage, manifest, made_by)
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
    if "corruption" in train.dataset.set:
        scores["test"] = ExitScores(scores["test"].logits / 2, scores["test"].labels, scores["test"].sample_id)
    static = {
        split: ExitScores(of_split.logits[-1:], of_split.labels, of_split.sample_id)
        for split, of_split in scores.items()
    }
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
        static_accuracy=SplitAccuracy(**{split: accuracies(of_split)[-1] for split, of_split in static.items()}),
        points=evaluation.points,
    )
    return record, evaluation


def _scores(exits: int, classes: int, samples: int, seed: int) -> ExitScores:
    """Random scores in which later exits are more accurate."""
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


def _stage(store: Store, stage: Stage, manifest: str, made_by: str) -> None:
    """The files by which a plan sees that a stage is finished."""
    folder = store.stage(stage.name)
    if not folder.exists():
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(manifest, encoding="utf-8")
        (folder / "provenance.json").write_text(made_by, encoding="utf-8")

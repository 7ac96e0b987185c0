"""Finished runs with random weights in a results folder, without training. Their scores are those of the model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from benchmark import provenance, registry
from benchmark.evaluation.evaluate import accuracies, evaluate, evaluate_without_exits, exit_metrics
from benchmark.evaluation.scores import SCORED, ExitScores, load_scores, save_scores, score_file, score_split
from benchmark.measure.price import price
from benchmark.stages.graph import heads_of, method_of
from benchmark.training.backbone import BACKBONE_WEIGHTS, build_backbone
from benchmark.training.heads import HEADS_WEIGHTS, build_heads
from benchmark.training.inputs import read_inputs
from benchmark.training.reduced import reduced
from methods.model import MultiExitModel
from results.record import DoneRecord, SplitAccuracy, StageRef
from results.spec import Configured, Recipes, RunSpec, TrainSpec, Weights
from results.store.folder import Store

SCRATCH = Weights()
RUN = "lgvit-vit_nano_patch4_28"  # id of the default run
STAGES = {"finetune": "0" * 16, "exits": "1" * 16, "scores": "2" * 16}


def write_trained_run(
    root: Path,
    backbone: str = "vit_nano_patch4_28",
    method: str = "lgvit",
    exits: tuple[int, ...] = (4, 8),
    samples: int = 60,
    policies: tuple[str | Configured, ...] = ("confidence", "entropy", "margin"),
    weights: Weights = SCRATCH,
    options: Mapping[str, Any] | None = None,
) -> DoneRecord:
    """Write the stages, tables and record of one run on the bundled images; its id is ``<method>-<backbone>``."""
    train = TrainSpec(
        dataset=Configured(name="fashion-mnist-mini", set={"train": 40, "val": samples, "test": samples}),
        backbone=backbone, method=Configured(name=method, set=dict(options or {})), exits=exits, recipes=Recipes(), seed=0,
        weights=weights,
    )  # fmt: skip
    spec = RunSpec(
        train=train,
        scheme="paper",
        policies=tuple(
            Configured.model_validate(each if isinstance(each, Configured) else {"name": each}) for each in policies
        ),
    )
    backbone_module, heads = build_backbone(train), build_heads(train)
    generator = torch.Generator().manual_seed(0)
    # Random heads have similar outputs for all images; larger weights make their confidences differ.
    for head in heads.in_order:
        for parameter in head.parameters():
            parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    reduction = method_of(train).token_reduction(registry.card("backbone", backbone))
    model = MultiExitModel(reduced(backbone_module, reduction), heads).eval()
    inputs = read_inputs(train, None)
    scores = {split: score_split(model, inputs, split, torch.device("cpu")) for split in SCORED}
    static = {split: ExitScores(s.logits[-1:], s.labels, s.sample_id) for split, s in scores.items()}
    costs = price(backbone, method_of(train), exits, len(inputs.card.classes))
    blocks = [*exits, len(costs.blocks)]
    if exits:
        evaluation = evaluate(scores, static, costs, blocks, list(spec.policies))
    else:
        evaluation = evaluate_without_exits(scores, static, costs)

    store = Store(root)
    store.prepare()
    keys = {kind: f"{abs(hash((backbone, method))) % 16**8:08x}{digits[:8]}" for kind, digits in STAGES.items()}
    origin = provenance.stage_provenance("cpu", 1.0)
    with store.write_stage(f"finetune-{keys['finetune']}", {}, origin) as folder:
        (folder / BACKBONE_WEIGHTS).write_bytes(save(backbone_module.state_dict()))
    with store.write_stage(f"exits-{keys['exits']}", {}, origin) as folder:
        (folder / HEADS_WEIGHTS).write_bytes(save(heads.state_dict()))
    with store.write_stage(f"scores-{keys['scores']}", {}, origin) as folder:
        for split in SCORED:
            save_scores(scores[split], folder / score_file(split))
    record = DoneRecord(
        run_id=f"{method}-{backbone}",
        spec=spec,
        method=registry.method_info(method, method_of(train)),
        backbone=registry.backbone_info(backbone),
        stages=tuple(
            StageRef(
                stage=kind,
                key=key,
                code={},
                seconds=1.0,
                shared_pass=1,
                artifacts=store.artifacts(f"{kind}-{key}"),
            )
            for kind, key in keys.items()
        ),
        provenance=provenance.provenance("cpu", 1.0),
        data=inputs.data_card(),
        costs=costs,
        exits=exit_metrics(scores, blocks, [choice.name for choice in heads_of(train)]),
        static_accuracy=SplitAccuracy(**{split: accuracies(s)[-1] for split, s in static.items()}),
        points=evaluation.points,
    )
    with store.write_run(record) as folder:
        evaluation.write(folder, record.data.split_identity["val"])
    return record


def scored_test_images(store: Store, record: DoneRecord) -> tuple[ExitScores, Tensor]:
    """The stored scores of a run's test images, and the images, float [N, 1, H, W]."""
    (scored,) = (reference for reference in record.stages if reference.stage == "scores")
    scores = load_scores(store.artifact(scored.name, score_file("test")))
    return scores, next(iter(read_inputs(record.spec.train, None).scoring("test"))).images

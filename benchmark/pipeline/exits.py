"""Stage 2: the heads of one method, on the frozen backbone. Methods that share the backbone share its forward pass."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from benchmark import registry
from benchmark.pipeline.fit import Learner
from benchmark.pipeline.inputs import Inputs
from benchmark.pipeline.stages import Stage, heads_of, method_of
from benchmark.seeds import seed_for
from benchmark.spec import TrainSpec
from datasets.loading import Batch
from methods.backbones.backbone import BlockBackbone
from methods.heads.head import ExitHead
from methods.model import BackbonePass, ExitHeads, backbone_pass

WEIGHTS = "heads.safetensors"


def build_heads(train: TrainSpec) -> ExitHeads:
    """The heads of a run; a head's initial weights depend on the seed, its block, its kind and its options alone.

    Raises:
        ValueError: a head does not fit the backbone.
    """
    backbone = registry.card("backbone", train.backbone)
    classes = len(registry.card("dataset", train.dataset.name).classes)
    heads = []
    for block, choice in zip(train.exits, heads_of(train), strict=True):
        options = dict(choice.options)
        torch.manual_seed(seed_for("head", train.seed, block, choice.name, json.dumps(options, sort_keys=True)))
        cls = registry.card("head", choice.name).load()
        heads.append(
            cls(backbone.dims[block - 1], classes, backbone.grids[block - 1], backbone.prefix_tokens, **options)
        )
    return ExitHeads(train.exits, heads)


def load_heads(train: TrainSpec, weights: Path, device: torch.device) -> ExitHeads:
    """The trained heads, in evaluation mode."""
    heads = build_heads(train)
    heads.load_state_dict(load_file(weights))
    return heads.to(device).eval()


def exits_learner(stage: Stage, inputs: Inputs, device: torch.device) -> Learner:
    """The learner of an ``exits`` stage; it reads the frozen pass of `frozen_pass`."""
    train = stage.run.train
    recipe = train.recipes.exits
    modules = build_heads(train).to(device).train()
    (training,) = method_of(train).stages()
    loss = registry.configured("loss", training.loss.name, training.loss.options)
    heads: list[ExitHead] = list(modules.heads)  # type: ignore[arg-type]

    def losses(batch: Batch, frozen: BackbonePass) -> dict[str, Tensor]:
        outputs = modules(frozen.tokens)
        right = torch.stack([logits.argmax(-1) == batch.labels for logits in outputs.logits])
        return loss(heads, outputs, frozen, batch.labels) | {"accuracy": right.float().mean()}

    return Learner(
        name=stage.name,
        module=modules,
        losses=losses,
        recipe=recipe,
        seed=seed_for("exits", train.seed),
        steps_per_epoch=inputs.steps_per_epoch(recipe),
    )


def frozen_pass(backbone: BlockBackbone, stages: Sequence[Stage]) -> Callable[[Batch], BackbonePass]:
    """One forward pass a batch, under no gradient, that keeps what any of the stages' heads reads."""
    blocks = sorted({block for stage in stages for block in stage.run.train.exits})

    def run(batch: Batch) -> BackbonePass:
        with torch.no_grad():
            return backbone_pass(backbone, batch.images, blocks)

    return run

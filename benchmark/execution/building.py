"""What stages are made with: data, weights, learners and models, from the specification and the artifacts of earlier stages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmark.stages.stage import Stage
from benchmark.training.backbone import BACKBONE_WEIGHTS, initial_backbone, load_backbone
from benchmark.training.exits import exits_learner, frozen_pass
from benchmark.training.finetune import finetune_learner
from benchmark.training.heads import HEADS_WEIGHTS, load_heads
from benchmark.training.inputs import Inputs, read_inputs
from benchmark.training.joint import joint_learner
from benchmark.training.loop import Learner
from benchmark.weights import locate
from datasets.loading import Batch
from methods.backbones.backbone import BlockBackbone
from methods.model import ExitHeads, MultiExitModel
from results.spec import TrainSpec
from results.store.folder import Store

FrozenPass = Callable[[Batch], Any]


@dataclass(frozen=True)
class Builder:
    """Builds on a device, from a results folder.

    Attributes:
        data_dir: where the user keeps datasets, if named.
        loader_processes: that make batches; None to choose.
        most_loaders: of these, where they are chosen; None for no limit.
    """

    store: Store
    device: torch.device
    data_dir: Path | None
    loader_processes: int | None = None
    most_loaders: int | None = None

    def inputs(self, train: TrainSpec) -> Inputs:
        found = read_inputs(train, self.data_dir, self.loader_processes, pin=self.device.type == "cuda")
        if self.loader_processes is None and self.most_loaders is not None:
            fewer = replace(found.workers, count=min(found.workers.count, self.most_loaders))
            return replace(found, workers=fewer)
        return found

    def weights(self, stage: Stage) -> Path | None:
        """The pretrained file that a stage starts from."""
        return locate(stage.run.train.weights.source, self.data_dir)

    def learners(self, stages: Sequence[Stage]) -> tuple[list[Learner], FrozenPass]:
        """Of stages that train in one pass, and what is computed once a batch for all of them."""
        stage = stages[0]
        inputs = self.inputs(stage.run.train)
        if stage.kind == "finetune":
            return [finetune_learner(stage, inputs, self.weights(stage), self.device)], _nothing
        if stage.kind == "joint":
            if stage.parents:
                backbone = self.backbone(stage.parents[0])
            else:
                backbone = initial_backbone(stage.run.train, stage.blocks, self.weights(stage), keep_classifier=False)
            return [joint_learner(stage, backbone, inputs, self.device)], _nothing
        backbone = self.backbone(stage.parents[0])
        learners = [exits_learner(other, self.heads(other.parents[0]), inputs, self.device) for other in stages]
        return learners, frozen_pass(backbone, stages)

    def scored_model(self, stage: Stage) -> MultiExitModel:
        """That a ``scores`` stage scores."""
        parent = stage.parents[0]
        heads = self.heads(parent) or ExitHeads((), ())
        return MultiExitModel(self.backbone(parent.backbone), heads).to(self.device).eval()

    def backbone(self, stage: Stage) -> BlockBackbone:
        artifact = self.store.artifact(stage.name, BACKBONE_WEIGHTS)
        return load_backbone(stage.run.train, stage.blocks, artifact, self.device)

    def heads(self, stage: Stage) -> ExitHeads | None:
        """The heads that a stage leaves, or that it was given; None if there are none yet."""
        if stage.heads is None:
            return None
        return load_heads(stage.run.train, self.store.artifact(stage.heads.name, HEADS_WEIGHTS), self.device)


def _nothing(batch: Batch) -> None:
    return None

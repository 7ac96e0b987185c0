"""Builds the data, weights, learners and models of stages, from the specification and earlier artifacts."""

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
from benchmark.training.heads import HEADS_WEIGHTS, build_heads, load_heads
from benchmark.training.inputs import Inputs, available_cpus, read_inputs
from benchmark.training.joint import joint_learner
from benchmark.training.loop import Learner, Watcher, fit
from benchmark.training.ranks import Ranks
from benchmark.training.reduced import reduced
from benchmark.training.trained_model import trained_model
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
        data_dir: the user's folder of datasets and weights, if any.
        loader_processes: that load batches; None to choose.
        workers: processes on this machine that share its CPUs, where the number of loader processes is chosen.
    """

    store: Store
    device: torch.device
    data_dir: Path | None
    loader_processes: int | None = None
    workers: int = 1

    def inputs(self, train: TrainSpec) -> Inputs:
        """The data of a run."""
        inputs = read_inputs(train, self.data_dir, self.loader_processes, pin=self.device.type == "cuda")
        if self.loader_processes is None and self.workers > 1:
            limit = max(0, available_cpus() // self.workers - 1)
            return replace(inputs, workers=replace(inputs.workers, count=min(inputs.workers.count, limit)))
        return inputs

    def weights(self, stage: Stage) -> Path | None:
        """The file of pretrained weights that a stage starts from."""
        return locate(stage.run.train.weights.source, self.data_dir)

    def learners(self, stages: Sequence[Stage]) -> tuple[list[Learner], FrozenPass]:
        """The learners of stages that train in one pass, and the computation that they share for each batch."""
        stage = stages[0]
        inputs = self.inputs(stage.run.train)
        if stage.kind == "finetune":
            return [finetune_learner(stage, inputs, self.weights(stage), self.device)], _no_frozen_pass
        if stage.kind == "joint":
            if stage.parents:
                backbone = self.backbone(stage.parents[0])
            else:
                backbone = initial_backbone(stage.run.train, stage.blocks, self.weights(stage), keep_classifier=False)
            return [joint_learner(stage, backbone, inputs, self.device)], _no_frozen_pass
        backbone = self.start(stage)
        learners = [exits_learner(other, self.heads(other.parents[0]), inputs, self.device) for other in stages]
        return learners, frozen_pass(backbone, stages)

    def fit(
        self, stages: Sequence[Stage], learners: Sequence[Learner], frozen: FrozenPass, watcher: Watcher, ranks: Ranks
    ) -> None:
        """Train the `learners` of stages in one pass, resuming from their checkpoints; see `benchmark.training.loop.fit`."""
        stage = stages[0]
        recipe, train = stage.recipe, stage.run.train
        assert recipe is not None
        inputs = self.inputs(train)
        inputs.check_ranks("train", ranks)
        fit(
            learners,
            lambda epoch, skip: inputs.training(recipe, stage.kind, train.seed, epoch, skip, ranks),
            frozen,
            lambda learner: self.store.progress_dir(learner.name) / "checkpoint.pt",
            watcher,
            self.device,
            ranks,
        )

    def scored_model(self, stage: Stage) -> MultiExitModel:
        """The model of a ``scores`` stage."""
        parent = stage.parents[0]
        heads = self.heads(parent)
        if heads is None:
            has_exits = stage.reduction is not None and stage.run.train.exits
            heads = build_heads(stage.run.train) if has_exits else ExitHeads((), ())  # heads without weights
        return trained_model(stage.run.train, self.backbone(parent.backbone), heads, stage.reduction, self.device)

    def start(self, stage: Stage) -> BlockBackbone:
        """The frozen backbone of the stage before, with the tokens of this stage."""
        return reduced(self.backbone(stage.parents[0]), stage.reduction)

    def backbone(self, stage: Stage) -> BlockBackbone:
        """The frozen backbone that a stage has trained."""
        artifact = self.store.artifact(stage.name, BACKBONE_WEIGHTS)
        return load_backbone(stage.run.train, stage.blocks, artifact, self.device)

    def heads(self, stage: Stage) -> ExitHeads | None:
        """The heads of a stage or of the nearest one before it that has any."""
        if stage.heads is None:
            return None
        return load_heads(stage.run.train, self.store.artifact(stage.heads.name, HEADS_WEIGHTS), self.device)


def _no_frozen_pass(batch: Batch) -> None:
    return None

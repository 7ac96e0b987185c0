"""The backbone of a finished run and its data, as measurements of representations read them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmark.errors import UserError
from benchmark.seeds import seed_for
from benchmark.training.backbone import BACKBONE_WEIGHTS, load_backbone
from benchmark.training.inputs import Inputs, read_inputs
from methods.api import CLASSIFICATION
from methods.backbones.backbone import BlockBackbone
from results.record import DoneRecord
from results.store.folder import Store
from results.store.probes import backbone_stage

VAL = "val.json"  # written by `benchmark.execution.last_quarter`


@dataclass(frozen=True)
class Subject:
    """What is measured: the backbone that the run's own model contains.

    Attributes:
        store: the results folder.
        record: of a finished run.
        device: of the backbone.
        data_dir: the user's folder of datasets, if any.
    """

    store: Store
    record: DoneRecord
    device: torch.device
    data_dir: Path | None

    @property
    def backbone(self) -> str:
        """The name of the stage that trained it.

        Raises:
            UserError: see `refusal`.
        """
        name = backbone_stage(self.record)
        if name is None or self.refusal:
            raise UserError(f"{self.record.run_id}: {self.refusal}")
        return name

    @property
    def refusal(self) -> str:
        """Why nothing can be measured: no stage of the run trained a backbone, another one replaces it, or the images have no
        class; empty if it can."""
        if self.record.data.task != CLASSIFICATION:
            return f"a run of {self.record.data.task}; probes and token measures need one class for an image"
        if backbone_stage(self.record) is None:
            return "its backbone was not trained here, so it has no representations to measure"
        if (other := self.record.spec.train.replacement) is not None:
            return f"{other.backbone} replaces its backbone; explain a run on that one"
        return ""

    @property
    def depth(self) -> int:
        costs = self.record.costs
        return min(len(costs.blocks), costs.depth)  # a model with two resolutions runs the blocks twice

    @property
    def fields(self) -> dict[str, Any]:
        """What every measurement depends on, for the key of its stage."""
        return {"backbone": self.backbone, "content": self.record.data.content}

    def load(self) -> BlockBackbone:
        """The frozen backbone, in evaluation mode.

        Raises:
            UserError: its weights are not in the results folder, as with shared records.
            StoreError: its weights were changed.
        """
        if not self.store.has_stage(self.backbone):
            raise UserError(
                f"{self.record.run_id}: {self.store.root} does not contain the weights of its backbone ({self.backbone}), "
                "which this measurement reads"
            )
        weights = self.store.artifact(self.backbone, BACKBONE_WEIGHTS)
        return load_backbone(self.record.spec.train, self.depth, weights, self.device)

    def inputs(self) -> Inputs:
        """
        Raises:
            UserError: the data on this machine are not those of the run.
        """
        inputs = read_inputs(self.record.spec.train, self.data_dir)
        if inputs.content() != self.record.data.content:
            raise UserError(
                f"{self.record.run_id}: the images of {inputs.card.name} on this machine are not those of the run"
            )
        return inputs

    def shuffled(self, inputs: Inputs, split: str, count: int | None = None) -> Inputs:
        """The images of a split in an order that depends on the split alone, at most ``count``: a random sample."""
        images = inputs.splits[split]
        order = np.random.default_rng(seed_for("representations", split)).permutation(len(images))[:count]
        return replace(inputs, splits={**inputs.splits, split: images.select(order)})

"""The backbone of a finished run and its data, as measurements of representations read them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmark.errors import UserError
from benchmark.training.backbone import BACKBONE_WEIGHTS, load_backbone
from benchmark.training.inputs import Inputs, read_inputs
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
            UserError: no stage of the run did.
        """
        name = backbone_stage(self.record)
        if name is None:
            raise UserError(
                f"{self.record.run_id}: its backbone was not trained here, so it has no representations to measure"
            )
        return name

    @property
    def depth(self) -> int:
        return len(self.record.costs.blocks)

    @property
    def fields(self) -> dict[str, Any]:
        """What every measurement depends on, for the key of its stage."""
        return {"backbone": self.backbone, "content": self.record.data.content}

    def load(self) -> BlockBackbone:
        """The frozen backbone, in evaluation mode.

        Raises:
            StoreError: its weights are missing or were changed.
        """
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

"""The model of a run, from its trained parts."""

from __future__ import annotations

import torch

from benchmark.training.backbone import task_of
from benchmark.training.reduced import reduced
from methods.api import Component
from methods.backbones.backbone import BlockBackbone
from methods.model import ExitHeads, MultiExitModel
from results.spec import TrainSpec


def trained_model(
    train: TrainSpec, backbone: BlockBackbone, heads: ExitHeads, reduction: Component | None, device: torch.device
) -> MultiExitModel:
    """The trained model of a run, in evaluation mode. Where tokens leave, the heads are a part of the reduced backbone.

    Args:
        train: the run.
        backbone: trained, with all tokens.
        heads: trained; without exits if the run has none.
        reduction: the token reduction of the run.
        device: of the model.

    Raises:
        ValueError: tokens of this backbone cannot be removed.
    """
    own = ExitHeads((), ()) if train.token_exits else heads
    return MultiExitModel(reduced(backbone, reduction, heads), own, task_of(train)).to(device).eval()

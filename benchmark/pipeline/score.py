"""The product of training: every exit's logits for every sample of val and test, stored once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from benchmark.pipeline.inputs import Inputs
from methods.model import MultiExitModel

SCORED = ("val", "test")


@dataclass(frozen=True)
class ExitScores:
    """The answers of all exits to one split.

    Attributes:
        logits: float32 [K, N, C], final exit last.
        labels: int64 [N].
        sample_id: int64 [N].
    """

    logits: Tensor
    labels: Tensor
    sample_id: Tensor


def score_file(split: str) -> str:
    return f"{split}.safetensors"


def score_split(model: MultiExitModel, inputs: Inputs, split: str, device: torch.device) -> ExitScores:
    """One forward pass over a split, nothing skipped."""
    logits, labels, sample_id = [], [], []
    with torch.no_grad():
        for batch in inputs.scoring(split):
            logits.append(model.forward_all(batch.images.to(device)).logits.float().cpu())
            labels.append(batch.labels)
            sample_id.append(batch.sample_id)
    return ExitScores(torch.cat(logits, dim=1), torch.cat(labels), torch.cat(sample_id))


def save_scores(scores: ExitScores, path: Path) -> None:
    path.write_bytes(save({"logits": scores.logits, "labels": scores.labels, "sample_id": scores.sample_id}))


def load_scores(path: Path) -> ExitScores:
    tensors = load_file(path)
    return ExitScores(tensors["logits"], tensors["labels"], tensors["sample_id"])

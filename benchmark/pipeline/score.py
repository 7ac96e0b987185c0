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
        errors: float32 [K - 1, N], how likely each early exit's learned gate takes its answer to be wrong; None where the
            exits have no gate.
    """

    logits: Tensor
    labels: Tensor
    sample_id: Tensor
    errors: Tensor | None = None

    def part(self, samples: slice) -> ExitScores:
        """Of some of the samples."""
        errors = None if self.errors is None else self.errors[:, samples]
        return ExitScores(self.logits[:, samples], self.labels[samples], self.sample_id[samples], errors)


def score_file(split: str) -> str:
    return f"{split}.safetensors"


def score_split(model: MultiExitModel, inputs: Inputs, split: str, device: torch.device) -> ExitScores:
    """One forward pass over a split, nothing skipped."""
    logits, errors, labels, sample_id = [], [], [], []
    with torch.no_grad():
        for batch in inputs.scoring(split):
            found = model.forward_all(batch.images.to(device))
            logits.append(found.logits.float().cpu())
            if found.errors is not None:
                errors.append(found.errors.float().cpu())
            labels.append(batch.labels)
            sample_id.append(batch.sample_id)
    gates = torch.cat(errors, dim=1) if errors else None
    return ExitScores(torch.cat(logits, dim=1), torch.cat(labels), torch.cat(sample_id), gates)


def save_scores(scores: ExitScores, path: Path) -> None:
    tensors = {"logits": scores.logits, "labels": scores.labels, "sample_id": scores.sample_id}
    if scores.errors is not None:
        tensors["errors"] = scores.errors
    path.write_bytes(save(tensors))


def load_scores(path: Path) -> ExitScores:
    tensors = load_file(path)
    return ExitScores(tensors["logits"], tensors["labels"], tensors["sample_id"], tensors.get("errors"))

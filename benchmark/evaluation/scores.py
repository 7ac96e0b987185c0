"""The product of training: every exit's logits for every sample of val and test, stored once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from benchmark.errors import RankError
from benchmark.training.inputs import Inputs
from benchmark.training.ranks import ALONE, Ranks
from datasets.loading import Batch, scored_together
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

    @property
    def tensors(self) -> list[Tensor]:
        """All of it, as one rank sends it to another."""
        return [self.logits, self.labels, self.sample_id, *([] if self.errors is None else [self.errors])]

    def empty(self, samples: int) -> ExitScores:
        """Room for the answers to so many samples."""
        exits, _, classes = self.logits.shape
        errors = None if self.errors is None else self.errors.new_empty(exits - 1, samples)
        logits = self.logits.new_empty(exits, samples, classes)
        return ExitScores(logits, self.labels.new_empty(samples), self.sample_id.new_empty(samples), errors)


def score_file(split: str) -> str:
    return f"{split}.safetensors"


def score_split(
    model: MultiExitModel, inputs: Inputs, split: str, device: torch.device, ranks: Ranks = ALONE
) -> ExitScores:
    """One forward pass over a split, nothing skipped.

    Several ranks take batches in turn, each batch as one process would make it, and the first rank gathers what the others
    answer (`answer_split`): the same bits in the same order, each sample once.

    Raises:
        RankError: a rank is gone, or answered for other samples than those that it was asked about.
    """
    sample_id = torch.from_numpy(inputs.splits[split].sample_id)
    own = (_answers(model, batch, device) for batch in inputs.scoring(split, ranks))
    parts: list[ExitScores] = []
    for number, positions in enumerate(scored_together(len(sample_id), inputs.size)):
        rank = number % ranks.size
        if rank == 0:
            found = next(own)
        else:
            found = parts[0].empty(len(positions))
            ranks.receive(found.tensors, rank)
            if not torch.equal(found.sample_id, sample_id[positions]):
                raise RankError(
                    f"process {rank} of this scoring answered for other samples of {split}; is its data another?"
                )
        parts.append(found)
    errors = [part.errors for part in parts if part.errors is not None]
    return ExitScores(
        torch.cat([part.logits for part in parts], dim=1),
        torch.cat([part.labels for part in parts]),
        torch.cat([part.sample_id for part in parts]),
        torch.cat(errors, dim=1) if errors else None,
    )


def answer_split(model: MultiExitModel, inputs: Inputs, split: str, device: torch.device, ranks: Ranks) -> None:
    """What another rank than the first does while that one is in `score_split`."""
    for batch in inputs.scoring(split, ranks):
        ranks.send(_answers(model, batch, device).tensors)


def _answers(model: MultiExitModel, batch: Batch, device: torch.device) -> ExitScores:
    with torch.no_grad():
        found = model.forward_all(batch.images.to(device))
    errors = None if found.errors is None else found.errors.float().cpu()
    return ExitScores(found.logits.float().cpu(), batch.labels, batch.sample_id, errors)


def save_scores(scores: ExitScores, path: Path) -> None:
    tensors = {"logits": scores.logits, "labels": scores.labels, "sample_id": scores.sample_id}
    if scores.errors is not None:
        tensors["errors"] = scores.errors
    path.write_bytes(save(tensors))


def load_scores(path: Path) -> ExitScores:
    tensors = load_file(path)
    return ExitScores(tensors["logits"], tensors["labels"], tensors["sample_id"], tensors.get("errors"))

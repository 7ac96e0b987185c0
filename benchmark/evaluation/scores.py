"""Scores: what every exit answers for every sample of val and test, computed once after training and stored.

Of maps and boxes they contain what policies and metrics need, of classifications the logits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, load_file, save
from torch import Tensor

from benchmark.errors import NotFiniteError
from benchmark.evaluation.detections import Detections
from benchmark.training.inputs import Inputs
from benchmark.training.ranks import ALONE, Ranks
from datasets.loading import Batch, scoring_positions
from methods.model import MultiExitModel

SCORED = ("val", "test")
OPTIONAL = ("errors", "counts", "maps", "tokens", "left")
"""Fields of `ExitScores` that may be None; their second axis is that of the samples."""


@dataclass(frozen=True)
class ExitScores:
    """What all exits give on one split.

    Attributes:
        logits: what policies read, float32 [K, N, C], final exit last: the logits of C classes; in segmentation the signals of
            `methods.policies.map_signals`, in detection those of `methods.policies.box_signals`.
        labels: int64 [N]; zeros in a task that has ``counts`` or ``detections``.
        sample_id: int64 [N].
        errors: float32 [K - 1, N], probability that the prediction of an early exit is wrong, by its learned gate; None if the
            exits have no gates.
        counts: what the metric sums over images, int32 [K, N, C, 6], in segmentation: see `methods.tasks.segmentation`; None
            in classification.
        maps: the class of every patch, uint8 [K, N, g, g], in a task that answers with maps; None in classification.
        tokens: number of tokens on which each of the L blocks ran, int32 [1, N, L], where tokens leave; None elsewhere.
        left: exit at which the token of each patch left, 0-based, uint8 [1, N, g, g], likewise; the number of exits for those
            that the final classifier labelled.
        detections: found and labelled boxes, in detection; None in other tasks.
    """

    logits: Tensor
    labels: Tensor
    sample_id: Tensor
    errors: Tensor | None = None
    counts: Tensor | None = None
    maps: Tensor | None = None
    tokens: Tensor | None = None
    left: Tensor | None = None
    detections: Detections | None = None

    def part(self, samples: slice | Tensor) -> ExitScores:
        """The scores of some samples: a range, or positions."""
        optional: dict[str, Any] = {name: values[:, samples] for name, values in self._optional.items()}
        if self.detections is not None:
            optional["detections"] = self.detections.part(samples)
        return ExitScores(self.logits[:, samples], self.labels[samples], self.sample_id[samples], **optional)

    @property
    def _optional(self) -> dict[str, Tensor]:
        """The fields of `OPTIONAL` that the task has."""
        return {name: values for name in OPTIONAL if (values := getattr(self, name)) is not None}

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All tensors by their names in a file."""
        tensors = {"logits": self.logits, "labels": self.labels, "sample_id": self.sample_id, **self._optional}
        return tensors if self.detections is None else tensors | self.detections.tensors

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> ExitScores:
        """The scores in a file with these tensors."""
        own: dict[str, Any] = {
            name: tensors[name] for name in ("logits", "labels", "sample_id", *OPTIONAL) if name in tensors
        }
        return cls(**own, detections=Detections.of(tensors))

    @classmethod
    def joined(cls, parts: Sequence[ExitScores]) -> ExitScores:
        """The scores of the samples of several parts, which have the same exits."""
        optional: dict[str, Any] = {
            name: torch.cat([part._optional[name] for part in parts], dim=1) for name in parts[0]._optional
        }
        detections = [part.detections for part in parts if part.detections is not None]
        return cls(
            torch.cat([part.logits for part in parts], dim=1),
            torch.cat([part.labels for part in parts]),
            torch.cat([part.sample_id for part in parts]),
            **optional,
            detections=Detections.joined(detections) if detections else None,
        )


CHOSEN = "chosen.safetensors"
"""File of a ``scores`` stage with what the token reduction has chosen on val, if it chooses anything."""


def choose_on_val(model: MultiExitModel, inputs: Inputs, device: torch.device) -> dict[str, Tensor]:
    """Let the token reduction of a model choose what it leaves open; each rank chooses the same."""
    return model.backbone.choose_on_val(lambda: (batch.images.to(device) for batch in inputs.scoring("val")))


def score_file(split: str) -> str:
    return f"{split}.safetensors"


def score_split(
    model: MultiExitModel, inputs: Inputs, split: str, device: torch.device, ranks: Ranks = ALONE
) -> ExitScores:
    """The scores of a split, in which every sample passes through all exits.

    With several ranks, rank r scores batches r, r + size, ... and rank 0 gathers the results (see `send_scores`). Batches and
    their order are those of a single process, so the bits are equal.

    Raises:
        DataError: the ranks have read different images or labels.
        RankError: a rank has died.
    """
    inputs.check_ranks(split, ranks)
    own = (_score(model, batch, device) for batch in inputs.scoring(split, ranks))
    parts: list[ExitScores] = []
    for number in range(len(scoring_positions(len(inputs.splits[split]), inputs.size))):
        rank = number % ranks.size
        parts.append(next(own) if rank == 0 else ExitScores.of(load(ranks.receive_bytes(rank))))
    return ExitScores.joined(parts)


def send_scores(model: MultiExitModel, inputs: Inputs, split: str, device: torch.device, ranks: Ranks) -> None:
    """Score this rank's batches and send the results to rank 0. All ranks except 0 call it while rank 0 is in `score_split`."""
    inputs.check_ranks(split, ranks)
    for batch in inputs.scoring(split, ranks):
        ranks.send_bytes(save(_score(model, batch, device).tensors))


def _score(model: MultiExitModel, batch: Batch, device: torch.device) -> ExitScores:
    with torch.no_grad():
        outputs = model.forward_all(batch.images.to(device))
        before = [None, *outputs.logits[:-1]]
        read = [model.task.evidence(output, last) for output, last in zip(outputs.logits, before, strict=True)]
        errors = None if outputs.errors is None else outputs.errors.float().cpu()
        tokens = None if outputs.tokens is None else outputs.tokens[None].cpu()
        labels, counts, maps = batch.labels, None, None
        detections = None
        if batch.boxes is not None:
            labels = torch.zeros_like(batch.sample_id)
            detections = _detections(model, outputs.logits, batch)
        if batch.masks is not None:
            labels = torch.zeros_like(batch.sample_id)
            counts = torch.stack([model.task.counts(output, batch.masks) for output in outputs.logits]).cpu()
            maps = torch.stack([model.task.answers(output) for output in outputs.logits]).to(torch.uint8).cpu()
        left = None if outputs.left is None else outputs.left[None].unflatten(2, outputs.logits.shape[-2:]).cpu()
    return ExitScores(torch.stack(read).cpu(), labels, batch.sample_id, errors, counts, maps, tokens, left, detections)


def _detections(model: MultiExitModel, outputs: Tensor, batch: Batch) -> Detections:
    """The boxes that all exits find in a batch, in pixels of the stored images, beside the labelled ones.

    Boxes are read from the outputs on the CPU, so that equal outputs give the same bits on every device.
    """
    assert batch.boxes is not None
    assert batch.sizes is not None
    found = [boxes for output in outputs.float().cpu() for boxes in model.task.detections(output)]
    lengths = torch.tensor([0, *(len(boxes.scores) for boxes in found)])
    sides = batch.sizes.repeat(len(outputs), 2).repeat_interleave(lengths[1:], 0)
    labelled = batch.boxes
    return Detections(
        lengths.cumsum(0),
        torch.cat([boxes.boxes for boxes in found]) * sides,
        torch.cat([boxes.scores for boxes in found]),
        torch.cat([boxes.labels for boxes in found]).to(torch.int16),
        torch.from_numpy(labelled.offsets),
        torch.from_numpy(labelled.corners),
        torch.from_numpy(labelled.labels).to(torch.int16),
        torch.from_numpy(labelled.ignored),
    )


def save_scores(scores: ExitScores, path: Path) -> None:
    """Write scores as safetensors.

    Raises:
        NotFiniteError: a score is NaN or infinite.
    """
    for exit_, logits in enumerate(scores.logits, start=1):
        bad = int((~torch.isfinite(logits)).any(dim=-1).sum())
        if bad:
            raise NotFiniteError(f"the logits of exit {exit_} are NaN or infinite for {bad} of {len(logits)} samples")
    if scores.errors is not None and not torch.isfinite(scores.errors).all():
        raise NotFiniteError("the outputs of the learned gates are NaN or infinite")
    path.write_bytes(save(scores.tensors))


def load_scores(path: Path) -> ExitScores:
    return ExitScores.of(load_file(path))

"""The stage ``gradients``: whether the exits of a jointly trained model pull the shared parameters the same way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.representations.measuring import measure
from benchmark.representations.subject import Subject
from benchmark.training.heads import HEADS_WEIGHTS, load_heads
from datasets.loading import Batch
from methods.model import MultiExitModel, backbone_pass
from results.record import DoneRecord
from results.store.representations import GRADIENTS, Measurement, Measurements

IMAGES = 1024
MINIBATCH = 64


def gradient_refusal(record: DoneRecord) -> str:
    """Why the gradients of a run's exits are not compared; empty if they are."""
    kinds = [reference.stage for reference in record.stages]
    if not record.spec.train.exits:
        return "it has no early exits"
    if record.costs.reduced_tokens:
        return "its blocks run on fewer tokens than those of the backbone, which is what is measured"
    if "joint" not in kinds or "exits" in kinds:
        return "the heads trained on a frozen backbone and share no trained parameters with the final exit"
    return ""


def measure_gradients(subject: Subject) -> tuple[str, Measurements]:
    """The cosine between the gradients of each exit and of the final exit on the parameters that both share.

    On `IMAGES` images of train, drawn with a fixed seed, without augmentation, in minibatches of `MINIBATCH`; the model is in
    evaluation mode. The cosine depends on the size of the minibatches: noise pulls it towards 0.

    Args:
        subject: a run for which `gradient_refusal` is empty.

    Returns:
        the name and the content of the stage.

    Raises:
        UserError: the data on this machine are not those of the run, or the weights are not in the folder.
        StoreError: an artifact is missing or was changed.
    """
    train = subject.record.spec.train

    def rows() -> Iterator[Measurement]:
        backbone, inputs = subject.load(), subject.shuffled(subject.inputs(), "train", IMAGES)
        heads = load_heads(train, subject.store.artifact(subject.backbone, HEADS_WEIGHTS), subject.device)
        model = MultiExitModel(backbone, heads).eval().requires_grad_(True)
        cosines = [
            gradient_cosines(model, images.to(subject.device), labels.to(subject.device))
            for images, labels in minibatches(inputs.scoring("train"))
        ]
        for block, values in zip(train.exits, zip(*cosines, strict=True), strict=True):
            mean, conflicts = sum(values) / len(values), sum(value < 0 for value in values) / len(values)
            yield Measurement(measure="gradient-cosine", split="train", block=block, part="", value=mean)
            yield Measurement(measure="gradient-conflicts", split="train", block=block, part="", value=conflicts)

    # The version is that of this table alone: the domain `measures` also holds the other measures, which keep their keys.
    return measure(subject, GRADIENTS, {"images": IMAGES, "minibatch": MINIBATCH, "version": 2}, rows)


def minibatches(batches: Iterable[Batch]) -> Iterator[tuple[Tensor, Tensor]]:
    """Images and labels in pieces of `MINIBATCH`, whatever the sizes of the batches; the last piece may have fewer."""
    images, labels = torch.empty(0), torch.empty(0, dtype=torch.int64)
    for batch in batches:
        images = torch.cat([images, batch.images]) if len(images) else batch.images
        labels = torch.cat([labels, batch.labels])
        while len(images) >= MINIBATCH:
            yield images[:MINIBATCH], labels[:MINIBATCH]
            images, labels = images[MINIBATCH:], labels[MINIBATCH:]
    if len(images):
        yield images, labels


def gradient_cosines(model: MultiExitModel, images: Tensor, labels: Tensor) -> list[float]:
    """The cosine of each early exit's gradient with that of the final exit (Yu et al., "Gradient surgery for multi-task
    learning", NeurIPS 2020, definition 1: they conflict if it is below 0).

        cos = <g_k, g_K> / (|g_k| |g_K|)

    The gradients are those of the cross-entropy of each exit alone, on the parameters of the backbone that both losses reach:
    embedding and blocks up to the exit.

    Args:
        model: in evaluation mode; its backbone requires gradients.
        images: (B, channels, H, W).
        labels: classes, (B,).

    Returns:
        one value per early exit; 0 if a gradient vanishes.
    """
    passed = backbone_pass(model.backbone, images, model.exit_heads.exits)
    parameters = list(model.backbone.parameters())
    losses = [F.cross_entropy(logits, labels) for logits in (*model.exit_heads(passed.tokens).logits, passed.logits)]
    final = _gradients(losses[-1], parameters)
    return [cosine(_gradients(loss, parameters), final) for loss in losses[:-1]]


def _gradients(loss: Tensor, parameters: Sequence[nn.Parameter]) -> tuple[Tensor | None, ...]:
    """The gradient on each parameter, None where the loss does not depend on it."""
    return torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)


def cosine(first: Sequence[Tensor | None], second: Sequence[Tensor | None]) -> float:
    """The cosine over the parameters that have both gradients; 0 if one of the two vanishes there."""
    shared = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    across, one, other = (
        sum(float((pair[i] * pair[j]).double().sum()) for pair in shared) for i, j in ((0, 1), (0, 0), (1, 1))
    )
    return across / (one * other) ** 0.5 if one > 0 and other > 0 else 0.0

"""The features of all images of a split: what a classifier on the tokens after a block can read at least."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.representations.logistic import Split
from benchmark.training.inputs import Inputs
from methods.backbones.backbone import BlockBackbone
from results.store.probes import BOTH, CLASS_TOKEN, PATCH_MEAN, ProbeInputs


@dataclass(frozen=True)
class Features:
    """The features of a split at some blocks.

    They stay in the memory of the CPU, since those of a large train split at all blocks are too many for a GPU.

    Attributes:
        device: of the backbone; `at` returns the features of one block there.
        class_tokens: by block, (N, P * C) for P class tokens.
        patch_means: by block, (N, C).
        labels: (N,).
        sample_id: (N,).
        final_logits: of the final classifier, (N, classes).
    """

    device: torch.device
    class_tokens: dict[int, Tensor]
    patch_means: dict[int, Tensor]
    labels: Tensor
    sample_id: Tensor
    final_logits: Tensor

    @property
    def final_accuracy(self) -> float:
        return float((self.final_logits.argmax(1) == self.labels).double().mean())

    def inputs(self, block: int) -> tuple[ProbeInputs, ...]:
        """The kinds of features at a block; without class tokens, only the mean of the patch tokens."""
        every: tuple[ProbeInputs, ...] = (CLASS_TOKEN, PATCH_MEAN, BOTH)
        return every if self.class_tokens[block].shape[1] else (PATCH_MEAN,)

    def at(self, block: int, inputs: ProbeInputs) -> Split:
        """The features of a kind at a block, with the labels, on `device`."""
        parts = {CLASS_TOKEN: [self.class_tokens], PATCH_MEAN: [self.patch_means]}
        both = [self.class_tokens, self.patch_means]
        read = [part[block].to(self.device) for part in parts.get(inputs, both)]
        return Split(torch.cat(read, dim=1), self.labels.to(self.device))


@torch.no_grad()
def features(
    backbone: BlockBackbone, inputs: Inputs, split: str, blocks: Sequence[int], device: torch.device
) -> Features:
    """One pass through a frozen backbone over a split, without augmentation."""
    gathered = _Gathered(len(inputs.splits[split]))
    labels: list[Tensor] = []
    sample_id: list[Tensor] = []
    for batch in inputs.scoring(split):
        tokens = backbone.embed(batch.images.to(device))
        for number in range(1, backbone.depth + 1):
            tokens = backbone.block(number, tokens)
            if number in blocks:
                own = (
                    tokens.class_tokens.flatten(1) if tokens.prefix else tokens.patches.new_zeros(len(batch.labels), 0)
                )
                gathered.add(f"class {number}", own)
                gathered.add(f"mean {number}", tokens.patches.mean(1))
        gathered.add("logits", backbone.classify(tokens))
        labels.append(batch.labels)
        sample_id.append(batch.sample_id)
    return Features(
        device,
        {block: gathered.of(f"class {block}") for block in blocks},
        {block: gathered.of(f"mean {block}") for block in blocks},
        torch.cat(labels),
        torch.cat(sample_id),
        gathered.of("logits"),
    )


class _Gathered:
    """Values of all images, each kind in one tensor from the first batch on.

    Many small tensors that stay, between activations that are freed, would fragment the memory: with 54,000 images of 28x28
    pixels, features of 170 MB took 8 GB.
    """

    def __init__(self, images: int) -> None:
        self.images = images
        self.values: dict[str, Tensor] = {}
        self.filled: dict[str, int] = {}

    def add(self, kind: str, values: Tensor) -> None:
        """The values of the next images, [B, ...]; stored as float32."""
        if kind not in self.values:
            self.values[kind] = torch.empty((self.images, *values.shape[1:]), dtype=torch.float32)
        start = self.filled.get(kind, 0)
        self.filled[kind] = start + len(values)
        self.values[kind][start : self.filled[kind]] = values

    def of(self, kind: str) -> Tensor:
        """Those of all images so far, [N, ...]."""
        return self.values[kind][: self.filled[kind]]

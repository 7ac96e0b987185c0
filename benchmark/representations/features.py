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
    """The features of a split at some blocks, on the device of the backbone.

    Attributes:
        class_tokens: by block, (N, P * C) for P class tokens.
        patch_means: by block, (N, C).
        labels: (N,).
        sample_id: (N,), on the CPU.
        final_logits: of the final classifier, (N, classes).
    """

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
        """The features of a kind at a block, with the labels."""
        parts = {CLASS_TOKEN: [self.class_tokens], PATCH_MEAN: [self.patch_means]}
        both = [self.class_tokens, self.patch_means]
        return Split(torch.cat([part[block] for part in parts.get(inputs, both)], dim=1), self.labels)


@torch.no_grad()
def features(
    backbone: BlockBackbone, inputs: Inputs, split: str, blocks: Sequence[int], device: torch.device
) -> Features:
    """One pass through a frozen backbone over a split, without augmentation."""
    class_tokens: dict[int, list[Tensor]] = {block: [] for block in blocks}
    patch_means: dict[int, list[Tensor]] = {block: [] for block in blocks}
    labels: list[Tensor] = []
    sample_id: list[Tensor] = []
    final_logits: list[Tensor] = []
    for batch in inputs.scoring(split):
        tokens = backbone.embed(batch.images.to(device))
        for number in range(1, backbone.depth + 1):
            tokens = backbone.block(number, tokens)
            if number in class_tokens:
                class_tokens[number].append(
                    tokens.class_tokens.flatten(1)
                    .float()
                    .clone()  # a view would keep all tokens of the batch in memory
                    if tokens.prefix
                    else tokens.patches.new_zeros(len(batch.labels), 0)
                )
                patch_means[number].append(tokens.patches.mean(1).float())
        labels.append(batch.labels.to(device))
        sample_id.append(batch.sample_id)
        final_logits.append(backbone.classify(tokens).float())
    return Features(
        {block: torch.cat(parts) for block, parts in class_tokens.items()},
        {block: torch.cat(parts) for block, parts in patch_means.items()},
        torch.cat(labels),
        torch.cat(sample_id),
        torch.cat(final_logits),
    )

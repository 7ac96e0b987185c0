"""The stage ``representations``: what one pass over val and test says about the tokens after each block of a backbone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import torch
from torch import Tensor

from benchmark.representations.attention_distance import (
    AttentionWeights,
    attention_refusal,
    mean_distance,
    patch_distances,
    recorded_attention,
    uniform_distance,
)
from benchmark.representations.frequencies import CUT_OFF, high_frequency_share, spectral_power, white_noise_share
from benchmark.representations.measuring import measure
from benchmark.representations.similarity import FEWEST, MINIBATCH, MinibatchCKA, gram
from benchmark.representations.subject import Subject
from methods.backbones.backbone import BlockBackbone
from methods.tokens import Tokens
from results.store.probes import BOTH, CLASS_TOKEN, PATCH_MEAN
from results.store.representations import TOKENS, Measurement, Measurements

SPLITS = ("val", "test")


def measure_tokens(subject: Subject) -> tuple[str, Measurements]:
    """CKA with the last block, attention distances and spatial frequencies of every block, unless they exist.

    Returns:
        the name and the content of the stage.

    Raises:
        UserError: the data on this machine are not those of the run, or the weights are not in the folder.
        StoreError: an artifact is missing or was changed.
    """

    def rows() -> Iterator[Measurement]:
        backbone, inputs = subject.load(), subject.inputs()
        for split in SPLITS:
            sums = TokenSums(backbone, split, inputs.size)
            for batch in subject.shuffled(inputs, split).scoring(split):
                for images in batch.images.split(MINIBATCH):
                    sums.add(images.to(subject.device))
            yield from sums.rows()

    return measure(subject, TOKENS, {"minibatch": MINIBATCH, "cut_off": CUT_OFF}, rows)


class TokenSums:
    """The sums of a pass over one split. Only the tokens of one block and the features of one minibatch are in memory.

    Args:
        backbone: frozen, in evaluation mode.
        split: of the images.
        size: side of the images in pixels.
    """

    def __init__(self, backbone: BlockBackbone, split: str, size: int) -> None:
        self.backbone = backbone
        self.split = split
        self.size = size
        self.refusal = attention_refusal(backbone)
        self.similarities: dict[tuple[int, str], MinibatchCKA] = {}
        self.powers: dict[int, Tensor] = {}
        self.distances: dict[int, Tensor] = {}
        self.uniform: dict[int, float] = {}
        self.images = 0

    @torch.no_grad()
    def add(self, images: Tensor) -> None:
        """A minibatch of images (B, channels, H, W), drawn at random from the split."""
        backbone, features = self.backbone, []
        recording = nullcontext(AttentionWeights()) if self.refusal else recorded_attention(backbone)
        with recording as attention:
            tokens = backbone.embed(images)
            for number in range(1, backbone.depth + 1):
                tokens = backbone.block(number, tokens)
                self._add_power(number, tokens)
                if not self.refusal:
                    self._add_distances(number, tokens, attention.values)
                features.append(_features(tokens))
        self.images += len(images)
        if len(images) >= FEWEST:
            self._add_similarities(features)

    def _add_power(self, number: int, tokens: Tokens) -> None:
        power = spectral_power(tokens.map)
        self.powers[number] = self.powers.get(number, torch.zeros_like(power)) + power

    def _add_distances(self, number: int, tokens: Tokens, attention: Tensor) -> None:
        between = patch_distances(tokens.grid, self.size / tokens.grid).to(attention.device)
        of_batch = len(attention) * mean_distance(attention, between, tokens.prefix)
        self.distances[number] = self.distances.get(number, torch.zeros_like(of_batch)) + of_batch
        self.uniform[number] = uniform_distance(between)

    def _add_similarities(self, features: list[dict[str, Tensor]]) -> None:
        final = _grams(features[-1])
        for number, of_block in enumerate(features, start=1):
            for kind, matrix in _grams(of_block).items():
                self.similarities.setdefault((number, kind), MinibatchCKA()).add(matrix, final[kind])

    def rows(self) -> Iterator[Measurement]:
        """The measures of all blocks, over all minibatches."""
        for (block, kind), similarity in self.similarities.items():
            yield self._row("cka", block, kind, similarity.value, "the features do not vary")
        for block, power in self.powers.items():
            constant = "the map has no variation in space"
            yield self._row("high-frequency-share", block, "", high_frequency_share(power.cpu()), constant)
            yield self._row("white-noise-share", block, "", white_noise_share(len(power)), constant)
        for block in range(1, self.backbone.depth + 1) if self.refusal else ():
            yield self._row("attention-distance", block, "", None, self.refusal)
        for block, total in self.distances.items():
            for head, distance in enumerate((total / self.images).tolist(), start=1):
                yield self._row("attention-distance", block, f"head {head}", distance, "")
            yield self._row("uniform-distance", block, "", self.uniform[block], "")

    def _row(self, name: str, block: int, part: str, value: float | None, reason: str) -> Measurement:
        fields = {"measure": name, "split": self.split, "block": block, "part": part, "value": value}
        return Measurement.model_validate(fields | {"note": reason if value is None else ""})


def _features(tokens: Tokens) -> dict[str, Tensor]:
    """The features of the images by kind, (B, D); without class tokens only the mean of the patch tokens."""
    features: dict[str, Tensor] = {CLASS_TOKEN: tokens.class_tokens.flatten(1), PATCH_MEAN: tokens.patches.mean(1)}
    return {kind: values for kind, values in features.items() if values.shape[1]}


def _grams(features: dict[str, Tensor]) -> dict[str, Tensor]:
    """The Gram matrices by kind; that of concatenated features is the sum of theirs."""
    matrices = {kind: gram(values) for kind, values in features.items()}
    return matrices | {BOTH: sum(matrices.values(), torch.zeros(()))} if len(matrices) > 1 else matrices

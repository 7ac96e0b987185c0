"""Numbers that summarise a map of logits for exit policies, and the policy that reads one of them.

There is no settled rule for one decision on a whole image: MESS (Kouris et al., 2021, arXiv 2106.03527) uses the share of
confident pixels, RC-EENN (Jazbec et al., NeurIPS 2024) a mean, median, quantile or the worst patch. The signals are computed at
the resolution of the patches, not of the pixels, so that the decision costs little.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from methods.policies.policy import State, ThresholdPolicy
from methods.policies.ranges import Probability

SHARES = (0.8, 0.9, 0.95)
QUANTILE = 0.25
SIGNALS = ("mean", *(f"share-{100 * share:.0f}" for share in SHARES), "quantile", "entropy", "margin", "agreement")


def map_signals(logits: Tensor, previous: Tensor | None, read: Collection[int] | None = None) -> Tensor:
    """The values of `SIGNALS` for each image, float32 (B, 8), each in [0, 1]; larger is more confident.

    With p the probabilities of a patch and m their largest: mean of m; share of patches with m >= 0.8, 0.9, 0.95; the lower
    quartile of m (linear); 1 - mean entropy of p over ln C; mean difference of the two largest p; share of patches whose class
    is the same as at the exit before (0 at the first exit).

    Args:
        logits: (B, C, g, g) of this exit.
        previous: of the exit before.
        read: positions of the values to compute, the others are 0; None for all.
    """
    if read is not None and not read:
        return logits.new_zeros(len(logits), len(SIGNALS))
    logits = logits.flatten(2)
    probabilities = logits.softmax(1)
    largest = probabilities.topk(2, dim=1).values
    confidence = largest[:, 0]

    def entropy() -> Tensor:
        nats = torch.special.entr(probabilities).sum(1)
        return 1 - (nats / torch.log(torch.tensor(float(logits.shape[1])))).mean(1)

    def agreement() -> Tensor:
        if previous is None:
            return confidence.new_zeros(len(confidence))
        return (logits.argmax(1) == previous.flatten(2).argmax(1)).float().mean(1)

    signals: tuple[Callable[[], Tensor], ...] = (
        lambda: confidence.mean(1),
        *(partial(_share, confidence, share) for share in SHARES),
        lambda: confidence.quantile(QUANTILE, dim=1),
        entropy,
        lambda: (confidence - largest[:, 1]).mean(1),
        agreement,
    )
    unread = confidence.new_zeros(len(confidence))
    return torch.stack([one() if read is None or i in read else unread for i, one in enumerate(signals)], 1)


def _share(confidence: Tensor, bound: float) -> Tensor:
    return (confidence >= bound).float().mean(1)


@dataclass(kw_only=True)
class MapConfidence(ThresholdPolicy):
    """Exit if a signal of the image's map is above the threshold.

    Attributes:
        threshold: in [0, 1].
        score: the signal. ``mean``: mean over patches of the largest probability; ``share-80``, ``share-90``, ``share-95``:
            share of patches in which it is at least 0.8, 0.9, 0.95; ``quantile``: its lower quartile; ``entropy``: 1 minus the
            mean entropy over ln C; ``margin``: mean difference of the two largest probabilities; ``agreement``: share of
            patches with the class of the exit before, 0 at the first exit.
    """

    threshold: Probability | None = None
    score: Literal["mean", "share-80", "share-90", "share-95", "quantile", "entropy", "margin", "agreement"] = "mean"

    @property
    def reads(self) -> Collection[int]:
        return (SIGNALS.index(self.score),)

    def signal(self, logits: Tensor) -> Tensor:
        return logits[:-1, :, SIGNALS.index(self.score)].float()

    def step(self, exit_index: int, logits: Tensor, state: State) -> Tensor:
        return self.leave(logits[:, SIGNALS.index(self.score)], self.required_setting())

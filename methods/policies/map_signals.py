"""Numbers that summarise a map of logits for exit policies, and the policy that reads one of them.

There is no settled rule for one decision on a whole image: MESS (Kouris et al., 2021, arXiv 2106.03527) uses the share of
confident pixels, RC-EENN (Jazbec et al., NeurIPS 2024) a mean, median, quantile or the worst patch. The signals are computed at
the resolution of the patches, not of the pixels, so that the decision costs little.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from methods.policies.policy import State, ThresholdPolicy
from methods.policies.ranges import Probability

SHARES = (0.8, 0.9, 0.95)
QUANTILE = 0.25
SIGNALS = ("mean", *(f"share-{100 * share:.0f}" for share in SHARES), "quantile", "entropy", "margin", "agreement")


def map_signals(logits: Tensor, previous: Tensor | None) -> Tensor:
    """The values of `SIGNALS` for each image, float32 (B, 8), each in [0, 1]; larger is more confident.

    With p the probabilities of a patch and m their largest: mean of m; share of patches with m >= 0.8, 0.9, 0.95; the lower
    quartile of m (linear); 1 - mean entropy of p over ln C; mean difference of the two largest p; share of patches whose class
    is the same as at the exit before (0 at the first exit).

    Args:
        logits: (B, C, g, g) of this exit.
        previous: of the exit before.
    """
    logits = logits.flatten(2)
    probabilities = logits.softmax(1)
    largest = probabilities.topk(2, dim=1).values
    confidence = largest[:, 0]
    entropy = torch.special.entr(probabilities).sum(1) / torch.log(torch.tensor(float(logits.shape[1])))
    columns = [confidence.mean(1), *((confidence >= share).float().mean(1) for share in SHARES)]
    columns += [confidence.quantile(QUANTILE, dim=1), 1 - entropy.mean(1), (confidence - largest[:, 1]).mean(1)]
    if previous is None:
        columns.append(torch.zeros_like(columns[0]))
    else:
        columns.append((logits.argmax(1) == previous.flatten(2).argmax(1)).float().mean(1))
    return torch.stack(columns, 1)


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
    def compares_exits(self) -> bool:
        return self.score == "agreement"

    def signal(self, logits: Tensor) -> Tensor:
        return logits[:-1, :, SIGNALS.index(self.score)].float()

    def step(self, exit_index: int, logits: Tensor, state: State) -> Tensor:
        return self.leave(logits[:, SIGNALS.index(self.score)], self.required_setting())

"""Numbers that summarise the boxes of an exit for exit policies, and the policy that reads one of them.

There is no settled rule for one decision on an image with boxes. The router is DynamicDet's (Lin et al., CVPR 2023); agreement
is the counterpart of patience; the two others are those of classification, over cells.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from methods.boxes.decoding import agreement, decode
from methods.boxes.maps import BoxMaps
from methods.policies.policy import State, ThresholdPolicy
from methods.policies.ranges import Probability

SIGNALS = ("router", "top-mean", "entropy", "agreement")
TOP = 10
SHOWN = 0.3
"""Score above which a box is compared with those of the exit before."""


def box_signals(output: Tensor, previous: Tensor | None, read: Collection[int] | None = None) -> Tensor:
    """The values of `SIGNALS` for each image, float32 (B, 4), each in [0, 1]; larger is more confident.

    The router's probability that the image is easy, 0.5 at the final exit; the mean of the 10 largest scores of all cells and
    classes; 1 - the mean over cells, weighted by their centerness, of the mean entropy of the classes' probabilities over ln 2;
    F1 of the boxes with a score above 0.3 against those of the exit before (`methods.boxes.decoding.agreement`; 0 at the first
    exit).

    Args:
        output: of this exit, (B, C + 6, g, g).
        previous: of the exit before.
        read: positions of the values to compute, the others are 0; None for all.
    """
    maps = BoxMaps.of(output)
    unread = maps.router.new_zeros(len(output))

    def top_mean() -> Tensor:
        scores = maps.scores.flatten(1)
        return scores.topk(min(TOP, scores.shape[1]), dim=1).values.mean(1)

    def entropy() -> Tensor:
        probabilities, centerness = maps.classes.sigmoid(), maps.centerness.sigmoid()
        both = torch.special.entr(probabilities) + torch.special.entr(1 - probabilities)
        mean = both.mean(2) / torch.log(torch.tensor(2.0))
        return 1 - (mean * centerness).sum(1) / centerness.sum(1)

    def agrees() -> Tensor:
        if previous is None:
            return unread
        pairs = zip(decode(output, SHOWN), decode(previous, SHOWN), strict=True)
        return unread.new_tensor([agreement(now, before) for now, before in pairs])

    signals = (maps.router.sigmoid, top_mean, entropy, agrees)
    return torch.stack([one() if read is None or i in read else unread for i, one in enumerate(signals)], 1)


@dataclass(kw_only=True)
class BoxConfidence(ThresholdPolicy):
    """Exit if a signal of the image's boxes is above the threshold.

    Attributes:
        threshold: in [0, 1].
        score: the signal. ``router``: probability of the learned gate that the image is easy; ``top-mean``: mean of the 10
            largest scores; ``entropy``: 1 minus the mean entropy of the classes, weighted by centerness; ``agreement``: F1 of
            the boxes with a score above 0.3 against those of the exit before, 0 at the first exit.
    """

    threshold: Probability | None = None
    score: Literal["router", "top-mean", "entropy", "agreement"] = "router"

    @property
    def reads(self) -> Collection[int]:
        return (SIGNALS.index(self.score),)

    def signal(self, logits: Tensor) -> Tensor:
        return logits[:-1, :, SIGNALS.index(self.score)].float()

    def step(self, exit_index: int, logits: Tensor, state: State) -> Tensor:
        return self.leave(logits[:, SIGNALS.index(self.score)], self.required_setting())

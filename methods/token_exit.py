"""Token exit: tokens whose class is certain leave early, and the image goes on without them. For tasks that label patches."""

from dataclasses import dataclass
from typing import ClassVar

from methods.api import BackboneCard, Component
from methods.vanilla import Vanilla

TRAINED = ("joint", "mixed", "alternating")
"""Regimes in which tokens can leave during training."""
PUBLISHED = {12: (6, 8), 24: (8, 16)}


@dataclass(frozen=True, kw_only=True)
class TokenExit(Vanilla):
    """A linear head on each token at every exit, by which tokens leave.

    Unless ``trained``, backbone and heads train as those of ``vanilla``, with all tokens, and share its training.

    Attributes:
        threshold: tokens whose largest probability is above it are confident, in (0, 1]; with 1 no token leaves. Each value is
            a run, and a point without exits in reports.
        agreement: null, or a share in (0, 1]: each exit has a threshold of its own, the lowest one with which this share of the
            confident tokens of val has the class that the whole backbone gives them. It takes the place of ``threshold``.
        keep: number of confident tokens of each predicted class that stay as context, those with the highest scores.
        trained: whether tokens also leave while backbone and heads train together, which needs the regime ``joint``,
            ``mixed`` or ``alternating``. The loss of an exit is that of the whole map, in which tokens that have left keep
            their answers.

    Raises:
        ValueError: an option is out of range.
    """

    tokens_leave: ClassVar[bool] = True
    threshold: float = 0.9
    agreement: float | None = None
    keep: int = 5
    trained: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.threshold <= 1:
            raise ValueError(f"token-exit: threshold must be above 0 and at most 1, not {self.threshold}")
        if self.agreement is not None and not 0 < self.agreement <= 1:
            raise ValueError(f"token-exit: agreement must be above 0 and at most 1, not {self.agreement}")
        if self.agreement is not None and self.threshold != TokenExit.threshold:
            raise ValueError("token-exit: agreement takes the place of threshold; leave one of them out")
        if self.trained and self.regime not in TRAINED:
            raise ValueError(
                f"token-exit: tokens leave in training if backbone and heads train together; with trained, regime is one of "
                f"{', '.join(TRAINED)}, not {self.regime}"
            )
        if self.trained and self.agreement is not None:
            raise ValueError("token-exit: agreement is chosen after training; with trained, tokens leave by threshold")
        if self.keep < 1:
            raise ValueError(f"token-exit: keep must be at least 1 token, not {self.keep}")

    def published_exits(self, backbone: BackboneCard) -> tuple[int, ...]:
        """Those of DToP's configurations of ViT-B and ViT-L."""
        if backbone.depth not in PUBLISHED:
            raise ValueError(f"DToP has exits for 12 and 24 blocks, not for {backbone.depth}")
        return PUBLISHED[backbone.depth]

    def token_reduction(self, backbone: BackboneCard) -> Component:
        """
        Raises:
            ValueError: the backbone needs its whole grid of patches, or tokens are to be merged.
        """
        if self.merge:
            raise ValueError("merge removes patch tokens, each of which the head linear reads here; leave it out")
        if backbone.family not in ("vit", "deit"):
            raise ValueError(
                f"tokens can leave a ViT or DeiT; a backbone of the family {backbone.family!r} needs its grid of patches"
            )
        if self.agreement is not None:
            return Component("token-exit", {"threshold": 1.0, "keep": self.keep, "agreement": self.agreement})
        return Component("token-exit", {"threshold": self.threshold, "keep": self.keep})

    def trains_reduced(self) -> bool:
        return self.trained

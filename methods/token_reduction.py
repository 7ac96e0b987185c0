"""Methods without early exits that run the backbone with fewer tokens: what a user would take instead of exits.

Each value of their option is a run, and a point without exits in reports.
"""

from abc import abstractmethod
from dataclasses import dataclass

from methods.api import BackboneCard, Component, Method


def check_class_token(backbone: BackboneCard) -> None:
    """
    Raises:
        ValueError: the backbone needs its grid of patches or has no class token, so none of its tokens can be removed.
    """
    if backbone.family not in ("vit", "deit") or not backbone.class_tokens:
        raise ValueError(
            "tokens can be removed from a ViT or DeiT whose classifier reads a class token; a backbone of the family "
            f"{backbone.family!r} with {backbone.class_tokens} class tokens needs its grid of patches"
        )


@dataclass(frozen=True, kw_only=True)
class TokenReduction(Method):
    """The backbone with token reduction.

    Attributes:
        trained: False: the weights of the fine-tuned backbone, without training. True: the backbone is fine-tuned with the
            reduction, for the epochs of both stages of the methods with exits.
    """

    trained: bool = False

    def heads(self, exits: tuple[int, ...], backbone: BackboneCard) -> tuple[Component, ...]:
        return ()

    def published_exits(self, backbone: BackboneCard) -> tuple[int, ...]:
        return ()

    def adds_second_stage_epochs(self) -> bool:
        return self.trained

    def trains_reduced(self) -> bool:
        return self.trained

    def token_reduction(self, backbone: BackboneCard) -> Component:
        check_class_token(backbone)
        return self.component()

    @abstractmethod
    def component(self) -> Component:
        """The token reduction and its options."""


@dataclass(frozen=True, kw_only=True)
class ToMe(TokenReduction):
    """Token merging: each block averages its most similar tokens.

    Attributes:
        r: number of tokens that a block merges; the mean over the blocks if they differ.
        slope: change of r over the depth, from r * (1 - slope) in the first block to r * (1 + slope) in the last; in [-1, 1].
        proportional: whether attention weighs a merged token by the number of patches in it.
    """

    r: int = 8
    slope: float = 0.0
    proportional: bool = True

    def __post_init__(self) -> None:
        if self.r < 1:
            raise ValueError(f"tome: r must be at least 1 token, not {self.r}")
        if not -1 <= self.slope <= 1:
            raise ValueError(f"tome: slope must be between -1 and 1, not {self.slope}")

    def component(self) -> Component:
        return Component("tome", {"r": self.r, "slope": self.slope, "proportional": self.proportional})


@dataclass(frozen=True, kw_only=True)
class EViT(TokenReduction):
    """Token reorganisation: three blocks keep the tokens that the class token attends to most.

    Attributes:
        keep: share of the tokens that each of the three blocks keeps; above 0 and below 1.
        fuse: whether the other tokens are added up to one, weighted by their attention; if False, they are dropped.
    """

    keep: float = 0.7
    fuse: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.keep < 1:
            raise ValueError(f"evit: keep must be above 0 and below 1, not {self.keep}")

    def component(self) -> Component:
        return Component("evit", {"keep": self.keep, "fuse": self.fuse})

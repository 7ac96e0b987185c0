"""Models without early exits: the yardstick of every number, and what a user could take instead of exits."""

from dataclasses import dataclass

from methods.api import BackboneCard, Component, Method


@dataclass(frozen=True, kw_only=True)
class Static(Method):
    """The backbone as it is: the denominator of every speed-up and the yardstick of every accuracy drop.

    Attributes:
        longer: fine-tuned for the epochs that others spend on their exits, too: shows what more training alone brings.
    """

    longer: bool = False

    def heads(self, exits: tuple[int, ...], backbone: BackboneCard) -> tuple[Component, ...]:
        return ()

    def published_exits(self, backbone: BackboneCard) -> tuple[int, ...]:
        return ()

    def adds_second_stage_epochs(self) -> bool:
        return self.longer


@dataclass(frozen=True, kw_only=True)
class Truncated(Method):
    """The first blocks of the backbone and a final classifier behind them, fine-tuned like the whole.

    Attributes:
        depth: how many blocks are kept.
    """

    depth: int = 6

    def __post_init__(self) -> None:
        if self.depth < 1:
            raise ValueError(f"depth is a number of blocks from 1, not {self.depth}")

    def heads(self, exits: tuple[int, ...], backbone: BackboneCard) -> tuple[Component, ...]:
        return ()

    def published_exits(self, backbone: BackboneCard) -> tuple[int, ...]:
        return ()

    def blocks(self, backbone: BackboneCard) -> int:
        if self.depth >= backbone.depth:
            raise ValueError(
                f"truncated: the backbone has {backbone.depth} blocks, so depth is below that, not {self.depth}"
            )
        return self.depth


@dataclass(frozen=True, kw_only=True)
class NextSmaller(Method):
    """The next smaller backbone of the family, fine-tuned like the one that it is compared with."""

    def heads(self, exits: tuple[int, ...], backbone: BackboneCard) -> tuple[Component, ...]:
        return ()

    def published_exits(self, backbone: BackboneCard) -> tuple[int, ...]:
        return ()

    def replacement_backbone(self, backbone: BackboneCard) -> str | None:
        if backbone.smaller is None:
            raise ValueError("next-smaller: no smaller backbone of its family is registered")
        return backbone.smaller

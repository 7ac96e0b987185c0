"""Models without early exits: the reference of all comparisons, and alternatives to early exits."""

from dataclasses import dataclass

from methods.api import BackboneCard, Component, Method


@dataclass(frozen=True, kw_only=True)
class Static(Method):
    """The fine-tuned backbone: the reference of every speed-up and accuracy drop.

    Attributes:
        longer: also fine-tune for the epochs in which others train their exits, to measure the effect of longer training.
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
    """The first blocks of the backbone with a final classifier, fine-tuned like the whole backbone.

    Attributes:
        depth: number of blocks.
    """

    depth: int = 6

    def __post_init__(self) -> None:
        if self.depth < 1:
            raise ValueError(f"depth must be at least 1 block, not {self.depth}")

    def heads(self, exits: tuple[int, ...], backbone: BackboneCard) -> tuple[Component, ...]:
        return ()

    def published_exits(self, backbone: BackboneCard) -> tuple[int, ...]:
        return ()

    def blocks(self, backbone: BackboneCard) -> int:
        if self.depth >= backbone.depth:
            raise ValueError(f"truncated: depth must be below the backbone's {backbone.depth} blocks, not {self.depth}")
        return self.depth


@dataclass(frozen=True, kw_only=True)
class NextSmaller(Method):
    """The next smaller backbone of the same family, fine-tuned like the backbone itself."""

    def heads(self, exits: tuple[int, ...], backbone: BackboneCard) -> tuple[Component, ...]:
        return ()

    def published_exits(self, backbone: BackboneCard) -> tuple[int, ...]:
        return ()

    def replacement_backbone(self, backbone: BackboneCard) -> str | None:
        if backbone.smaller is None:
            raise ValueError("next-smaller: no smaller backbone of its family is registered")
        return backbone.smaller

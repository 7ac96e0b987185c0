"""Two resolutions: the backbone answers from a smaller image, and runs on the whole one only if it is not sure. No training."""

from dataclasses import dataclass

from methods.api import BackboneCard, Component, Method


@dataclass(frozen=True, kw_only=True)
class TwoResolutions(Method):
    """The fine-tuned backbone on a smaller image, then on the whole image, with the same weights.

    The only exit is the answer for the smaller image. Its position is the number of blocks, whatever exits a grid names: a
    sample that goes on runs all blocks twice.

    Attributes:
        share: side of the smaller image as a share of the full image's side, rounded up to whole patches; above 0 and below 1.
    """

    share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(f"two-resolutions: share must be above 0 and below 1, not {self.share}")

    def heads(self, exits: tuple[int, ...], backbone: BackboneCard) -> tuple[Component, ...]:
        return (Component("final-classifier"),)

    def published_exits(self, backbone: BackboneCard) -> tuple[int, ...]:
        return self.fixed_exits(backbone)

    def fixed_exits(self, backbone: BackboneCard) -> tuple[int, ...]:
        return (backbone.depth,)

    def token_reduction(self, backbone: BackboneCard) -> Component:
        """
        Raises:
            ValueError: the backbone has windows, or its weights cannot read a smaller image.
        """
        if backbone.family not in ("vit", "deit"):
            raise ValueError(
                "only a ViT or DeiT runs at two resolutions with the same weights; the windows and stages of a backbone of the "
                f"family {backbone.family!r} are made for one size of image"
            )
        return Component("two-resolutions", {"share": self.share})

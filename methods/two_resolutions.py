"""The fine-tuned backbone on smaller images, with the same weights: always, or first. No training."""

from dataclasses import dataclass

from methods.api import BackboneCard, Component, Method


@dataclass(frozen=True, kw_only=True)
class SmallerImages(Method):
    """The fine-tuned backbone on smaller images.

    Attributes:
        share: side of the smaller image as a share of the full image's side, rounded up to whole patches; above 0 and below 1.
    """

    share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(f"share of the image's side must be above 0 and below 1, not {self.share}")

    def component(self, name: str, backbone: BackboneCard) -> Component:
        """The token reduction with this option.

        Raises:
            ValueError: the backbone has windows, or its weights cannot read a smaller image.
        """
        if backbone.family not in ("vit", "deit"):
            raise ValueError(
                "only a ViT or DeiT runs on smaller images with the same weights; the windows and stages of a backbone of the "
                f"family {backbone.family!r} are made for one size of image"
            )
        return Component(name, {"share": self.share})


@dataclass(frozen=True, kw_only=True)
class LowerResolution(SmallerImages):
    """The fine-tuned backbone on smaller images only, as a user could do instead of exits. Each share is a run and a point."""

    def heads(self, exits: tuple[int, ...], backbone: BackboneCard) -> tuple[Component, ...]:
        return ()

    def published_exits(self, backbone: BackboneCard) -> tuple[int, ...]:
        return ()

    def token_reduction(self, backbone: BackboneCard) -> Component:
        return self.component("lower-resolution", backbone)


@dataclass(frozen=True, kw_only=True)
class TwoResolutions(SmallerImages):
    """The fine-tuned backbone on a smaller image, then on the whole image, with the same weights.

    The only exit is the answer for the smaller image. Its position is the number of blocks, whatever exits a grid names: a
    sample that goes on runs all blocks twice.
    """

    def heads(self, exits: tuple[int, ...], backbone: BackboneCard) -> tuple[Component, ...]:
        return (Component("final-classifier"),)

    def published_exits(self, backbone: BackboneCard) -> tuple[int, ...]:
        return self.fixed_exits(backbone)

    def fixed_exits(self, backbone: BackboneCard) -> tuple[int, ...]:
        return (backbone.depth,)

    def token_reduction(self, backbone: BackboneCard) -> Component:
        return self.component("two-resolutions", backbone)

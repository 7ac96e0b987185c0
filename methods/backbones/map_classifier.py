"""Backbones whose answer is a map: a readout of all patches after the final norm."""

from __future__ import annotations

from torch import Tensor, nn

from methods.backbones.backbone import BlockBackbone, FinalNorm
from methods.tokens import Tokens


class MapBackbone(BlockBackbone):
    """The blocks of a backbone, its final norm, and a readout of its patch tokens.

    Args:
        backbone: without a classifier.
        readout: maps the patch tokens (B, N, C) to the output.

    Raises:
        ValueError: the patch grid changes within the backbone, as in Swin.
    """

    def __init__(self, backbone: BlockBackbone, readout: nn.Module) -> None:
        super().__init__()
        if backbone.stage_end(1) != backbone.depth:
            raise ValueError(
                f"patches can be read at one resolution only, and the patch grid of {type(backbone).__name__} changes"
            )
        self.model, self.depth = backbone.model, backbone.depth
        self.is_reduced, self.repeats_modules = backbone.is_reduced, backbone.repeats_modules  # type: ignore[misc]
        self._blocks = (backbone,)  # in a tuple, so that its modules are registered once, as ``model``
        self.readout = readout

    @property
    def whole(self) -> BlockBackbone:
        """The backbone without a classifier."""
        return self._blocks[0]

    def embed(self, images: Tensor) -> Tokens:
        return self._blocks[0].embed(images)

    def block(self, number: int, tokens: Tokens) -> Tokens:
        return self._blocks[0].block(number, tokens)

    def classify(self, tokens: Tokens, norm: FinalNorm = "final") -> Tensor:
        """Map the output of the last block to the output of the readout."""
        return self.readout(self._blocks[0].normalised(tokens, norm).patches)

    def stage_end(self, number: int) -> int:
        return self.depth

    def block_names(self) -> list[tuple[str, ...]]:
        return self._blocks[0].block_names()

    def classifier_names(self) -> list[str]:
        return ["backbone.model.norm", "backbone.readout"]


class MapClassifier(MapBackbone):
    """A backbone that labels every patch: its readout is one Linear on each patch token, as in Segmenter's linear decoder."""

    def classify(self, tokens: Tokens, norm: FinalNorm = "final") -> Tensor:
        """Map the output of the last block to logits (B, C, g, g)."""
        return super().classify(tokens, norm).transpose(1, 2).unflatten(2, (tokens.grid, tokens.grid))

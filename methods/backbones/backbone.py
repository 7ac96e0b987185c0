"""The backbone interface, which runs a backbone block by block."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from methods.tokens import Tokens

FinalNorm = Literal["final", "none", "plain"]
"""The norm before the final classifier: the backbone's own, none, or a LayerNorm without learned affine parameters."""


class BlockBackbone(nn.Module, ABC):
    """A backbone whose forward pass can be stopped after any block.

    Calling `embed`, `block` for 1..depth and `classify` gives the logits of the timm model; a contract test checks this with
    tolerance 1e-5 for every registered backbone.

    Attributes:
        model: the timm model.
        depth: number of blocks.
        is_reduced: whether blocks run on fewer tokens than the model's own, or run more than once.
        repeats_modules: whether several blocks run the same modules. The modules of `block_names` and `classifier_names` then
            call them.
    """

    model: Any
    depth: int
    is_reduced: ClassVar[bool] = False
    repeats_modules: ClassVar[bool] = False

    @abstractmethod
    def embed(self, images: Tensor) -> Tokens:
        """Map images (B, channels, H, W) to the input of block 1."""

    @abstractmethod
    def block(self, number: int, tokens: Tokens) -> Tokens:
        """Run block ``number`` (1-based); the final norm is not applied."""

    @abstractmethod
    def classify(self, tokens: Tokens, norm: FinalNorm = "final") -> Tensor:
        """Map the output of the last block to logits (B, num_classes) with the final norm and classifier."""

    def normalised(self, tokens: Tokens, norm: FinalNorm = "final") -> Tokens:
        """The output of the last block after the final norm."""
        return replace(tokens, values=final_norm(self.model.norm, tokens.values, norm))

    @abstractmethod
    def stage_end(self, number: int) -> int:
        """The number of the last block whose output has the same width and grid as that of block ``number``."""

    @abstractmethod
    def block_names(self) -> list[tuple[str, ...]]:
        """For each of the blocks 1..depth, the names of its modules within a `MultiExitModel`."""

    @abstractmethod
    def classifier_names(self) -> list[str]:
        """The names of the modules that `classify` runs, within a `MultiExitModel`."""

    def choose_on_val(self, batches: Callable[[], Iterable[Tensor]]) -> dict[str, Tensor]:
        """Choose what a token reduction leaves open until it sees val. Most leave nothing open, and have nothing to load.

        Args:
            batches: gives the images of val, each time that it is called.

        Returns:
            what is chosen, by name.
        """
        return {}

    def load_chosen(self, chosen: Mapping[str, Tensor]) -> None:
        """Use what `choose_on_val` has returned."""
        if chosen:
            raise ValueError(f"{type(self).__name__} leaves nothing open: {', '.join(chosen)}")

    def forward(self, images: Tensor) -> Tensor:
        """Run the backbone without exits: images (B, channels, H, W) to logits (B, num_classes)."""
        tokens = self.embed(images)
        for number in range(1, self.depth + 1):
            tokens = self.block(number, tokens)
        return self.classify(tokens)


def final_norm(module: nn.Module, values: Tensor, norm: FinalNorm) -> Tensor:
    """Apply the selected norm to ``values`` (..., C); ``module`` is the backbone's final norm."""
    if norm == "final":
        return module(values)
    return values if norm == "none" else F.layer_norm(values, values.shape[-1:], eps=1e-5)


def with_norm(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """timm's keyword arguments, with ``norm_eps`` replaced by a ``norm_layer`` that uses it."""
    arguments = dict(architecture)
    if "norm_eps" in arguments:
        arguments["norm_layer"] = partial(nn.LayerNorm, eps=arguments.pop("norm_eps"))
    return arguments

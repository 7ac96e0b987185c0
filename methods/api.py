"""What the harness must know of everything that it compares, said without importing torch.

A *card* is one line of a registry table: where the code lives, what it is, and the numbers that planning needs. The code
itself is imported when it is first used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol


@dataclass(frozen=True, kw_only=True)
class Card:
    """One registered thing.

    Attributes:
        target: ``"module:attribute"``, imported by `load`.
        summary: one line for ``python -m benchmark list``.
        code_version: raised by hand when the code behind the card changes what it computes; part of every stage key
            that uses it.
    """

    target: str
    summary: str
    code_version: int = 1

    def load(self) -> Any:
        module, attribute = self.target.split(":")
        return getattr(import_module(module), attribute)


@dataclass(frozen=True, kw_only=True)
class BackboneCard(Card):
    """A backbone, described block by block so that a grid can be planned without building it.

    Attributes:
        depth: number of blocks L; exits are 1-based block numbers below it.
        dims: channel width after each block, length L.
        grids: side of the square patch grid after each block, length L.
        prefix_tokens: tokens in front of the patch tokens (class token, distillation token); 0 for Swin.
        image_size: side of the square input, in pixels.
        channels: colour channels of the input.
        architecture: keyword arguments of the builder behind `target`.
    """

    depth: int
    dims: tuple[int, ...]
    grids: tuple[int, ...]
    prefix_tokens: int
    image_size: int
    channels: int
    architecture: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """A registered name with the options that were chosen for it: a head, a loss, a policy."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TrainStage:
    """One training stage after the backbone's fine-tuning: the heads train, the backbone is frozen.

    Attributes:
        loss: a loss of `methods.LOSSES` and its options.
    """

    loss: Choice


class Method(Protocol):
    """What is compared: which head sits at each exit, and how the heads are trained.

    A method is a frozen dataclass whose fields are its options; it names heads and losses and holds no torch code.
    """

    def heads(self, count: int) -> tuple[Choice, ...]:
        """The heads of ``count`` early exits, shallow to deep; empty for a model without early exits."""

    def stages(self) -> tuple[TrainStage, ...]:
        """The training stages that follow the backbone's fine-tuning."""

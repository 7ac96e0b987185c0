"""What the harness must know of everything that it compares, said without importing torch.

A *card* is one line of a registry table: where the code lives, what it is, and the numbers that planning needs. The code
itself is imported when it is first used.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from itertools import accumulate
from typing import Any, ClassVar, Literal

from methods.placement import place_exits


@dataclass(frozen=True, kw_only=True)
class Card:
    """A registry entry.

    Attributes:
        target: ``"module:attribute"``, imported by `load`.
        summary: one line for ``python -m benchmark list``.
        code_version: raised by hand when the code behind the card computes other results; part of every stage key that
            uses it.
    """

    target: str
    summary: str
    code_version: int = 1

    def load(self) -> Any:
        module, attribute = self.target.split(":")
        return getattr(import_module(module), attribute)


CLASSIFICATION = "classification"
SEGMENTATION = "segmentation"
DETECTION = "detection"
ONLY_CLASSIFICATION = (CLASSIFICATION,)
ALL_TASKS = (CLASSIFICATION, SEGMENTATION, DETECTION)


@dataclass(frozen=True, kw_only=True)
class TaskCard(Card):
    """A task, which the cards of datasets name.

    Attributes:
        own_policy: exit policy that stands for each method's own one; empty if it is the method's.
        labels_patches: whether the model answers for every patch, so that all blocks need the same patch grid.
    """

    own_policy: str = ""
    labels_patches: bool = False


@dataclass(frozen=True, kw_only=True)
class MethodCard(Card):
    """A method, and how reports show it.

    Attributes:
        display_name: name in text, tables and figures; empty for the registered name.
        citation: authors, venue and year; empty for a control of this suite.
        reference: key in reports/references.yaml; None if the method has no entry there.
        color: color of the curve in figures, ``#RRGGBB``; None for the next unused one. A port has the color of its original.
        marker: matplotlib's name of the curve's marker; None for the next unused one.
        dashes: lengths of dash and gap in line widths, repeated along the line; (1, 0) is a solid line.
        table_order: sort key of the rows of main tables; rows with equal keys have the order of the runs.
    """

    display_name: str = ""
    citation: str = ""
    reference: str | None = None
    color: str | None = None
    marker: str | None = None
    dashes: tuple[float, ...] = (1, 0)
    table_order: int = 10


@dataclass(frozen=True, kw_only=True)
class HeadCard(Card):
    """An exit head.

    Attributes:
        reads_patches: whether the head reads patch tokens of a backbone with class tokens, so that none may be merged.
        reads_backbone: whether the head reads modules of the backbone, so that it cannot stand within another head.
        options_across_exits: options that, when set, make the head read or share parts of other exits, likewise.
        tasks: tasks for which the head has a form.
        options_on_class_tokens: options that only the form on class tokens has.
    """

    tasks: tuple[str, ...] = ONLY_CLASSIFICATION
    options_on_class_tokens: tuple[str, ...] = ()

    reads_patches: bool = False
    reads_backbone: bool = False
    options_across_exits: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ReductionCard(Card):
    """A token reduction.

    Attributes:
        tasks: tasks for which the reduced backbone still gives an answer.
    """

    tasks: tuple[str, ...] = ONLY_CLASSIFICATION


@dataclass(frozen=True, kw_only=True)
class PolicyCard(Card):
    """An exit policy.

    Attributes:
        citation: authors, venue and year; empty for a control of this suite and for common rules.
        fixed_threshold_ignores_val: whether the policy reads no val data if its threshold is fixed. It can then be used with
            weights that were trained on the val images.
        reads_gates: whether the policy requires heads that predict their own error.
        trains_networks: whether each threshold trains a network on val, which takes minutes. `sweep` evaluates such a policy
            only if it is named.
        tasks: tasks whose evidence the policy reads.
    """

    tasks: tuple[str, ...] = ONLY_CLASSIFICATION

    citation: str = ""
    fixed_threshold_ignores_val: bool = False
    reads_gates: bool = False
    trains_networks: bool = False


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """Per-channel mean and standard deviation of images in [0, 1], one entry per channel of the backbone's input."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class BackboneCard(Card):
    """A backbone, described block by block so that a grid can be planned without building it.

    Attributes:
        family: architecture, and its key in reports/references.yaml: ``vit``, ``deit`` or ``swin``; backbones of other
            packages have their own.
        idle_token_variant_of: registered name of the same backbone without the unread distillation token; None for all
            others.
        stages: number of blocks in each run of blocks with equal width and grid; their sum is the depth L. One entry for ViT.
        dims: channel width after each block, length L.
        grids: side of the square patch grid after each block, length L.
        attention_heads: number of attention heads of each block, length L.
        prefix_tokens: tokens in front of the patch tokens (class, distillation and register tokens); 0 for Swin.
        registers: number of prefix tokens that no classifier reads; they follow the class tokens.
        image_size: side of the square input, in pixels.
        channels: colour channels of the input.
        smaller: registered name of the next smaller backbone of the family; None if there is none.
        weights: full timm tag of the default pretrained weights; None for random initialisation.
        normalisation: normalisation of the images that `weights` were trained on; None without `weights`.
        architecture: keyword arguments of the builder behind `target`.
    """

    family: str
    idle_token_variant_of: str | None = None
    stages: tuple[int, ...]
    dims: tuple[int, ...]
    grids: tuple[int, ...]
    attention_heads: tuple[int, ...]
    prefix_tokens: int
    registers: int = 0
    image_size: int
    channels: int
    smaller: str | None = None
    weights: str | None = None
    normalisation: Normalisation | None = None
    architecture: Mapping[str, Any] = field(default_factory=dict)

    @property
    def depth(self) -> int:
        """Number of blocks L; exits are 1-based block numbers below it."""
        return sum(self.stages)

    @property
    def class_tokens(self) -> int:
        """Tokens that classifiers read: 1 (class), 2 (class and distillation) or 0 (they read the mean of the patches)."""
        return self.prefix_tokens - self.registers

    def stage_end(self, block: int) -> int:
        """The last block whose output has the same width and grid as that of ``block``."""
        return next(end for end in accumulate(self.stages) if block <= end)


@dataclass(frozen=True)
class Component:
    """A part of a method: a registered head, loss or policy, with options."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TrainStage:
    """A training stage that follows or replaces the fine-tuning of the backbone.

    Attributes:
        trains: ``heads``: the heads, on the frozen backbone of the previous stage; ``everything``: backbone, final
            classifier and heads together.
        loss: a loss of `methods.LOSSES` and its options.
        frozen_mode: mode of the frozen backbone in a ``heads`` stage: ``eval``, or ``train``, in which dropout and drop-path
            are active, as in the official LGViT code.
        gradients: how the gradients of the exits meet in the backbone of an ``everything`` stage: their ``sum``, or
            ``equilibrium``, the mean over the exits after each block.
    """

    trains: Literal["heads", "everything"] = "heads"
    loss: Component
    frozen_mode: Literal["eval", "train"] = "eval"
    gradients: Literal["sum", "equilibrium"] = "sum"

    @property
    def recipe(self) -> Literal["joint", "exits"]:
        """The field of `results.spec.Recipes` with its learning rate, batch size and augmentation."""
        return "exits" if self.trains == "heads" else "joint"


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """A method determines the head at each exit and the training of the model.

    A method is a frozen dataclass whose fields are its options. It refers to heads and losses by name, without torch code.

    Attributes:
        tokens_leave: whether tokens leave at the exits, not images. The heads are then part of the token reduction, and the
            run has one operating point, as a model without early exits.
    """

    tokens_leave: ClassVar[bool] = False

    @property
    def starts_finetuned(self) -> bool:
        """Whether the stages follow the fine-tuning of the backbone; if False, they start from its initial weights."""
        return True

    @abstractmethod
    def heads(self, exits: tuple[int, ...], backbone: BackboneCard) -> tuple[Component, ...]:
        """The heads after the blocks ``exits`` (1-based), shallow to deep; empty for a model without early exits."""

    def published_exits(self, backbone: BackboneCard) -> tuple[int, ...]:
        """Exit positions of the method's authors (scheme ``published``); those of the LGViT paper if they published none.

        Raises:
            ValueError: no positions are known for this depth.
        """
        return place_exits("paper", backbone.depth)

    def fixed_exits(self, backbone: BackboneCard) -> tuple[int, ...] | None:
        """Exit positions of a method that has the same ones whatever a grid names; None for all others."""
        return None

    def policy(self) -> Component:
        """The method's own exit policy, selected by the policy name ``own``."""
        return Component("confidence")

    def stages(self, backbone: BackboneCard) -> tuple[TrainStage, ...]:
        """The training stages after the starting point; empty for a backbone without exits."""
        return ()

    def blocks(self, backbone: BackboneCard) -> int:
        """Number of blocks of the model; the final classifier follows the last of them."""
        return backbone.depth

    def replacement_backbone(self, backbone: BackboneCard) -> str | None:
        """Registered name of the backbone that the method trains instead of ``backbone``; None to train ``backbone`` itself.

        Raises:
            ValueError: no suitable backbone is registered.
        """
        return None

    def token_reduction(self, backbone: BackboneCard) -> Component | None:
        """The token reduction with which the backbone runs; None to run it with all tokens.

        Raises:
            ValueError: tokens of this backbone cannot be removed.
        """
        return None

    def trains_reduced(self) -> bool:
        """Whether the method's own training stages run with the token reduction; if False, the model gets it afterwards."""
        return False

    def adds_second_stage_epochs(self) -> bool:
        """Whether a method with one stage adds the epochs of the second stage, so that all methods train equally long."""
        return False

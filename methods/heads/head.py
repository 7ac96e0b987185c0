"""What all exit heads share: their interface, their initialisation, and the classifier behind token mixing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from torch import Tensor, nn

from methods.tokens import Tokens


class ExitHead(nn.Module, ABC):
    """An exit: tokens after a block to logits.

    Attributes:
        group: name of the kind of head whose features are comparable: LGViT's homogeneous loss draws the heads of one group
            to the deepest of them; None for heads whose feature is not a token map. A new head may name a new group.
        group_distance: how that loss compares two features of a group: ``mse``, token by token, which needs equal token
            counts; or ``gram``, by their channel Gram matrices.
        shared: names of the modules that all heads of this kind and width share; see `methods.model.ExitHeads`.
        gated: whether it predicts the probability that its prediction is wrong.
    """

    group: ClassVar[str | None] = None
    group_distance: ClassVar[Literal["mse", "gram"]] = "mse"
    shared: tuple[str, ...] = ()
    gated: bool = False

    def __init__(self, dim: int, num_classes: int, grid: int, class_tokens: int) -> None:
        """
        Args:
            dim: channel width C of the tokens.
            num_classes: number of logits.
            grid: side g of the patch grid.
            class_tokens: number of tokens that a classifier reads: 1 (class), 2 (class and distillation) or 0 (Swin).
        """
        super().__init__()
        self.dim, self.num_classes, self.grid, self.class_tokens = dim, num_classes, grid, class_tokens

    @abstractmethod
    def forward(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """Logits (B, num_classes) and the feature that distillation compares."""

    def error_probability(self, feature: Tensor) -> Tensor | None:
        """Predicted probability (B,) that the prediction is wrong, from the feature; None for a head without a learned gate."""
        return None

    def align(self, teacher: Tensor) -> Tensor:
        """The tokens (B, N', C) of a teacher map (B, C, g, g) at the positions of this head's feature tokens."""
        return teacher.flatten(2).transpose(1, 2)

    def reset_parameters(self) -> None:
        """Truncated normal of std 0.02 for every Linear and Conv2d, zero biases; norms keep torch's default.

        Source: falcon-xu/LGViT, which inherits the rule from transformers.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


class MixedTokenClassifier(nn.Module):
    """Mixed patch tokens to logits, as in the official LGViT code.

    With class tokens: the mean of the mixed tokens is added to each class token, one Linear for each, logits averaged.
    Without (Swin): LayerNorm, mean, Linear.
    """

    def __init__(self, dim: int, num_classes: int, class_tokens: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim) if class_tokens == 0 else None
        self.linears = nn.ModuleList(nn.Linear(dim, num_classes) for _ in range(max(class_tokens, 1)))

    def forward(self, mixed: Tensor, class_tokens: Tensor) -> Tensor:
        """Mixed tokens (B, N', C) and class tokens (B, P, C) to logits (B, num_classes)."""
        if self.norm is not None:
            return self.linears[0](self.norm(mixed).mean(1))
        pooled = mixed.mean(1)
        return sum(linear(pooled + class_tokens[:, i]) for i, linear in enumerate(self.linears)) / len(self.linears)

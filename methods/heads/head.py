"""The base class of exit heads, and the classifier for heads that mix patch tokens."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from torch import Tensor, nn

from methods.backbones.backbone import BlockBackbone
from methods.heads.upsampling import Upsampling
from methods.tokens import Tokens


class ExitHead(nn.Module, ABC):
    """An exit head, which maps the tokens after a block to logits.

    Attributes:
        group: name of a set of head classes with comparable features. LGViT's homogeneous loss compares each head in a group
            with the deepest head in it. None for heads whose feature is not a token map. A new head may define a new group.
        group_distance: how the homogeneous loss compares two features: ``mse``, token by token, which requires equal numbers
            of tokens; or ``gram``, by channel Gram matrices.
        shared: names of the submodules that all heads of this class and width share; see `methods.model.ExitHeads`.
        gated: whether the head predicts the probability that its prediction is wrong.
        cascades: whether the head reads the logits of the exit before; its class then also overrides `after`.
    """

    group: ClassVar[str | None] = None
    group_distance: ClassVar[Literal["mse", "gram"]] = "mse"
    shared: tuple[str, ...] = ()
    gated: bool = False
    cascades: bool = False

    def __init__(self, dim: int, num_classes: int, grid: int, class_tokens: int) -> None:
        """
        Args:
            dim: number C of channels of the tokens.
            num_classes: number of classes.
            grid: side length g of the patch grid.
            class_tokens: number of class tokens: 1 (class token), 2 (class and distillation token) or 0 (Swin).
        """
        super().__init__()
        self.dim, self.num_classes, self.grid, self.class_tokens = dim, num_classes, grid, class_tokens

    @abstractmethod
    def forward(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """Compute logits (B, num_classes) and the feature that the feature terms of the loss compare."""

    def after(self, tokens: Tokens, previous: Tensor | None) -> tuple[Tensor, Tensor]:
        """`forward` at an exit that follows another one, whose logits are ``previous`` (B, num_classes); None at the first."""
        return self(tokens)

    def bind(self, backbone: BlockBackbone) -> None:
        """Give a head that uses modules of the backbone access to it, when both become parts of a model."""

    def error_probability(self, feature: Tensor) -> Tensor | None:
        """The predicted probability (B,) that the head's prediction is wrong; None if the head has no learned gate."""
        return None

    def align(self, teacher: Tensor) -> Tensor:
        """Downsample a teacher map (B, C, g, g) to tokens (B, N', C) that match the tokens of this head's feature."""
        return teacher.flatten(2).transpose(1, 2)

    def upsampling(self) -> Upsampling:
        """How a map with the tokens of this head's feature is brought to the patch grid, for tasks that label every patch."""
        return Upsampling(self.grid)

    def reset_parameters(self) -> None:
        """Initialise Linear and Conv2d: weights from a truncated normal with std 0.02, biases 0. Norms keep PyTorch's default.

        Source: falcon-xu/LGViT, which uses the initialisation of Hugging Face transformers.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


class MixedTokenClassifier(nn.Module):
    """Classifier on mixed patch tokens, as in the official LGViT code.

    With class tokens, the mean of the mixed tokens is added to each class token, each sum has its own Linear, and the logits
    are averaged. Without class tokens (Swin): LayerNorm, mean over tokens, Linear.
    """

    def __init__(self, dim: int, num_classes: int, class_tokens: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim) if class_tokens == 0 else None
        self.linears = nn.ModuleList(nn.Linear(dim, num_classes) for _ in range(max(class_tokens, 1)))

    def forward(self, mixed: Tensor, class_tokens: Tensor) -> Tensor:
        """Map mixed tokens (B, N', C) and class tokens (B, P, C) to logits (B, num_classes)."""
        if self.norm is not None:
            return self.linears[0](self.norm(mixed).mean(1))
        pooled = mixed.mean(1)
        return sum(linear(pooled + class_tokens[:, i]) for i, linear in enumerate(self.linears)) / len(self.linears)

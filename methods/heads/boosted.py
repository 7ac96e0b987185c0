"""A head whose logits are added to the answer of the exit before (BoostedNet, Yu et al., AAAI 2023, arXiv 2211.16726).

Written from the formulas; the authors' code was read at SHI-Labs/Boosted-Dynamic-Networks 17995bb.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from methods.heads import HEADS
from methods.heads.head import ExitHead
from methods.tokens import Tokens


class BoostedHead(ExitHead):
    """F_k = z_k + weight * F_(k-1), with z_k the logits of another head and no gradient through F_(k-1).

    Feature, group and alignment are those of the other head.

    Args:
        head: registered name of the other head.
        options: of the other head.
        head_version: code version of the other head, so that it is part of stage keys.
        first: whether it is the first exit, where F_1 = z_1.
        weight: of the answer before.

    Raises:
        ValueError: the other head shares modules with other exits.
    """

    def __init__(
        self,
        dim: int,
        num_classes: int,
        grid: int,
        class_tokens: int,
        *,
        head: str,
        options: Mapping[str, Any],
        head_version: int,
        first: bool,
        weight: float = 0.5,
    ) -> None:
        super().__init__(dim, num_classes, grid, class_tokens)
        self.inner: ExitHead = HEADS[head].load()(dim, num_classes, grid, class_tokens, **options)
        if self.inner.shared or self.inner.cascades:
            raise ValueError(
                f"boosted heads cannot contain {head} with these options: it reads or shares parts of other exits"
            )
        self.cascades, self.weight = not first, weight
        self.group, self.group_distance = self.inner.group, self.inner.group_distance  # type: ignore[misc]

    def forward(self, tokens: Tokens, previous: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute F_k and the other head's feature; ``previous`` is F_(k-1), (B, num_classes).

        Raises:
            ValueError: it is not the first exit, and ``previous`` is missing.
        """
        logits, feature = self.inner(tokens)
        if not self.cascades:
            return logits, feature
        if previous is None:
            raise ValueError("a boosted head after the first exit requires the logits of the exit before")
        return logits + self.weight * previous.detach(), feature

    def after(self, tokens: Tokens, previous: Tensor | None) -> tuple[Tensor, Tensor]:
        return self(tokens, previous)

    def align(self, teacher: Tensor) -> Tensor:
        return self.inner.align(teacher)

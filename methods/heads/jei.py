"""The head of JEI-DNN: a linear classifier on the backbone's own final norm, or another head, and a gate on its answer.

Source: Regol et al., ICLR 2024, arXiv 2310.09163. Written from the formulas; networkslab/dynn was read at commit 8dd598d.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.backbones.backbone import BlockBackbone, final_norm
from methods.heads import HEADS
from methods.heads.head import ExitHead
from methods.tokens import Tokens


class JEIHead(ExitHead):
    """logits = Linear(norm(tokens)), of the class token; gate = sigmoid(Linear(`gate_features` of the logits)).

    The norm is the backbone's final one, without training of its own. Where its width differs from that of the tokens (early
    stages of Swin), it is a LayerNorm without learned parameters. With two class tokens the classifier reads their mean, and
    without any the mean patch token. The feature is the logits. The predicted probability of an error is 1 - gate.

    Args:
        gate: must be True; names the gate in the head's description.
        head: registered name of another head, whose logits replace those of the linear classifier.
        options: of the other head.
        head_version: code version of the other head, so that it is part of stage keys.

    Raises:
        ValueError: the other head has a gate, or reads or shares parts of other exits.
    """

    def __init__(
        self,
        dim: int,
        num_classes: int,
        grid: int,
        class_tokens: int,
        *,
        gate: bool = True,
        head: str | None = None,
        options: Mapping[str, Any] | None = None,
        head_version: int = 0,
    ) -> None:
        super().__init__(dim, num_classes, grid, class_tokens)
        if not gate:
            raise ValueError("the head jei has a gate; without one it is a linear classifier")
        self.gated = True
        if head is None:
            self.linear = nn.Linear(dim, num_classes)
        self.gate = nn.Linear(4, 1)
        self.norm: Callable[[Tensor], Tensor] | None = None
        self.reset_parameters()
        self.inner: ExitHead | None = None
        if head is not None:
            self.inner = HEADS[head].load()(dim, num_classes, grid, class_tokens, **(options or {}))
            if self.inner.shared or self.inner.cascades or self.inner.gated:
                raise ValueError(
                    f"the head jei cannot contain {head} with these options: it has a gate, or parts of other exits"
                )

    def bind(self, backbone: BlockBackbone) -> None:
        module: Any = getattr(backbone.model, "norm", None)
        fits = isinstance(module, nn.LayerNorm) and module.normalized_shape == (self.dim,)
        self.norm = partial(final_norm, module, norm="final" if fits else "plain")

    def forward(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """
        Raises:
            ValueError: `bind` was not called.
        """
        if self.inner is not None:
            logits, _ = self.inner(tokens)
            return logits, logits
        if self.norm is None:
            raise ValueError("the head jei reads the backbone's final norm: make it part of a model with a backbone")
        logits = self.linear(self.norm(tokens.class_tokens if self.class_tokens else tokens.patches).mean(1))
        return logits, logits

    def gate_logit(self, logits: Tensor) -> Tensor:
        """The gate before its sigmoid, (B,), for the head's logits (B, num_classes), to which no gradient flows."""
        return self.gate(gate_features(logits))[:, 0]

    def error_probability(self, feature: Tensor) -> Tensor:
        return torch.sigmoid(-self.gate_logit(feature))


def gate_features(logits: Tensor) -> Tensor:
    """(B, 4), without gradient: the largest probability p, the entropy of p in nats, the margin of the two largest, and the
    entropy of p^2 / sum(p^2); for logits (B, num_classes)."""
    probabilities = F.softmax(logits.detach().float(), dim=-1)
    largest, second = probabilities.topk(2, dim=-1).values.unbind(-1)
    sharper = probabilities**2 / (probabilities**2).sum(-1, keepdim=True)
    entropies = [torch.special.entr(values).sum(-1) for values in (probabilities, sharper)]
    return torch.stack([largest, entropies[0], largest - second, entropies[1]], dim=-1)

"""The standard internal classifier, pooler and linear layer (DeeBERT, Xin et al., ACL 2020; as ported by falcon-xu/LGViT)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from methods.heads.head import ExitHead
from methods.tokens import Tokens


class LinearHead(ExitHead):
    """A linear classifier on the class tokens.

    The layers depend on the number of class tokens. One: tanh(Linear), then Linear. Two: LayerNorm, one Linear per token,
    averaged logits. None: LayerNorm, mean over the patch tokens, Linear. The feature is the input of the last Linear:
    (B, C), or (B, 2, C) with two class tokens.

    Args:
        shared_pooler: whether all exits of the same width share the layer before the last Linear (PABEE, Zhou et al.,
            NeurIPS 2020).
        gate: whether to add a Linear with one output, shared by all exits of the same width. Its sigmoid predicts from the
            feature the probability that the prediction is wrong (BERxiT, Xin et al., EACL 2021).
    """

    def __init__(
        self,
        dim: int,
        num_classes: int,
        grid: int,
        class_tokens: int,
        *,
        shared_pooler: bool = False,
        gate: bool = False,
    ) -> None:
        super().__init__(dim, num_classes, grid, class_tokens)
        self.pooler = nn.Linear(dim, dim) if class_tokens == 1 else None
        self.norm = None if class_tokens == 1 else nn.LayerNorm(dim, eps=1e-12 if class_tokens else 1e-5)
        self.linears = nn.ModuleList(nn.Linear(dim, num_classes) for _ in range(max(class_tokens, 1)))
        self.gate = nn.Linear(dim, 1) if gate else None
        if shared_pooler:
            self.shared += ("pooler" if class_tokens == 1 else "norm",)
        if gate:
            self.shared, self.gated = (*self.shared, "gate"), True
        self.reset_parameters()

    def forward(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        if self.pooler is not None:
            feature = torch.tanh(self.pooler(tokens.class_tokens[:, 0]))
            return self.linears[0](feature), feature
        assert self.norm is not None
        if self.class_tokens == 0:
            feature = self.norm(tokens.patches).mean(1)
            return self.linears[0](feature), feature
        feature = self.norm(tokens.class_tokens)
        return sum(linear(feature[:, i]) for i, linear in enumerate(self.linears)) / len(self.linears), feature

    def error_probability(self, feature: Tensor) -> Tensor | None:
        if self.gate is None:
            return None
        return torch.sigmoid(self.gate(feature if feature.ndim == 2 else feature.mean(1))[:, 0])

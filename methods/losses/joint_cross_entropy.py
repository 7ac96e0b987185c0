"""Cross-entropy of all exits, backbone and heads learning together. The terms are returned raw beside the total."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from methods.losses.terms import weighted_mean
from methods.losses.training_pass import TrainingPass


@dataclass(frozen=True, kw_only=True)
class JointCrossEntropy:
    """The mean over all exits, the final one included; where steps alternate, the first and every other one learn from
    the final exit alone (BERxiT, Xin et al., EACL 2021).

    Attributes:
        weights: of the mean: ``uniform`` (the official LGViT code's ``normal``), or ``depth``: each exit weighs its block
            number, the final one the number of blocks (its ``weighted``; PABEE, Zhou et al., NeurIPS 2020).
        alternate: ``never``; every optimizer ``step``; or every ``forward`` pass, as the official code counts, which
            differs where gradients are accumulated.
        heads_always: run the heads also in passes that learn from the final exit alone, as the official code does: they
            get no gradient, but the running statistics of their BatchNorms move.
    """

    weights: Literal["uniform", "depth"] = "uniform"
    alternate: Literal["never", "step", "forward"] = "never"
    heads_always: bool = False

    def __call__(self, training: TrainingPass) -> dict[str, Tensor]:
        """``final_cross_entropy``, ``cross_entropy`` (mean over the early exits), ``accuracy`` and ``total``, scalars."""
        passed = training.passed
        final = training.cross_entropy(passed.logits)
        turn = {"never": 1, "step": training.step, "forward": training.forward}[self.alternate]
        if turn % 2 == 0:
            if self.heads_always:
                with torch.no_grad():
                    training.exit_heads(passed.tokens)
            return {"final_cross_entropy": final, "accuracy": training.accuracy([passed.logits]), "total": final}
        logits = training.outputs.logits
        early = [training.cross_entropy(answer) for answer in logits]
        blocks = [*training.exit_heads.exits, passed.depth]
        weights = [float(block) for block in blocks] if self.weights == "depth" else [1.0] * len(blocks)
        return {
            "final_cross_entropy": final,
            "cross_entropy": torch.stack(early).mean(),
            "accuracy": training.accuracy([*logits, passed.logits]),
            "total": weighted_mean([*early, final], weights),
        }

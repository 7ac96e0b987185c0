"""Cross-entropy of all exits, backbone and heads learning together. The terms are returned raw beside the total."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from methods.losses.terms import weighted_mean
from methods.losses.training_pass import TrainingPass

RAMP_START = 0.01


@dataclass(frozen=True, kw_only=True)
class JointCrossEntropy:
    """The mean or sum over all exits, the final one included; where steps alternate, the first and every other one learn from
    the final exit alone (BERxiT, Xin et al., EACL 2021). Learned gates learn in every step.

    Attributes:
        weights: ``uniform`` (the official LGViT code's ``normal``); ``depth``: each exit weighs its block number, the final
            one the number of blocks (its ``weighted``; PABEE, Zhou et al., NeurIPS 2020); ``ramp``: each early exit's weight
            grows in a line from 0.01 until it is the share of blocks behind it, the final one weighs 1 (SDN, Kaya et al.,
            ICML 2019; by the share of steps done, where the original goes by epochs); ``final-double``: the final exit
            weighs 2, the others 1 (ViT-EE, Bakhtiarnia et al., BMVC 2021).
        reduction: ``mean``, weighted, or ``sum`` over the exits.
        alternate: ``never``; every optimizer ``step``; or every ``forward`` pass, as the official code counts, which
            differs where gradients are accumulated.
        heads_always: run the heads also in passes that learn from the final exit alone, as the official code does: they
            get no gradient, but the running statistics of their BatchNorms move.
        final_in_turn: whether the final exit learns beside the others in their turn, too.
    """

    weights: Literal["uniform", "depth", "ramp", "final-double"] = "uniform"
    reduction: Literal["mean", "sum"] = "mean"
    alternate: Literal["never", "step", "forward"] = "never"
    heads_always: bool = False
    final_in_turn: bool = True

    def __post_init__(self) -> None:
        if not self.final_in_turn and self.alternate == "never":
            raise ValueError("joint-cross-entropy: without alternation the final exit must learn beside the others")

    def __call__(self, training: TrainingPass) -> dict[str, Tensor]:
        """``final_cross_entropy``, ``cross_entropy`` (mean over the early exits), ``accuracy`` and ``total``, scalars."""
        terms, gate = self._terms(training), training.gate_error()
        if gate is None:
            return terms
        return terms | {"gate_error": gate, "total": terms["total"] + gate}

    def _terms(self, training: TrainingPass) -> dict[str, Tensor]:
        passed = training.passed
        final = training.cross_entropy(passed.logits)
        if self._is_final_turn(training):
            if self.heads_always:
                with torch.no_grad():
                    training.exit_heads(passed.tokens)
            return {"final_cross_entropy": final, "accuracy": training.accuracy([passed.logits]), "total": final}
        logits = training.outputs.logits
        early = [training.cross_entropy(answer) for answer in logits]
        losses, weights = [*early, final], self._weights(training)
        if not self.final_in_turn:
            losses, weights = losses[:-1], weights[:-1]
        total = weighted_mean(losses, weights)
        return {
            "final_cross_entropy": final,
            "cross_entropy": torch.stack(early).mean(),
            "accuracy": training.accuracy([*logits, passed.logits]),
            "total": total * sum(weights) if self.reduction == "sum" else total,
        }

    def _is_final_turn(self, training: TrainingPass) -> bool:
        turn = {"never": 1, "step": training.step, "forward": training.forward}[self.alternate]
        return turn % 2 == 0

    def _weights(self, training: TrainingPass) -> list[float]:
        """Of the early exits and the final one."""
        exits, depth = training.exit_heads.exits, training.passed.depth
        if self.weights == "depth":
            return [*map(float, exits), float(depth)]
        if self.weights == "ramp":
            done = training.step / training.total_steps
            return [*(min(block / depth, RAMP_START + done * block / depth) for block in exits), 1.0]
        return [*[1.0] * len(exits), 2.0 if self.weights == "final-double" else 1.0]

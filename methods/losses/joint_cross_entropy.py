"""Cross-entropy of all exits, for joint training of backbone and heads. Returns the unweighted terms and the total."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from methods.losses.terms import weighted_mean
from methods.losses.training_pass import TrainingPass
from methods.sdn import SHARES, position

RAMP_START = 0.01


@dataclass(frozen=True, kw_only=True)
class JointCrossEntropy:
    """Weighted mean or sum of the cross-entropies of all exits, including the final one.

    With alternation (BERxiT, Xin et al., EACL 2021), the steps 0, 2, 4, ... use only the loss of the final exit. BERxiT's
    gates train in every step, and the routers of detectors with the heads, which would otherwise run in every step.

    Attributes:
        weights: weights of the exits:

            - ``uniform``: 1 for every exit (``normal`` in the official LGViT code).
            - ``depth``: the block number of each exit, and the number of blocks for the final exit (``weighted`` in the
              official code; PABEE, Zhou et al., NeurIPS 2020).
            - ``ramp``: for an early exit, a linear increase from 0.01 up to the original's 0.15, 0.30, ..., 0.90 at its six
              positions, and up to the exit's relative depth (block number / number of blocks) elsewhere; 1 for the final
              exit (SDN, Kaya et al., ICML 2019). The increase follows optimizer steps; the original's follows epochs.
            - ``final-double``: 2 for the final exit, 1 for the others (ViT-EE, Bakhtiarnia et al., BMVC 2021).
        reduction: weighted ``mean`` or weighted ``sum`` over the exits.
        alternate: ``never``; with every optimizer ``step``; or with every ``forward`` pass, as in the official code. The last
            two differ if gradients are accumulated.
        heads_always: whether the heads also run in passes that use only the loss of the final exit, as in the official
            code. They get no gradient, but the running statistics of their BatchNorm layers are updated.
        idle_heads: what the heads do in these passes. ``rest``: they have no gradient, and the optimizer leaves them as they
            are. ``zero-gradient``: they run and get gradients of 0, so that the optimizer's momentum moves them. This is what
            ``zero_grad()`` of torch 1.12 and earlier does, from the heads' first own pass on.
        final_in_turn: whether the final exit's loss is also included in the steps that train the early exits.

    Raises:
        ValueError: ``final_in_turn`` is False and ``alternate`` is ``never``.
    """

    weights: Literal["uniform", "depth", "ramp", "final-double"] = "uniform"
    reduction: Literal["mean", "sum"] = "mean"
    alternate: Literal["never", "step", "forward"] = "never"
    heads_always: bool = False
    idle_heads: Literal["rest", "zero-gradient"] = "rest"
    final_in_turn: bool = True

    def __post_init__(self) -> None:
        if not self.final_in_turn and self.alternate == "never":
            raise ValueError(
                "joint-cross-entropy: without alternation the final exit must learn together with the others"
            )

    def __call__(self, training: TrainingPass) -> dict[str, Tensor]:
        """``final_cross_entropy``, ``cross_entropy`` (mean over the early exits), ``accuracy`` and ``total``, scalars."""
        terms, gates = self._terms(training), training.gate_terms(routers=not self._is_final_turn(training))
        return terms | gates | {"total": sum(gates.values(), terms["total"])}

    def _terms(self, training: TrainingPass) -> dict[str, Tensor]:
        passed = training.passed
        final = training.cross_entropy(passed.logits)
        if self._is_final_turn(training):
            if self.idle_heads == "zero-gradient" and training.forward > 0:
                early = [training.cross_entropy(exit_logits) for exit_logits in training.outputs.logits]
                total = final + 0 * torch.stack(early).sum()
                return {"final_cross_entropy": final, "accuracy": training.accuracy([passed.logits]), "total": total}
            if self.heads_always:
                with torch.no_grad():
                    training.exit_heads(passed.tokens)
            return {"final_cross_entropy": final, "accuracy": training.accuracy([passed.logits]), "total": final}
        logits = training.outputs.logits
        early = [training.cross_entropy(exit_logits) for exit_logits in logits]
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
        """Weights of the early exits, followed by the weight of the final exit."""
        exits, depth = training.exit_heads.exits, training.passed.depth
        if self.weights == "depth":
            return [*map(float, exits), float(depth)]
        if self.weights == "ramp":
            progress = training.step / training.total_steps
            shares = {position(share, depth): share for share in SHARES}
            ends = [shares.get(block, block / depth) for block in exits]
            return [*(min(end, RAMP_START + progress * end) for end in ends), 1.0]
        return [*[1.0] * len(exits), 2.0 if self.weights == "final-double" else 1.0]

"""Vanilla early exit: the usual homogeneous internal classifier (pooler + linear) at every exit.

The head is the one of DeeBERT (Xin et al., ACL 2020) and its successors; the loss is the suite's common one, so that a
comparison with other methods shows the heads alone.
"""

from dataclasses import dataclass

from methods.api import Choice, TrainStage


@dataclass(frozen=True, kw_only=True)
class Vanilla:
    """A linear head at every exit."""

    def heads(self, count: int) -> tuple[Choice, ...]:
        return (Choice("linear"),) * count

    def stages(self) -> tuple[TrainStage, ...]:
        return (TrainStage(loss=Choice("self-distillation")),)

"""The backbone without exits: the denominator of every speed-up and the yardstick of every accuracy drop."""

from dataclasses import dataclass

from methods.api import Choice, TrainStage


@dataclass(frozen=True, kw_only=True)
class Static:
    """No early exit, nothing trained after the fine-tuning."""

    def heads(self, count: int) -> tuple[Choice, ...]:
        return ()

    def stages(self) -> tuple[TrainStage, ...]:
        return ()

"""Vanilla early exit: the usual homogeneous internal classifier (pooler + linear) at every exit.

The head is that of DeeBERT (Xin et al., ACL 2020) and its successors. Training regime and loss are the suite's defaults, so a
comparison with other methods isolates the effect of the heads.
"""

from dataclasses import dataclass

from methods.api import BackboneCard, Component
from methods.exit_method import ExitMethod


@dataclass(frozen=True, kw_only=True)
class Vanilla(ExitMethod):
    """A linear head at every exit."""

    def heads(self, exits: tuple[int, ...], backbone: BackboneCard) -> tuple[Component, ...]:
        return (Component("linear"),) * len(exits)

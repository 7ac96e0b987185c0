"""Vanilla early exit: the usual homogeneous internal classifier (pooler + linear) at every exit.

The head is the one of DeeBERT (Xin et al., ACL 2020) and its successors; regime and loss are the suite's common ones, so
that a comparison with other methods shows the heads alone.
"""

from dataclasses import dataclass

from methods.api import BackboneCard, Component
from methods.exit_method import ExitMethod


@dataclass(frozen=True, kw_only=True)
class Vanilla(ExitMethod):
    """A linear head at every exit."""

    def heads(self, exits: tuple[int, ...], backbone: BackboneCard) -> tuple[Component, ...]:
        return (Component("linear"),) * len(exits)

"""PCEE-BERT (Zhang et al., NAACL Findings 2022): leave when certain at several exits in a row.

Its training is PABEE's; only the rule for leaving differs. `PCEEPort` is what the LGViT code runs for it: entropy in nats
rather than as a share of ln C.
"""

from dataclasses import dataclass

from methods.api import Component
from methods.pabee import PABEE, PABEEPort


@dataclass(frozen=True, kw_only=True)
class PCEE(PABEE):
    """Entropy as a share of ln C, below the threshold twice in a row (the original tries runs of 2 to 11)."""

    def policy(self) -> Component:
        return Component("pcee", {"patience": 2})


@dataclass(frozen=True, kw_only=True)
class PCEEPort(PABEEPort):
    """Entropy in nats, below the threshold twice in a row."""

    def policy(self) -> Component:
        return Component("pcee", {"patience": 2, "normalised": False})

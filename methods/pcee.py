"""PCEE-BERT (Zhang et al., NAACL Findings 2022): a sample exits when the entropy is low at several exits in a row.

The training is that of PABEE; only the exit policy differs. `PCEEPort` follows the LGViT code, which uses the entropy in nats
instead of dividing it by ln C.
"""

from dataclasses import dataclass

from methods.api import Component
from methods.pabee import PABEE, PABEEPort


@dataclass(frozen=True, kw_only=True)
class PCEE(PABEE):
    """Exit when entropy / ln C is below the threshold at two exits in a row (the original evaluates 2 to 11)."""

    def policy(self) -> Component:
        return Component("pcee", {"patience": 2})


@dataclass(frozen=True, kw_only=True)
class PCEEPort(PABEEPort):
    """Exit when the entropy in nats is below the threshold at two exits in a row."""

    def policy(self) -> Component:
        return Component("pcee", {"patience": 2, "normalised": False})

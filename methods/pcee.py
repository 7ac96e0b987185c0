"""PCEE-BERT (Zhang et al., NAACL Findings 2022): a sample leaves when several exits in a row are certain.

The training is that of PABEE; only the exit rule differs. `PCEEPort` follows the LGViT code, which uses the entropy in nats
instead of its share of ln C.
"""

from dataclasses import dataclass

from methods.api import Component
from methods.pabee import PABEE, PABEEPort


@dataclass(frozen=True, kw_only=True)
class PCEE(PABEE):
    """Leaves when the entropy as a share of ln C is below the threshold at two exits in a row (the original: 2 to 11)."""

    def policy(self) -> Component:
        return Component("pcee", {"patience": 2})


@dataclass(frozen=True, kw_only=True)
class PCEEPort(PABEEPort):
    """Leaves when the entropy in nats is below the threshold at two exits in a row."""

    def policy(self) -> Component:
        return Component("pcee", {"patience": 2, "normalised": False})

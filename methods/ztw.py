"""Zero Time Waste (Wołczyk et al., NeurIPS 2021; Neural Networks 2023): cascading heads, combined by a fitted ensemble.

The heads train here; the ensemble is an exit policy (`methods.policies.ztw`), so it can also combine other heads, and the
cascade can be used without it. That gives the authors' four-way ablation.
"""

from dataclasses import dataclass

from methods.api import BackboneCard, Component
from methods.exit_method import Competitor


@dataclass(frozen=True, kw_only=True)
class ZTW(Competitor):
    """Linear heads on the frozen backbone. The loss is the mean cross-entropy of the exits.

    The original's mean also contains the frozen final exit, a constant, and so scales the gradient by (K - 1) / K, which AdamW
    does not notice.

    Attributes:
        cascade: whether each head reads the logits of the exit before; False for the ablation.
        detach: whether no gradient flows into the exit before, as in the original.
        layers: number of Linear layers in a head.
        hidden: width of the layers before the last.
    """

    cascade: bool = True
    detach: bool = True
    layers: int = 1
    hidden: int = 1024

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("layers", "hidden"):
            if getattr(self, name) < 1:
                raise ValueError(f"ztw: {name} must be at least 1, not {getattr(self, name)}")

    def heads(self, exits: tuple[int, ...], backbone: BackboneCard) -> tuple[Component, ...]:
        wide = {"layers": self.layers, "hidden": self.hidden} if self.layers > 1 else {}
        return tuple(
            Component("ztw", {"cascade": self.cascade and position > 0, "detach": self.detach, **wide})
            for position in range(len(exits))
        )

    def published_exits(self, backbone: BackboneCard) -> tuple[int, ...]:
        """After every block but the first and the last: 2 to 11 of 12 blocks."""
        return tuple(range(2, backbone.depth))

    def policy(self) -> Component:
        return Component("ztw-geometric")

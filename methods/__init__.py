"""What is compared: methods, and the losses that they name. One line a registered thing.

Heads, policies and backbones have tables of their own in their folders.
"""

from methods.api import Card

METHODS: dict[str, Card] = {
    "static": Card(target="methods.static:Static", summary="the backbone without exits: the yardstick of every number"),
    "lgvit": Card(target="methods.lgvit:LGViT", summary="LPH at the lower half of the exits, GAH at the upper half"),
    "vanilla": Card(target="methods.vanilla:Vanilla", summary="pooler + linear classifier at every exit"),
    "homogeneous-local": Card(target="methods.homogeneous:HomogeneousLocal", summary="LPH at every exit"),
    "homogeneous-global": Card(target="methods.homogeneous:HomogeneousGlobal", summary="GAH at every exit"),
}

LOSSES: dict[str, Card] = {
    "self-distillation": Card(
        target="methods.losses:SelfDistillation",
        summary="cross-entropy + distillation from the final exit, optionally LGViT's two feature terms",
    ),
}

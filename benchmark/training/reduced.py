"""The backbone of a run with its token reduction.

A file of its own, because stages that build no reduced backbone must not depend on the code of a ViT.
"""

from __future__ import annotations

from benchmark import registry
from methods.api import Component
from methods.backbones.backbone import BlockBackbone
from methods.reductions.reduction import Reduction


def reduced(backbone: BlockBackbone, reduction: Component | None) -> BlockBackbone:
    """The backbone with a token reduction, which uses the backbone's modules; without one, the backbone itself.

    Raises:
        ValueError: tokens of this backbone cannot be removed.
    """
    if reduction is None:
        return backbone
    rule: Reduction = registry.card("reduction", reduction.name).load()(**reduction.options)
    return rule.reduce(backbone)

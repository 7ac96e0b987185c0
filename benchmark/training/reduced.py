"""The backbone of a run with its token reduction.

A file of its own, because stages that build no reduced backbone must not depend on the code of a ViT.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmark import registry
from methods.api import Component
from methods.backbones.backbone import BlockBackbone
from methods.reductions.reduction import Reduction

if TYPE_CHECKING:
    from methods.model import ExitHeads


def reduced(backbone: BlockBackbone, reduction: Component | None, heads: ExitHeads | None = None) -> BlockBackbone:
    """The backbone with a token reduction, which uses the backbone's modules; without one, the backbone itself.

    Args:
        backbone: the whole backbone.
        reduction: of the run.
        heads: trained exit heads, for a reduction that reads them.

    Raises:
        ValueError: tokens of this backbone cannot be removed.
    """
    if reduction is None:
        return backbone
    rule: Reduction = registry.card("reduction", reduction.name).load()(**reduction.options)
    return rule.reduce(backbone, heads)

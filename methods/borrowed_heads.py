"""Heads that contain the heads of another method."""

from typing import Any

from methods import METHODS
from methods.api import BackboneCard
from methods.heads import HEADS
from methods.lookup import unknown


def check_base(base: str) -> None:
    """
    Raises:
        ValueError: no method has this name.
    """
    if base not in METHODS:
        raise ValueError(unknown("method", base, METHODS))


def borrowed_heads(
    base: str, exits: tuple[int, ...], backbone: BackboneCard, borrower: str
) -> tuple[dict[str, Any], ...]:
    """For each exit the options ``head``, ``options`` and ``head_version`` of a head that contains the one of ``base``.

    Raises:
        ValueError: ``base`` has no heads at these exits, or one of them reads modules of the backbone or of other exits.
    """
    heads = METHODS[base].load()().heads(exits, backbone)
    if any(HEADS[head.name].reads_backbone for head in heads):
        raise ValueError(f"{borrower}: the heads of {base} read parts of the backbone, so it cannot be its base")
    if any(head.options.get(option) for head in heads for option in HEADS[head.name].options_across_exits):
        raise ValueError(
            f"{borrower}: the heads of {base} read or share parts of other exits, so it cannot be its base"
        )
    if len(heads) != len(exits):
        raise ValueError(f"{borrower}: {base} has no heads at the exits, so it cannot be its base")
    return tuple(
        {"head": head.name, "options": dict(head.options), "head_version": HEADS[head.name].code_version}
        for head in heads
    )

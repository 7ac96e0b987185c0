"""Look-ups by name over everything registered, with the nearest match for a name that is not there.

The tables are in `methods`, `datasets` and their folders. A package outside adds to them by an entry point in the group
``lgvit_bench.<kind>`` that loads to a card.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from datasets import DATASETS
from datasets.folder import folder_card, is_folder
from datasets.synthetic import PREFIX, is_synthetic, synthetic_card
from methods import METHODS, lookup
from methods.api import Method
from methods.backbones import BACKBONES
from methods.heads import HEADS
from methods.losses import LOSSES
from methods.policies import POLICIES
from results.record import BackboneInfo, MethodInfo

GRIDS_FOLDER = Path(__file__).with_name("grids")

TABLES: dict[str, Mapping[str, Any]] = {
    "method": METHODS,
    "head": HEADS,
    "loss": LOSSES,
    "policy": POLICIES,
    "backbone": BACKBONES,
    "dataset": DATASETS,
}


def table(kind: str) -> dict[str, Any]:
    """Name to card, those of outside packages included."""
    return {**_outside(kind), **TABLES[kind]}


@lru_cache
def _outside(kind: str) -> dict[str, Any]:
    """Looked for once a process: it reads the metadata of every installed package."""
    return {point.name: point.load() for point in entry_points(group=f"lgvit_bench.{kind}")}


def grids() -> dict[str, Path]:
    """Name to file of the shipped grids."""
    return {path.stem: path for path in sorted(GRIDS_FOLDER.glob("*.yaml"))}


def card(kind: str, name: str) -> Any:
    """The card of a registered thing.

    Raises:
        KeyError: no such name; the message is the user's sentence.
        DataError: a folder of images, named as a dataset, cannot be used; likewise.
    """
    if kind == "dataset" and isinstance(name, str) and is_folder(name):
        return folder_card(name)
    if kind == "dataset" and isinstance(name, str) and is_synthetic(name):
        return synthetic_card(card("dataset", name.removeprefix(PREFIX)))
    known = table(kind)
    if name not in known:
        raise KeyError(lookup.unknown(kind, name, known))
    return known[name]


def configured(kind: str, name: str, options: Mapping[str, Any]) -> Any:
    """The registered dataclass, with its options checked against its fields.

    Raises:
        KeyError: no such name.
        ValueError: an option is unknown or of the wrong type; the message names it and the valid ones.
    """
    return lookup.configured(kind, name, card(kind, name).load(), options)


def method_info(name: str, method: Method) -> MethodInfo:
    """What a record says of a method: its options, and what reports show of it."""
    registered = card("method", name)
    shown = ("display_name", "citation", "reference", "color", "marker", "dashes", "table_order")
    return MethodInfo(name=name, options=asdict(method), **{field: getattr(registered, field) for field in shown})


def backbone_info(name: str) -> BackboneInfo:
    """What a record says of a backbone."""
    registered = card("backbone", name)
    return BackboneInfo(name=name, family=registered.family, idle_token_variant_of=registered.idle_token_variant_of)

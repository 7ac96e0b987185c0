"""Look-ups by name over everything registered, with the nearest match for a name that is not there.

The tables are in `methods`, `datasets` and their folders. A package outside adds to them by an entry point in the group
``lgvit_bench.<kind>`` that loads to a card.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from datasets import DATASETS
from methods import LOSSES, METHODS
from methods.backbones import BACKBONES
from methods.heads import HEADS
from methods.policies import POLICIES

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
    outside = {point.name: point.load() for point in entry_points(group=f"lgvit_bench.{kind}")}
    return {**outside, **TABLES[kind]}


def grids() -> dict[str, Path]:
    """Name to file of the shipped grids."""
    return {path.stem: path for path in sorted(GRIDS_FOLDER.glob("*.yaml"))}


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """The sentence about a name that is not there."""
    known = list(known)
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown {kind} {name!r}; {hint}there are: {', '.join(known)}"


def card(kind: str, name: str) -> Any:
    """The card of a registered thing.

    Raises:
        KeyError: no such name; the message is the user's sentence.
    """
    known = table(kind)
    if name not in known:
        raise KeyError(unknown(kind, name, known))
    return known[name]


def configured(kind: str, name: str, options: Mapping[str, Any]) -> Any:
    """The registered dataclass, with its options checked against its fields.

    Raises:
        KeyError: no such name.
        ValueError: an option is unknown or of the wrong type; the message names it and the valid ones.
    """
    cls = card(kind, name).load()
    defaults = {field.name: "required" if field.default is MISSING else field.default for field in fields(cls)}
    described = ", ".join(f"{key} (default {default})" for key, default in defaults.items()) or "none"
    for key in options:
        if key not in defaults:
            near = difflib.get_close_matches(key, list(defaults), n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ValueError(f"{kind} {name!r} has no option {key!r}; {hint}options: {described}")
    try:
        return TypeAdapter(cls).validate_python(dict(options))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{kind} {name!r}, option {where!r}: {first['msg']}; options: {described}") from None

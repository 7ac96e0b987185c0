"""Checks of names and options from users. An error message is one sentence with the nearest valid name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from functools import cache, lru_cache
from importlib.metadata import entry_points
from typing import Any, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

MAX_COMPARED = 200
"""Characters of an unknown name that are compared with the known ones."""
MAX_LISTED = 140
"""Characters of a list of names in a message."""


class EntryPointError(Exception):
    """An installed package registers a card that cannot be loaded; the message names the entry point."""


@cache
def registered_outside(kind: str) -> dict[str, Any]:
    """The cards that installed packages register by entry points of the group ``lgvit_bench.<kind>``, by name.

    Raises:
        EntryPointError: an entry point cannot be loaded, or is not a card.
    """
    cards = {}
    for point in entry_points(group=f"lgvit_bench.{kind}"):
        package = point.dist.name if point.dist is not None else "unknown"
        where = f"entry point {point.name!r} ({point.value}) of package {package}, group {point.group}"
        try:
            cards[point.name] = point.load()
        except Exception as error:  # any error of the package's own code
            raise EntryPointError(f"{where}: cannot be loaded ({type(error).__name__}: {error})") from error
        if not hasattr(cards[point.name], "target"):
            raise EntryPointError(f"{where}: not a card (methods/api.py, datasets/api.py)")
    return cards


def shortened(value: object, limit: int = 100) -> str:
    """The `repr` of a value for a message; the middle of a long one is left out."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit * 2 // 3]}...{text[-limit // 3 :]}"


def nearest(name: object, known: Iterable[str]) -> str:
    """``did you mean 'x'? `` for the most similar known name; empty if none is similar."""
    matches = difflib.get_close_matches(str(name)[:MAX_COMPARED], list(known), n=1, cutoff=0.5)
    return f"did you mean {matches[0]!r}? " if matches else ""


def listed(names: Iterable[str]) -> str:
    """The names for a message; of a long list the first ones, and the number of the others."""
    names = list(names)
    shown = len(names)
    while shown > 1 and len(", ".join(names[:shown])) > MAX_LISTED:
        shown -= 1
    more = f" and {len(names) - shown} more" if shown < len(names) else ""
    return ", ".join(names[:shown]) + more


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """The error message for an unknown name: the nearest known name, and the known names."""
    known = list(known)
    return f"unknown {kind} {shortened(name)}; {nearest(name, known)}there are: {listed(known)}"


def configured(kind: str, name: str, cls: type, options: Mapping[str, Any]) -> Any:
    """An instance of a registered dataclass; the options are checked against its fields.

    Raises:
        ValueError: an option is unknown, of the wrong type or out of range; the message names it and the valid ones.
    """
    adapter, defaults = _options_of(cls)
    descriptions = [f"{key} (default {default})" for key, default in defaults.items()] or ["none"]

    def described(key: str) -> str:
        """The default of an option; of no single one, all options."""
        return f"default: {defaults[key]}" if key in defaults else f"options: {listed(descriptions)}"

    types = _types_of(cls)
    for key in options:
        if key not in defaults:
            raise ValueError(
                f"{kind} {name!r} has no option {shortened(key)}; {nearest(key, defaults)}options: {listed(descriptions)}"
            )
        if isinstance(options[key], bool) and not _takes_bool(types.get(key, Any)):
            raise ValueError(f"{kind} {name!r}: option {key!r}: not {options[key]}; {described(key)}")
    try:
        return adapter.validate_python(dict(options))
    except ValidationError as error:
        first = error.errors()[0]
        option = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ").removeprefix(f"{name}: ")
        reason = f"option {option!r}: {message}" if option else message
        raise ValueError(f"{kind} {name!r}: {reason}; {described(option.partition('.')[0])}") from None


def _takes_bool(annotation: Any) -> bool:
    """Whether true and false are values of a type; pydantic would accept them as the numbers 1 and 0."""
    return annotation in (bool, Any) or bool in get_args(annotation)


@lru_cache(maxsize=256)
def _types_of(cls: type) -> dict[str, Any]:
    """The types of the fields of a dataclass; empty where an annotation cannot be evaluated."""
    try:
        return get_type_hints(cls)
    except NameError:
        return {}


@lru_cache(maxsize=256)
def _options_of(cls: type) -> tuple[TypeAdapter[Any], dict[str, Any]]:
    """Validator and defaults of the options of a dataclass. Cached because building a validator is slow."""
    defaults = {
        field.name: "required" if field.default is MISSING else field.default for field in fields(cls) if field.init
    }
    return TypeAdapter(cls), defaults

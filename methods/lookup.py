"""Names and options that users type: found, or explained in one sentence with the nearest match."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter, ValidationError


def nearest(name: object, known: Iterable[str]) -> str:
    """``did you mean 'x'? `` if something is near, else nothing."""
    near = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}? " if near else ""


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """The sentence about a name that is not there."""
    known = list(known)
    return f"unknown {kind} {name!r}; {nearest(name, known)}there are: {', '.join(known)}"


def configured(kind: str, name: str, cls: type, options: Mapping[str, Any]) -> Any:
    """A registered dataclass, made with options that are checked against its fields.

    Raises:
        ValueError: an option is unknown, of the wrong type or out of range; the message names it and the valid ones.
    """
    adapter, defaults, described = _form(cls)
    for key in options:
        if key not in defaults:
            raise ValueError(f"{kind} {name!r} has no option {key!r}; {nearest(key, defaults)}options: {described}")
    try:
        return adapter.validate_python(dict(options))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        what = (
            f"option {where!r}: {first['msg']}"
            if where
            else first["msg"].removeprefix("Value error, ").removeprefix(f"{name}: ")
        )
        raise ValueError(f"{kind} {name!r}: {what}; options: {described}") from None


@lru_cache(maxsize=256)
def _form(cls: type) -> tuple[TypeAdapter[Any], dict[str, Any], str]:
    """What checks options for a dataclass, the defaults, and these in words. Made once: that takes far longer than a check."""
    defaults = {
        field.name: "required" if field.default is MISSING else field.default for field in fields(cls) if field.init
    }
    described = ", ".join(f"{key} (default {default})" for key, default in defaults.items()) or "none"
    return TypeAdapter(cls), defaults, described

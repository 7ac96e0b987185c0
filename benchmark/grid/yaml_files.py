"""Reads users' YAML files, strictly.

Values follow the core schema of YAML 1.2: ``010`` is 10, ``1e-3`` is a number, ``yes``, ``2001-01-01`` and ``12:00`` are text.
Repeated keys, aliases, tags, deep nesting and very large files are errors: a grid needs none of them, PyYAML silently uses the
last of two equal keys, and nested aliases can take forever to expand.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from benchmark.errors import UserError
from results.text import whole_number

MAX_BYTES = 1_000_000
MAX_DEPTH = 50
MAX_MESSAGE = 300
"""Characters of PyYAML's message that an error shows."""
CORE_SCHEMA = {
    "null": (r"null|Null|NULL|~|", "nN~\0"),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9]+", "-+0123456789"),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
}
"""Type to the pattern of its plain values, and their possible first characters; \0 stands for an empty value."""


class TextLoader(yaml.SafeLoader):
    """Keeps every scalar as text."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()
        self.depth += 1
        tag = getattr(event, "tag", None)
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError(f"an alias is not allowed {event.start_mark}")
        if tag is not None:
            raise yaml.YAMLError(f"the tag {tag} is not allowed {event.start_mark}")
        if self.depth > MAX_DEPTH:
            raise yaml.YAMLError(f"more than {MAX_DEPTH} levels {event.start_mark}")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys: list[Any] = [self.construct_object(key, deep=True) for key, _ in node.value]
        for i, key in enumerate(keys):
            if key in keys[:i]:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


class ValueLoader(TextLoader):
    """Reads scalars by the core schema."""


def _construct_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    try:
        return whole_number(str(loader.construct_scalar(node)))
    except ValueError as error:
        raise yaml.YAMLError(f"{error}; line {node.start_mark.line + 1}") from None


TextLoader.yaml_implicit_resolvers = {}
ValueLoader.yaml_implicit_resolvers = {}
for _type, (_pattern, _first) in CORE_SCHEMA.items():
    _characters = [character.replace("\0", "") for character in _first]
    ValueLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_type}", re.compile(f"^(?:{_pattern})$"), _characters)
ValueLoader.add_constructor("tag:yaml.org,2002:int", _construct_int)


def read_value(text: str) -> Any:
    """A value of the command line, as it would be read from a file.

    Raises:
        ValueError: it is not valid YAML.
    """
    try:
        return yaml.load(text, Loader=ValueLoader)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"not a valid value ({_reason(error)})") from None


def read_mapping(path: Path, loader: type[TextLoader], form: str) -> dict[str, Any]:
    """The keys of a file.

    Args:
        path: of the file.
        loader: `ValueLoader` for typed values, `TextLoader` for text.
        form: what the file should contain, for the error message.

    Raises:
        UserError: the file cannot be read, is not YAML, or is not a mapping.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path}: larger than {MAX_BYTES:,} bytes; {form}")
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: not valid YAML ({_reason(error)})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: {form}")
    return content


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:MAX_MESSAGE]

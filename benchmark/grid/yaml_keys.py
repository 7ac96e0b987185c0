"""Reads users' YAML files. A repeated key is an error: PyYAML would silently use the last one."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from benchmark.errors import UserError


class _UniqueKeys:
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]  # type: ignore[attr-defined]
        for i, key in enumerate(keys):
            if key in keys[:i]:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)  # type: ignore[misc]


class ValueLoader(_UniqueKeys, yaml.SafeLoader):
    """PyYAML's safe loader."""


class TextLoader(_UniqueKeys, yaml.BaseLoader):
    """Keeps every value as text: YAML 1.1 would read ``12:00:00`` as the number 43200."""


def read_mapping(path: Path, loader: type[ValueLoader | TextLoader], form: str) -> dict[str, Any]:
    """The keys of a file.

    Args:
        path: of the file.
        loader: `ValueLoader` for typed values, `TextLoader` for text.
        form: what the file should contain, for the error message.

    Raises:
        UserError: the file cannot be read, is not YAML, or is not a mapping.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: no valid YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: {form}")
    return content

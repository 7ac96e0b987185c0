"""Users' YAML files, in which a key stands once: PyYAML lets the last of two equal keys win in silence."""

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
    """Every value as the text that stands there: YAML 1.1 reads ``12:00:00`` as 43200."""


def read_mapping(path: Path, loader: type[ValueLoader | TextLoader], form: str) -> dict[str, Any]:
    """The keys of a file.

    Args:
        loader: both are safe.
        form: what the file should be, for whoever wrote something else.

    Raises:
        UserError: it cannot be read, is no YAML, or no mapping.
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

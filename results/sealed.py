"""JSON objects with a checksum, which detects changes in records, manifests and log lines when they are read."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from results.text import whole_number

# The checksum is the SHA-256 of the other keys as compact JSON with sorted keys, independent of indentation.
KEY = "sha256"


def sealed(text: str, indent: int | None = None) -> str:
    """A JSON object as text, with its checksum as the last key."""
    content = json.loads(text)
    return json.dumps(content | {KEY: _checksum(content)}, indent=indent, ensure_ascii=False)


def unsealed(text: bytes) -> dict[str, Any]:
    """The object without its checksum, which is verified.

    Raises:
        ValueError: the text is not a JSON object, is nested too deeply, or does not match its checksum.
    """
    try:
        content = json.loads(text, parse_int=whole_number)
        if not isinstance(content, dict):
            raise ValueError("not a JSON object")
        checksum = content.pop(KEY, None)
        if checksum != _checksum(content):
            raise ValueError("damaged: the content does not match its checksum" if checksum else "it has no checksum")
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None
    return content


def _checksum(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()

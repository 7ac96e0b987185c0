"""JSON objects with a checksum: a flipped bit in a record, a manifest or a log line is noticed when it is read."""

from __future__ import annotations

import hashlib
import json
from typing import Any

KEY = "sha256"
"""The key of the checksum: SHA-256 of the other keys as compact JSON with sorted keys. Indentation does not change it."""


def sealed(text: str, indent: int | None = None) -> str:
    """A JSON object as text, with its checksum as the last key."""
    content = json.loads(text)
    return json.dumps(content | {KEY: _checksum(content)}, indent=indent, ensure_ascii=False)


def unsealed(text: bytes) -> dict[str, Any]:
    """The object without its checksum, after a check of it.

    Raises:
        ValueError: it is no JSON object, is nested too deeply, or does not fit its checksum.
    """
    try:
        content = json.loads(text)
        if not isinstance(content, dict):
            raise ValueError("not a JSON object")
        checksum = content.pop(KEY, None)
        if checksum != _checksum(content):
            raise ValueError("damaged: the content does not fit its checksum" if checksum else "it has no checksum")
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None
    return content


def _checksum(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()

"""Small valid grids for tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml


def bundled(train: int = 40, val: int = 10, test: int = 10, **options: Any) -> dict[str, Any]:
    """The bundled dataset with this many images in each split."""
    return {"name": "fashion-mnist-mini", "set": {"train": train, "val": val, "test": test, **options}}


def tiny_grid(**changes: Any) -> dict[str, Any]:
    """A grid of two methods on one small backbone that trains in seconds.

    Args:
        changes: keys of the grid. A mapping is merged into the default, any other value replaces it, None removes the key.
    """
    return _merged(
        {
            "name": "tiny",
            "backbones": ["vit_nano_patch4_28"],
            "datasets": [bundled()],
            "methods": ["lgvit", "vanilla"],
            "exits": [[3, 7]],
            "recipes": {"finetune": {"epochs": 2, "batch_size": 20}, "exits": {"epochs": 2, "batch_size": 20}},
        },
        changes,
    )


def write_grid(path: Path, **changes: Any) -> Path:
    """Write `tiny_grid` with these changes as YAML."""
    path.write_text(yaml.safe_dump(tiny_grid(**changes), sort_keys=False))
    return path


def _merged(default: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(default)
    for key, value in changes.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            merged[key] = _merged(merged.get(key) or {}, value)
        else:
            merged[key] = value
    return merged

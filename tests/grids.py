"""Small valid grids for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def bundled(train: int = 40, val: int = 10, test: int = 10, **options: Any) -> dict[str, Any]:
    """The bundled dataset with this many images in each split."""
    return {"name": "fashion-mnist-mini", "set": {"train": train, "val": val, "test": test, **options}}


def tiny_grid(**changes: Any) -> dict[str, Any]:
    """A grid of two methods on one small backbone that trains in seconds.

    Args:
        changes: keys of the grid. None removes a key, recipes are merged field by field, any other value replaces the default.
    """
    recipes: dict[str, Any] = {
        "finetune": {"epochs": 2, "batch_size": 20},
        "exits": {"epochs": 2, "batch_size": 20, "lr": 0.01},
    }
    for stage, fields in (changes.pop("recipes", None) or {}).items():
        recipes[stage] = recipes.get(stage, {}) | fields
    grid = {
        "name": "tiny",
        "backbones": ["vit_nano_patch4_28"],
        "datasets": [bundled()],
        "methods": ["lgvit", "vanilla"],
        "exits": [[3, 7]],
        "recipes": recipes,
    }
    return {key: value for key, value in (grid | changes).items() if value is not None}


def write_grid(path: Path, **changes: Any) -> Path:
    """Write `tiny_grid` with these changes, as JSON, which is YAML too."""
    path.write_text(json.dumps(tiny_grid(**changes), indent=2))
    return path

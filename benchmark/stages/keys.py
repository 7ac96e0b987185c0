"""Keys of stages: 16 hex digits over the JSON of everything that a stage read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

PARENTS = "parents"
SEED = "seed"


def stage_key(kind: str, fields: Mapping[str, Any]) -> str:
    """The key of a stage with these fields, code version and parents' keys included."""
    text = json.dumps({"stage": kind, **fields}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Texts:
    """JSON of values that many keys share: made once an object."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, str]] = {}

    def of(self, value: Any) -> str:
        if isinstance(value, str | int | None):
            return json.dumps(value)
        if id(value) not in self._known:  # with the value, so that no id is given to something else
            self._known[id(value)] = value, json.dumps(value, sort_keys=True)
        return self._known[id(value)][1]


class KeyForm:
    """`stage_key` for stages that differ in their parents and their seed alone.

    A grid of a hundred thousand runs has a quarter of a million stages, and the fields that these share are long: they become
    text once, and the text in front of the parents is hashed once.

    Args:
        kind: of the stage.
        fields: all but the parents and the seed.
        seeded: whether the fields also have a seed.
        texts: of the fields.

    Attributes:
        text: the same for forms that give the same keys.
    """

    def __init__(self, kind: str, fields: Mapping[str, Any], *, seeded: bool, texts: Texts) -> None:
        shared = {"stage": kind, **fields}
        names = sorted([*shared, PARENTS, *([SEED] if seeded else [])])
        pieces = {name: f'"{name}": {texts.of(value)}' for name, value in shared.items()}
        pieces |= {PARENTS: f'"{PARENTS}": \0', SEED: f'"{SEED}": \0'}  # JSON has no such character
        self.text = "{" + ", ".join(pieces[name] for name in names) + "}"
        start, self._middle, *end = self.text.split("\0")
        self._start, self._end = hashlib.sha256(start.encode()), end[0] if end else None

    def key(self, parents: str, seed: int) -> str:
        """
        Args:
            parents: ``"0:finetune": "0123456789abcdef"``, and so on; joined by a comma and a space.
            seed: passed over where the fields have none.
        """
        digest = self._start.copy()
        if self._end is None:
            digest.update(f"{{{parents}}}{self._middle}".encode())
        else:
            digest.update(f"{{{parents}}}{self._middle}{seed}{self._end}".encode())
        return digest.hexdigest()[:16]

"""Named random seeds: each random choice has a seed of its own, which depends only on its purpose and the given parts."""

from __future__ import annotations

import hashlib


def seed_for(purpose: str, *parts: int | str) -> int:
    """A 63-bit seed from the purpose of a random choice and the values on which it depends.

    >>> seed_for("order", 0, 1) == seed_for("order", 0, 1)
    True
    >>> seed_for("order", 0, 1) == seed_for("augment", 0, 1)
    False
    """
    text = "\x1f".join([purpose, *(f"{type(part).__name__}:{part}" for part in parts)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1

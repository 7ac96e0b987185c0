"""Seeds with names: each random choice depends on what should change it, and on nothing else."""

from __future__ import annotations

import hashlib


def seed_for(purpose: str, *parts: int | str) -> int:
    """A 63-bit seed from the name of the choice and whatever should change it.

    >>> seed_for("order", 0, 1) == seed_for("order", 0, 1)
    True
    >>> seed_for("order", 0, 1) == seed_for("augment", 0, 1)
    False
    """
    text = "\x1f".join([purpose, *(f"{type(part).__name__}:{part}" for part in parts)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1

"""Untrusted text is shown without characters that change the display of a terminal."""

from __future__ import annotations

import os

from results.text import printable


def test_bytes_that_are_not_utf8_remain_distinguishable() -> None:
    assert [printable(os.fsdecode(name)) for name in (b"caf\xe9", b"caf\xe8")] == [r"caf\xe9", r"caf\xe8"]
    assert printable("a\x1b[2J\n\ud800b") == "a [2J  b"

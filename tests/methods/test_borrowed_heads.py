"""Methods whose heads contain the heads of another method."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.registry import card, configured, table
from tests.benchmark.grid.expansion import SOUND, mistakes


@pytest.mark.parametrize("borrower", ["boosted", "jei-dnn"])
@pytest.mark.parametrize("base", sorted(table("method")))
def test_a_base_is_refused_before_its_heads_are_built_or_they_can_be_built(base: str, borrower: str) -> None:
    try:
        heads = configured("method", borrower, {"base": base}).heads((3, 6), card("backbone", "vit_nano_patch4_28"))
    except ValueError:
        heads = ()  # refused, as the next test reads
    for head in heads:
        table("head")[head.name].load()(32, 10, 7, 1, **head.options)


@pytest.mark.parametrize("borrower", ["boosted", "jei-dnn"])
@pytest.mark.parametrize(("base", "reason"), [
    ("ztw", "the heads of ztw read or share parts of other exits"), ("boosted", "the heads of boosted read or share parts"),
    ("pabee", "the heads of pabee read or share parts"), ("berxit", "the heads of berxit read or share parts"),
    ("jei-dnn", "the heads of jei-dnn read parts of the backbone"), ("tome", "tome has no heads at the exits"),
    ("two-resolutions", "the heads of two-resolutions read parts of the backbone"), ("static", "static has no heads"),
    ("lgvitt", "unknown method 'lgvitt'; did you mean 'lgvit'?"),
])  # fmt: skip
def test_a_grid_with_a_base_that_does_not_fit_is_refused_when_it_is_read(
    tmp_path: Path, borrower: str, base: str, reason: str
) -> None:
    (message,) = mistakes(tmp_path, SOUND.replace("lgvit]", f"{{name: {borrower}, set: {{base: {base}}}}}]"))
    assert reason in message

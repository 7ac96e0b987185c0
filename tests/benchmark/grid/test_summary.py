from __future__ import annotations

from pathlib import Path

import pytest

from benchmark import registry
from benchmark.grid.summary import grid_summary


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("# Do heads of two kinds\n# help? A small answer.\nname: mine\n", "Do heads of two kinds help?"),
        ("# All regimes, e.g. joint. `lgvit` has two stages.\nname: mine\n", "All regimes, e.g. joint."),
        ("# One sentence only.\nname: mine\n# Not this one.\n", "One sentence only."),
        ("name: mine\n# Not at the head.\n", ""),
    ],
)
def test_the_summary_is_the_first_sentence_at_the_head(content: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    assert grid_summary(path) == expected


@pytest.mark.parametrize("name", registry.grids())
def test_every_shipped_grid_says_what_it_compares(name: str) -> None:
    assert 20 < len(grid_summary(registry.grids()[name])) < 220

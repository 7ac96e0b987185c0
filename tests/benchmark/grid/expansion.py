"""The runs or the mistakes of a grid that a test writes."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from benchmark.errors import UserError
from benchmark.grid.load import load_grid
from results.spec import RunSpec

SOUND = """
name: mine
backbones: [vit_nano_patch4_28]
datasets: [fashion-mnist-mini]
methods: [static, lgvit]
"""


def expand(folder: Path, text: str) -> tuple[RunSpec, ...]:
    path = folder / "grid.yaml"
    path.write_text(dedent(text))
    return load_grid(path).runs


def mistakes(folder: Path, text: str) -> list[str]:
    with pytest.raises(UserError) as error:
        expand(folder, text)
    return [message.removeprefix(f"{folder / 'grid.yaml'}: ") for message in error.value.messages]

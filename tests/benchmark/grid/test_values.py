"""Values of a grid that cannot be used, and options of policies: one short sentence each, when the grid is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmark.errors import UserError
from benchmark.grid.load import load_grid
from tests.benchmark.grid.expansion import SOUND
from tests.grids import write_grid


@pytest.mark.parametrize(("changes", "key"), [
    ({"datasets": ["synthetic:" * 2000 + "cifar-10"]}, "datasets[0]"),
    ({"datasets": ["folder:a\0b"]}, "datasets[0]"),
    ({"datasets": ["folder:~nouser"]}, "datasets[0]"),
    ({"datasets": ["folder:loop"]}, "datasets[0]"),
    ({"datasets": ["folder:" + "x" * 5000]}, "datasets[0]"),
    ({"backbones": [{"name": "vit_nano_patch4_28", "set": {"weights": "file:~nouser/w"}}]}, "backbones[0]"),
    ({"backbones": [{"name": "vit_nano_patch4_28", "set": {"weights": "file:loop"}}]}, "backbones[0]"),
    ({"backbones": [{"name": "vit_nano_patch4_28", "set": {"weights": "file:a\0b"}}]}, "backbones[0]"),
    ({"seeds": [int("9" * 400)]}, "seeds[0]"),
    ({"datasets": [{"name": "fashion-mnist-mini", "set": {"train": int("9" * 400)}}]}, "datasets[0].set.train"),
    ({"datasets": [{"name": "fashion-mnist-mini", "set": {"x" * 900: 1}}]}, "datasets[0].set"),
    ({"exits": [[int("9" * 400)]]}, "exits"),
    ({"exits": [[int("9" * 400)] * 2]}, "exits[0]"),
    ({"exits": [{"name": "uniform", "set": {"count": int("9" * 400)}}]}, "exits"),
    ({"methods": ["x" * 4000]}, "methods[0]"),
    ({"recipes": {"finetune": {"x" * 900: 1}}}, "recipes.finetune"),
    ({"recipes": {"finetune": {"rand_augment": "x" * 4000}}}, "recipes.finetune.rand_augment"),
])  # fmt: skip
def test_a_value_that_cannot_be_used_is_one_short_sentence(tmp_path: Path, changes: dict[str, Any], key: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    path = write_grid(tmp_path / "grid.yaml", **changes)
    with pytest.raises(UserError) as error:
        load_grid(path)
    assert len(error.value.messages) == 1
    assert error.value.messages[0].startswith(f"{path}: {key}")
    assert len(error.value.messages[0]) < 1000 + len(str(path))
    assert "\n" not in error.value.messages[0]


@pytest.mark.parametrize(("name", "options", "option"), [
    ("confidence", "threshold: 2001-01-01", "threshold"), ("confidence", "threshold: {a: null}", "threshold"),
    ("confidence", "threshold: [1, a]", "threshold"), ("entropy", "threshold: .nan", "threshold"),
    ("margin", "threshold: true", "threshold"), ("patience", "patience: 2.5", "patience"),
    ("pcee", "patience: .inf", "patience"), ("ltt", "delta: high", "delta"), ("ztw-geometric", "treshold: 1", "treshold"),
    ("pcee", "normalised: maybe", "normalised"), ("poe-relu", "weights: none", "weights"),
    ("confidence", "threshold: 3", "threshold"), ("ltt", "risk: 1", "risk"), ("patience", "patience: 0", "patience"),
    ("budgeted", "budget: -1", "budget"), ("eenet", "epochs: 1000000000000", "epochs"), ("ztw-geometric", "seed: -1", "seed"),
])  # fmt: skip
def test_options_of_policies_are_checked_when_the_grid_is_read(
    tmp_path: Path, name: str, options: str, option: str
) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(SOUND + f"policies: [{{name: {name}, set: {{{options}}}}}]")
    with pytest.raises(UserError) as error:
        load_grid(path)
    (message,) = (text.removeprefix(f"{path}: ") for text in error.value.messages)
    assert message.startswith(f"policies[0]: policy {name!r}")
    assert f"{option!r}" in message

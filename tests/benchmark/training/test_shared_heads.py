"""The bench of the shared pass measures what it says."""

from __future__ import annotations

import pytest
import torch

from benchmark.measure.shared_pass_speed import SharedPassSpeed, measure_shared_pass
from results.spec import DEFAULT_RECIPES, Configured, Recipes
from tests.conftest import Command

RECIPES = Recipes(exits=DEFAULT_RECIPES["exits"].model_copy(update={"batch_size": 20}))
DATA = Configured(name="fashion-mnist-mini", set={"train": 60})


def test_parts_and_whole_are_measured() -> None:
    methods = ["vanilla", "sdn", "berxit"]
    speed = measure_shared_pass("vit_nano_patch4_28", DATA, methods, RECIPES, 4, torch.device("cpu"))
    assert list(speed.heads) == methods
    assert speed.shared > speed.frozen > 0
    assert all(seconds > 0 for seconds in speed.heads.values())


def test_ratios_are_those_of_the_definition() -> None:
    speed = SharedPassSpeed(frozen=4.0, heads={"a": 1.0, "b": 3.0}, shared=10.0)
    assert speed.overhead == 10 / 8
    assert speed.saved == (2 * 4 + 4) / 10


@pytest.mark.parametrize(("arguments", "sentence"), [
    (("--method", "lgvitt"), "did you mean 'lgvit'?"),
    (("--method", "static"), "static has no early exits to train"),
    (("--backbone", "vit_nano"), "--backbone: unknown backbone 'vit_nano'"),
])  # fmt: skip
def test_mistakes_are_explained(benchmark_command: Command, arguments: tuple[str, ...], sentence: str) -> None:
    done = benchmark_command("bench", "shared-heads", *arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr

"""`bench loader` measures the images loaded, and the time that a step waits for them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from benchmark.measure.loader_speed import measure_loader
from benchmark.training.inputs import read_inputs
from datasets.loading import Batch
from results.spec import DEFAULT_RECIPES, Configured, Recipes, TrainSpec
from tests.conftest import Command
from tests.datasets.photos import write_photos


def test_a_slow_step_waits_less_for_data_than_a_fast_one() -> None:
    recipe = DEFAULT_RECIPES["finetune"].model_copy(update={"augment": "crop-flip", "batch_size": 50})
    train = TrainSpec(
        dataset=Configured(name="fashion-mnist-mini", set={"train": 200, "val": 10, "test": 10}),
        backbone="vit_nano_patch4_28", method=Configured(name="static"), exits=(), recipes=Recipes(finetune=recipe), seed=0,
    )  # fmt: skip
    inputs = read_inputs(train, None, workers=0)
    batch_sizes: list[int] = []

    def slow(batch: Batch) -> None:
        batch_sizes.append(len(batch.labels))
        time.sleep(0.1)

    speed = measure_loader(inputs, recipe, slow, batches=6)
    assert len(batch_sizes) == 8  # two warm-up batches; the epoch of four batches ends within the measurement
    assert speed.training <= 50 / 0.1  # also on a busy machine
    assert speed.training < speed.alone
    assert speed.waiting < measure_loader(inputs, recipe, lambda batch: None, batches=6).waiting


def test_the_command_prints_a_line_for_every_number_of_workers(benchmark_command: Command, tmp_path: Path) -> None:
    write_photos(tmp_path / "photos")
    done = benchmark_command(
        "bench", "loader", "--dataset", f"folder:{tmp_path / 'photos'}", "--batches", 3, "--batch-size", 8,
        "--loader-workers", 0, "--loader-workers", 2, "--device", "cpu",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["0", "2"]
    assert all("images/s alone" in line and "in training" in line for line in lines)


@pytest.mark.parametrize(("option", "value", "parts"), [
    ("--dataset", "cifar-1000", ["--dataset", "'cifar-1000'"]),
    ("--backbone", "vit", ["--backbone", "'vit'"]),
    ("--augment", "flop", ["--augment", "'flop'", "'flip'"]),
    ("--dataset", "folder:/no/such", ["/no/such"]),
])  # fmt: skip
def test_mistakes_are_named_without_a_traceback(
    benchmark_command: Command, option: str, value: str, parts: list[str]
) -> None:
    done = benchmark_command("bench", "loader", option, value)
    assert done.returncode == 2
    assert all(part in done.stderr for part in parts)
    assert "Traceback" not in done.stderr

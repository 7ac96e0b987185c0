"""``python -m benchmark bench``: performance claims that anyone can reproduce. Ratios within one run, not absolute times."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from benchmark import registry
from benchmark.cli import bench_harness
from benchmark.cli.bench_shared_heads import shared_heads
from benchmark.cli.options import data_dir_option, require_torch
from benchmark.errors import UserError
from datasets.augment import AUGMENTATIONS
from datasets.folder import absolute, is_folder
from methods.lookup import unknown
from results.spec import DEFAULT_RECIPES, Configured, Recipes, TrainSpec

if TYPE_CHECKING:
    import torch


@click.group("bench", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Measure the suite itself.

    \b
    Example:
      python -m benchmark bench sweep
      python -m benchmark bench loader
      python -m benchmark bench dynamic
      python -m benchmark bench shared-heads
      python -m benchmark bench harness
    """


command.add_command(shared_heads)
command.add_command(bench_harness.command)


@command.command("sweep")
@click.option("--exits", type=click.IntRange(min=2), default=9, show_default=True)
@click.option("--samples", type=click.IntRange(min=200), default=10_000, show_default=True)
@click.option("--classes", type=click.IntRange(min=2), default=100, show_default=True)
@click.option("--settings", type=click.IntRange(min=2), default=200, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True)
def sweep(exits: int, samples: int, classes: int, settings: int, threads: int) -> None:
    """Sweeps of six policies over random scores, beside running a model once per setting.

    \b
    Examples:
      python -m benchmark bench sweep
      python -m benchmark bench sweep --samples 50000 --classes 1000     ImageNet's size
    """
    require_torch()
    import torch

    from benchmark.measure.sweep_speed import measure_sweeps

    torch.set_num_threads(threads)
    console = Console(highlight=False)
    console.print(f"scores {exits} x {samples:,} x {classes:,}, {threads} threads")
    found = measure_sweeps(exits, samples, classes, settings)
    for name, seconds in found.seconds.items():
        console.print(f"  {name:<12}{found.settings[name]:>5} settings  {seconds:7.3f} s")
    total = sum(found.seconds.values())
    console.print(f"  {'all':<12}{sum(found.settings.values()):>5} settings  {total:7.3f} s")
    scores = exits * samples * classes * 4
    console.print(f"peak memory: {found.extra_bytes / 2**20:,.0f} MiB beyond the scores ({scores / 2**20:,.0f} MiB)")
    console.print(
        f"running vit_nano_patch4_28 with LGViT's heads once per setting would take {found.ratio:,.0f} times as long "
        f"({found.model_seconds:.2f} s a pass over {samples:,} images)",
        soft_wrap=True,
    )


@command.command("loader")
@click.option("--dataset", default="fashion-mnist-mini", show_default=True, help="A name, or folder:PATH.")
@click.option("--backbone", default="vit_nano_patch4_28", show_default=True, help="Sets the image size and the step.")
@click.option("--augment", default="crop-flip", show_default=True)
@click.option("--batch-size", type=click.IntRange(min=1), default=64, show_default=True)
@click.option(
    "--batches", type=click.IntRange(min=1), default=50, show_default=True, help="Measured, after two that warm up."
)
@click.option(
    "--loader-workers",
    type=click.IntRange(min=0),
    multiple=True,
    help="May be given more than once; default 0, 1 and 2.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@data_dir_option
def loader(
    dataset: str,
    backbone: str,
    augment: str,
    batch_size: int,
    batches: int,
    loader_workers: tuple[int, ...],
    device: str,
    data_dir: Path | None,
) -> None:
    """Images a second that the loader makes, and how long a fine-tuning step waits for them.

    \b
    Examples:
      python -m benchmark bench loader
      python -m benchmark bench loader --dataset food-101 --loader-workers 4 --loader-workers 8
    """
    require_torch()
    from benchmark.execution.device import usable_device
    from benchmark.measure.loader_speed import finetuning_step, measure_loader
    from benchmark.training.inputs import read_inputs

    train = _spec(dataset, backbone, augment, batch_size)
    chosen: torch.device = usable_device(device)
    console = Console(highlight=False)
    console.print(
        f"{train.dataset.name} for {backbone}, {augment}, batches of {batch_size}, {chosen}",
        markup=False,
        soft_wrap=True,
    )
    for count in loader_workers or (0, 1, 2):
        inputs = read_inputs(train, data_dir, count, pin=chosen.type == "cuda")
        found = measure_loader(inputs, train.recipes.finetune, finetuning_step(train, chosen), batches)
        console.print(
            f"  {count:>2} loader workers  {found.alone:9,.0f} images/s alone  {found.training:9,.0f} in training"
            f"  {100 * found.waiting:5.1f} % of a step waits for data",
            soft_wrap=True,
        )


def _spec(dataset: str, backbone: str, augment: str, batch_size: int) -> TrainSpec:
    """A run that names the data, the backbone and the recipe; every mistake is one sentence."""
    name = absolute(dataset, Path.cwd()) if is_folder(dataset) else dataset
    for kind, value in (("dataset", name), ("backbone", backbone)):
        try:
            registry.card(kind, value)
        except KeyError as error:
            raise UserError(f"--{kind}: {error.args[0]}") from None
    if augment not in AUGMENTATIONS:
        raise UserError(f"--augment: {unknown('augmentation', augment, AUGMENTATIONS)}")
    recipe = DEFAULT_RECIPES["finetune"].model_copy(update={"augment": augment, "batch_size": batch_size})
    return TrainSpec(
        dataset=Configured(name=name),
        backbone=backbone,
        method=Configured(name="static"),
        exits=(),
        recipes=Recipes(finetune=recipe),
        seed=0,
    )


TARGET = 0.95


@command.command("dynamic")
@click.option(
    "--backbone",
    type=click.Choice(["vit_small_patch16_224", "vit_nano_patch4_28"]),
    default="vit_small_patch16_224",
    show_default=True,
)
@click.option("--batch-size", type=click.IntRange(min=1), default=32, show_default=True)
@click.option("--batches", type=click.IntRange(min=1), default=10, show_default=True, help="Timed, of each kind.")
@click.option("--warmup", type=click.IntRange(min=1), default=2, show_default=True, help="Batches before the clock.")
@click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option("--map", "with_map", is_flag=True, help="Also a map over batch sizes and exit rates.")
def dynamic(
    backbone: str, batch_size: int, batches: int, warmup: int, threads: int, device: str, with_map: bool
) -> None:
    """Dynamic inference with imposed exit shares, beside the backbone without exits: how much of the MAC speed-up is real.

    The shares are those of LGViT's released ViT-B for CIFAR-100 at threshold 0.90; weights are random. With LGViT's heads and
    with linear ones. Time it on a machine that does nothing else.

    \b
    Examples:
      python -m benchmark bench dynamic
      python -m benchmark bench dynamic --map --batches 4
    """
    require_torch()
    import numpy as np
    import torch

    from benchmark import registry
    from benchmark.execution.device import usable_device
    from benchmark.measure import dynamic_speed

    torch.set_num_threads(threads)
    where = usable_device(device)
    card = registry.card("backbone", backbone)
    console = Console(highlight=False)
    console.print(f"{backbone}, batch {batch_size}, {batches} batches, {device}, {threads} threads")
    for method in ("lgvit", "vanilla"):
        model, costs = dynamic_speed.random_model(method, card)
        timing, parts = dynamic_speed.measure_imposed(
            model, costs, np.array(dynamic_speed.RELEASED_SHARES), card,
            batch_size=batch_size, batches=batches, warmup=warmup, device=where,
        )  # fmt: skip
        verdict = "reached" if timing.realised >= TARGET else "missed"
        console.print(
            f"heads of {method}: {timing.speedup:.2f}x in time, {timing.mac_speedup:.2f}x in MACs, "
            f"{timing.realised:.3f} realised (target {TARGET}: {verdict})"
        )
        for part in parts:
            console.print(
                f"  {part.name:<18}{part.milliseconds:9.1f} ms a batch, {part.excess:+8.1f} ms against its MACs at the "
                "backbone's rate",
                soft_wrap=True,
            )
    if with_map:
        _map(console, card, batch_size, batches, warmup, where)


def _map(console: Console, card: Any, batch_size: int, batches: int, warmup: int, device: Any) -> None:
    """Speed-up in time for some batch sizes and exit rates, with LGViT's heads."""
    from benchmark.measure.dynamic_speed import BLOCKS, geometric_shares, measure_imposed, random_model

    rates = (0.1, 0.3, 0.5, 0.8)
    model, costs = random_model("lgvit", card)
    console.print("speed-up in time (in MACs) with LGViT's heads; columns: share that leaves at every exit it reaches")
    console.print("  batch " + "".join(f"{rate:>16.0%}" for rate in rates))
    for size in sorted({1, 8, batch_size}):
        cells = []
        for rate in rates:
            timing, _ = measure_imposed(
                model, costs, geometric_shares(rate, len(BLOCKS) + 1), card,
                batch_size=size, batches=max(batches, 32 // size), warmup=warmup, device=device,
            )  # fmt: skip
            cells.append(f"{timing.speedup:.2f}x ({timing.mac_speedup:.2f}x)")
        console.print(f"  {size:>5} " + "".join(f"{cell:>16}" for cell in cells))

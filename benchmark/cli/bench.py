"""``python -m benchmark bench``: measure data loading, dynamic inference and exported models on this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from rich.console import Console

from benchmark import registry
from benchmark.cli.option_values import registered
from benchmark.cli.options import Device, data_dir_option
from benchmark.environment import require_deploy, require_torch
from benchmark.errors import UserError
from datasets.augment import AUGMENTATIONS
from datasets.folder import absolute, is_folder
from methods.lookup import unknown
from results.spec import DEFAULT_RECIPES, Configured, Recipes, TrainSpec

DEPTH = 12
"""Blocks of the backbone whose exit shares `bench export` uses."""
TARGET = 0.95
"""Share of the MAC speed-up that dynamic inference should reach in time."""


@click.group("bench", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Measure data loading, dynamic inference and exported models on this machine.

    \b
    Examples:
      python -m benchmark bench loader
      python -m benchmark bench dynamic
      python -m benchmark bench export
    """


@command.command("loader")
@click.option("--dataset", default="fashion-mnist-mini", show_default=True, help="A name, or folder:PATH.")
@click.option("--backbone", default="vit_nano_patch4_28", show_default=True, help="Sets image size and training step.")
@click.option("--augment", default="crop-flip", show_default=True, help="The augmentation.")
@click.option("--batch-size", type=click.IntRange(min=1), default=64, show_default=True)
@click.option(
    "--batches", type=click.IntRange(min=1), default=50, show_default=True, help="Timed batches, after 2 for warm-up."
)
@click.option("--loader-workers", type=click.IntRange(min=0), multiple=True, help="Repeatable; by default 0, 1 and 2.")
@click.option(
    "--device", type=Device(), metavar="NAME", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."
)
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
    """Measure images per second of the data loader, and how long a training step waits for them.

    \b
    Examples:
      python -m benchmark bench loader
      python -m benchmark bench loader --dataset food-101 --loader-workers 8
    """
    train = _train_spec(dataset, backbone, augment, batch_size)
    require_torch()
    # These import torch, which takes seconds: --help and mistakes in the options are answered without it.
    from benchmark.execution.device import usable_device
    from benchmark.measure.loader_speed import measure_loaders

    chosen_device = usable_device(device)
    console = Console(highlight=False)
    console.print(
        f"{train.dataset.name} for {backbone}, {augment}, batches of {batch_size}, {chosen_device}",
        markup=False, soft_wrap=True,
    )  # fmt: skip
    for speed in measure_loaders(train, data_dir, loader_workers or (0, 1, 2), chosen_device, batches):
        console.print(
            f"{speed.workers:>3} loader workers: {speed.alone:,.0f} images/s alone, {speed.training:,.0f} in training;"
            f" {100 * speed.waiting:.1f} % of a step waits for data",
            soft_wrap=True,
        )


def _train_spec(dataset: str, backbone: str, augment: str, batch_size: int) -> TrainSpec:
    """The training of a `static` run on this dataset and backbone.

    Raises:
        UserError: a name is unknown.
    """
    name = absolute(dataset, Path.cwd()) if is_folder(dataset) else dataset
    registered("dataset", name, "--dataset")
    registered("backbone", backbone, "--backbone")
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


@command.command("dynamic")
@click.option(
    "--backbone",
    type=click.Choice(["vit_small_patch16_224", "vit_nano_patch4_28"]),
    default="vit_small_patch16_224",
    show_default=True,
)
@click.option("--batch-size", type=click.IntRange(min=1), default=32, show_default=True)
@click.option("--batches", type=click.IntRange(min=1), default=10, show_default=True, help="Timed batches.")
@click.option("--warmup", type=click.IntRange(min=1), default=2, show_default=True, help="Warm-up batches, not timed.")
@click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True, help="CPU threads.")
@click.option(
    "--device", type=Device(), metavar="NAME", default="cpu", show_default=True, help="auto, cpu, cuda or cuda:N."
)
@click.option("--map", "with_map", is_flag=True, help="Also measure several batch sizes and exit rates.")
def dynamic(
    backbone: str, batch_size: int, batches: int, warmup: int, threads: int, device: str, with_map: bool
) -> None:
    """Measure how much of the speed-up in MACs dynamic inference reaches in time, at fixed exit shares.

    The exit shares are those of LGViT's released ViT-B for CIFAR-100 at threshold 0.90; the weights are random. Models with
    LGViT's heads and with linear heads are compared with the backbone without exits. Other work on the machine distorts the
    result.

    \b
    Examples:
      python -m benchmark bench dynamic
      python -m benchmark bench dynamic --map --batches 4
    """
    require_torch()
    # These import torch, which takes seconds: --help is answered without it.
    from benchmark.execution.device import usable_device
    from benchmark.measure import dynamic_speed

    console = Console(highlight=False)
    card = registry.card("backbone", backbone)
    setup = dynamic_speed.TimingSetup(card, batch_size, batches, warmup, usable_device(device), threads)
    console.print(f"{backbone}, batch size {batch_size}, {batches} batches, {setup.device}, threads: {threads}")
    for method in ("lgvit", "vanilla"):
        timing, parts = dynamic_speed.measure_released_shares(method, setup)
        verdict = "reached" if timing.realised >= TARGET else "missed"
        console.print(
            f"heads of {method}: {timing.speedup:.2f}x in time, {timing.mac_speedup:.2f}x in MACs,\n"
            f"  {timing.realised:.3f} realised (target {TARGET}: {verdict})"
        )
        console.print(f"  {'':<17} ms per batch   more than its MACs take in the backbone")
        for part in parts:
            console.print(f"  {part.name:<17}{part.milliseconds:13.1f}   {part.excess:+.1f}")
    if with_map:
        console.print("speed-up in time (in MACs) with LGViT's heads; columns: share of the samples")
        console.print("that leaves at each exit that they reach")
        console.print("  batch " + "".join(f"{rate:>16.0%}" for rate in dynamic_speed.EXIT_RATES))
        for size in sorted({1, 8, batch_size}):
            timings = dynamic_speed.measure_exit_rates("lgvit", replace(setup, batch_size=size))
            cells = (f"{timing.speedup:.2f}x ({timing.mac_speedup:.2f}x)" for timing in timings)
            console.print(f"  {size:>5} " + "".join(f"{cell:>16}" for cell in cells))


@command.command("export")
@click.option("--backbone", default="vit_small_patch16_224", show_default=True, help="A backbone of 12 blocks.")
@click.option("--batch-size", type=click.IntRange(min=1), default=32, show_default=True)
@click.option("--batches", type=click.IntRange(min=1), default=10, show_default=True, help="Timed batches.")
@click.option("--warmup", type=click.IntRange(min=1), default=2, show_default=True, help="Warm-up batches, not timed.")
@click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True, help="CPU threads.")
def exported(backbone: str, batch_size: int, batches: int, warmup: int, threads: int) -> None:
    """Measure an exported model with LGViT's heads beside the exported backbone without exits, in onnxruntime on the CPU.

    The exit shares are those of `bench dynamic`; the weights are random. Both models run in alternation on the same batches.

    \b
    Example:
      python -m benchmark bench export --batch-size 1 --batches 50
    """
    card = registered("backbone", backbone, "--backbone")
    if card.depth != DEPTH:
        raise UserError(f"--backbone {backbone}: has {card.depth} blocks; the exit shares are those of {DEPTH} blocks")
    require_torch()
    require_deploy("onnx", "onnxruntime")
    # This imports torch and onnxruntime, which takes seconds: --help is answered without them.
    from benchmark.deployment.exported_speed import measure_exported

    with TemporaryDirectory() as folder:
        timing = measure_exported(card, batch_size, batches, warmup, threads, Path(folder))
    click.echo(f"{backbone}, batch size {batch_size}, {batches} batches, threads: {threads}, onnxruntime, CPU")
    click.echo(f"  backbone without exits: {timing.backbone:.2f} ms per image")
    click.echo(f"  model with exits:       {timing.cascade:.2f} ms per image")
    click.echo(f"  {timing.speedup:.2f}x in time, {timing.mac_speedup:.2f}x in MACs: {timing.realised:.3f} realised")

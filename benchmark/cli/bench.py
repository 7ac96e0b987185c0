"""``python -m benchmark bench``: performance claims that anyone can reproduce. Ratios within one run, not absolute times."""

from __future__ import annotations

import click
from rich.console import Console

from benchmark.cli.options import require_torch


@click.group("bench", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Measure the suite itself.

    \b
    Example:
      python -m benchmark bench sweep
    """


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

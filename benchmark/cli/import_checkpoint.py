"""``python -m benchmark import-checkpoint``: make a run from a checkpoint of the authors' code."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from benchmark.cli.option_values import registered
from benchmark.cli.options import Device, InputFile, OutputPath, data_dir_option
from benchmark.environment import require_torch
from results.spec import Configured
from results.store.folder import Store


@click.command("import-checkpoint")
@click.argument("file", type=InputFile())
@click.option(
    "--config", "config_file", required=True, metavar="config.json", type=InputFile(), help="Its config.json."
)
@click.option(
    "--out",
    required=True,
    type=OutputPath(),
    help="The results folder; made if it does not exist.",
)
@click.option("--dataset", metavar="NAME", help="Score the model on halves of its official test set.")
@click.option("--resplit", type=click.IntRange(0, 9), default=0, show_default=True, help="Which of ten random halves.")
@data_dir_option
@click.option(
    "--device", type=Device(), metavar="NAME", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."
)
def command(
    file: Path, config_file: Path, out: Path, dataset: str | None, resplit: int, data_dir: Path | None, device: str
) -> None:
    """Read a released checkpoint of falcon-xu/LGViT (ViT, DeiT or Swin; .bin or .safetensors) into a results folder.

    Every key is checked: if one is unknown, missing or of another shape, the command names it and writes nothing. With
    --dataset the model is scored and becomes a finished run: thresholds are chosen on one half of the official test set and
    applied to the other; the fixed thresholds 0.80, 0.90 and 0.99 are evaluated too. A checkpoint contains no backbone without
    exits, so drops are measured against its own final classifier; the record notes this.

    \b
    Examples:
      python -m benchmark import-checkpoint model.bin --config conf.json --out new
      python -m benchmark import-checkpoint model.bin --config config.json \\
          --out new --dataset cifar-100
      python -m benchmark report --results new
    """
    selection = None
    if dataset is not None:
        registered("dataset", dataset, "--dataset")
        selection = Configured(name=dataset, set={"split": "halves", "resplit": resplit})
    require_torch()
    # These import torch, which takes seconds: --help and mistakes in the options are answered without it.
    from benchmark.execution.device import usable_device
    from benchmark.importing.checkpoint import import_checkpoint

    console = Console(highlight=False)

    def say(text: str) -> None:
        console.print(text, markup=False, soft_wrap=True)

    run_id = import_checkpoint(file, config_file, Store(out), selection, data_dir, usable_device(device), say)
    if run_id is None:
        say("nothing was scored: add --dataset to make a run")
    else:
        say(f"run {run_id} is recorded; next: python -m benchmark report --results {out}")

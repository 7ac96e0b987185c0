"""``python -m benchmark import-checkpoint``: a checkpoint of the authors' code becomes a run of this suite."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from benchmark import registry
from benchmark.cli.options import data_dir_option
from benchmark.environment import require_torch
from benchmark.errors import UserError
from results.spec import Configured
from results.store.folder import Store


@click.command("import-checkpoint")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path, resolve_path=True))
@click.option(
    "--config", "config_file", required=True, metavar="config.json",
    type=click.Path(exists=True, dir_okay=False, path_type=Path, resolve_path=True), help="Its config.json.",
)  # fmt: skip
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, resolve_path=True),
    help="A results folder, made if need be.",
)
@click.option("--dataset", metavar="NAME", help="Score it there, on halves of the official test set.")
@click.option("--resplit", type=click.IntRange(0, 9), default=0, show_default=True, help="Which of ten ways to halve.")
@data_dir_option
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
def command(
    file: Path, config_file: Path, out: Path, dataset: str | None, resplit: int, data_dir: Path | None, device: str
) -> None:
    """Read a released checkpoint of falcon-xu/LGViT (ViT, DeiT or Swin; .bin or .safetensors) into a results folder.

    Every key is accounted for: an unknown, missing or misshapen one is named and nothing is written. With --dataset the
    model is scored and becomes a finished run: thresholds are chosen on one half of the official test set and looked up on
    the other; .80, .90 and .99 stand beside, fixed. A checkpoint has no backbone without exits: drops are against its own
    final classifier, and the record says so.

    \b
    Examples:
      python -m benchmark import-checkpoint pytorch_model.bin --config config.json --out imported
      python -m benchmark import-checkpoint pytorch_model.bin --config config.json --out imported --dataset cifar-100
      python -m benchmark report --results imported
    """
    selection = None
    if dataset is not None:
        try:
            registry.card("dataset", dataset)
        except KeyError as error:
            raise UserError(f"--dataset: {error.args[0]}") from None
        selection = Configured(name=dataset, set={"split": "halves", "resplit": resplit})
    require_torch()
    from benchmark.execution.device import usable_device
    from benchmark.importing.checkpoint import import_checkpoint

    console = Console(highlight=False)

    def say(text: str) -> None:
        console.print(text, markup=False, soft_wrap=True)

    run_id = import_checkpoint(file, config_file, Store(out), selection, data_dir, usable_device(device), say)
    if run_id is None:
        say("no --dataset was named, so nothing was scored; the same command with one makes a run of it")
    else:
        say(f"run {run_id} is recorded; next: python -m benchmark report --results {out}")

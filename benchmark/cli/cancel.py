"""``python -m benchmark cancel``: stop the processes or Slurm jobs that run a grid."""

from __future__ import annotations

from pathlib import Path

import click

from benchmark.cli.options import DEFAULT_GRID, changes_option, data_dir_option, grid_option, results_option
from benchmark.execution.cancelling import cancel, name_of_grid
from results.store.folder import Store


@click.command("cancel")
@grid_option("The grid: a shipped name or a YAML file; without a value, quick.")
@changes_option
@results_option
@data_dir_option
@click.option(
    "--now",
    is_flag=True,
    help="Stop a local command at once; the work since the last checkpoint is lost. Slurm jobs end as without it.",
)
def command(
    grid_name: str | None, changes: tuple[str, ...], results_dir: Path, data_dir: Path | None, now: bool
) -> None:
    """Stop the command that runs a grid in this results folder, and its workers, after their next checkpoint. Slurm jobs of the
    grid are cancelled; running ones first write a checkpoint, for which Slurm gives them its KillWait.

    \b
    Examples:
      python -m benchmark cancel --grid quick
      python -m benchmark cancel --grid quick --now
    """
    store = Store(results_dir)
    for sentence in cancel(store, name_of_grid(store, grid_name or DEFAULT_GRID, data_dir, changes), now=now):
        click.echo(sentence)

"""``python -m benchmark evaluate``: make a run from the answers of a model that this suite did not train."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from benchmark.cli.options import InputFile, results_option
from benchmark.environment import require_torch
from benchmark.errors import UserError
from results.store.folder import Store


@click.command("evaluate")
@click.argument("file", metavar="FILE", type=InputFile())
@results_option
@click.option("--name", metavar="NAME", show_default="name of FILE", help="The method's name in tables and figures.")
@click.option(
    "--val-ids", type=InputFile(), help="Text file with the ids of the val samples; without it, the column split."
)
@click.option("--macs", metavar="N,N,...", help="Cost of leaving at each exit; without it, the column macs.")
@click.option(
    "--baseline", type=float, metavar="N", show_default="of --like, or the last exit's",
    help="MACs of the backbone without exits.",
)  # fmt: skip
@click.option("--blocks", metavar="N,N,...", show_default="1, 2, ..., K", help="Block after which each exit comes.")
@click.option("--like", metavar="RUN", help="A finished run on the same test samples, to be compared with.")
@click.option("--dataset", default="external", show_default=True, help="Name of the dataset, without --like.")
@click.option("--backbone", default="external", show_default=True, help="Name of the backbone, without --like.")
def command(
    file: Path, results_dir: Path, name: str | None, macs: str | None, blocks: str | None, **options: Any
) -> None:
    """Make a run from FILE, a CSV or Parquet table with what the exits of some model predict: one row per sample and exit.

    Columns: sample_id, exit (1 to K, the final classifier last), prediction and label (class indices), confidence in [0, 1];
    split (val or test); macs, what has run when a sample leaves at the exit. Thresholds of the policy confidence are chosen on
    val and applied to test; accuracy drops are against the last exit. The run is marked as external, its costs as claimed.
    report, compare, sweep and list treat it like any other run; it decides no claim of the paper.

    \b
    Examples:
      python -m benchmark evaluate exits.csv --macs 3e6,5e6,8e6 --name theirs
      python -m benchmark evaluate exits.parquet --val-ids val.txt --like RUN
    """
    costs, numbers = _numbers(macs, "--macs"), _numbers(blocks, "--blocks")
    if any(number % 1 for number in numbers or []):
        raise UserError(f"--blocks {blocks}: needs whole numbers separated by commas")
    require_torch()
    # This imports torch, which takes seconds: --help and mistakes in the options are answered without it.
    from benchmark.external.run import evaluate_file

    record = evaluate_file(
        Store(results_dir),
        file,
        file.stem if name is None else name,
        macs=costs,
        blocks=None if numbers is None else [int(number) for number in numbers],
        **options,
    )
    click.echo(f"{record.label}: exits after blocks {', '.join(str(exit_.block) for exit_ in record.exits)}")
    for point in record.points:
        if point.test is not None:
            click.echo(
                f"  {point.name}: accuracy {100 * point.test.accuracy:.1f} % on test, "
                f"{point.test.mean_macs / record.costs.baseline:.3f} of the MACs without exits"
            )
    click.echo(Store(results_dir).run(record.run_id))


def _numbers(text: str | None, option: str) -> list[float] | None:
    try:
        numbers = None if text is None else [float(part) for part in text.split(",")]
    except ValueError:
        numbers = [math.nan]
    if numbers is not None and not all(map(math.isfinite, numbers)):
        raise UserError(f"{option} {text}: needs numbers separated by commas")
    return numbers

"""``python -m benchmark reproduce``: train a finished run again from its record alone, and judge the result."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from benchmark.cli.options import (
    DEFAULT_RESULTS,
    Device,
    OutputPath,
    data_dir_option,
    loader_workers_option,
    offline_option,
    results_option,
)
from benchmark.cli.reproduction_view import say, show_comparison, show_differences, show_record, show_verdict
from benchmark.environment import require_torch
from benchmark.execution.local import run_locally
from benchmark.execution.rerun import prepare_rerun
from benchmark.grid.spec_from_record import LocalPaths
from benchmark.run_reference import find_run
from results.judge.environment_diff import same_bits_expected
from results.judge.failures import failed_records
from results.judge.reproduction import judge
from results.store.folder import Store


@click.command("reproduce")
@click.argument("reference", metavar="RUN")
@results_option
@click.option(
    "--into",
    type=OutputPath(),
    show_default="results/reproduced/RUN of the checkout",
    help="The results folder of the second run.",
)
@data_dir_option
@click.option(
    "--images",
    type=OutputPath(),
    help="For a run on folder:PATH: that folder on this machine.",
)
@click.option(
    "--weights",
    type=OutputPath(),
    help="For a run that starts from a weights file: that file on this machine.",
)
@offline_option
@click.option(
    "--device",
    type=Device(),
    metavar="NAME",
    help="auto, cpu, cuda or cuda:N; by default the record's if it is usable here.",
)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads; by default the record's.")
@loader_workers_option
def command(
    reference: str,
    results_dir: Path,
    into: Path | None,
    data_dir: Path | None,
    images: Path | None,
    weights: Path | None,
    offline: bool,
    device: str | None,
    threads: int | None,
    loader_workers: int | None,
) -> None:
    """Train RUN again from its record, in a results folder of its own, and judge whether the result is the same.

    Only the record is needed: no grid, no weights, no scores. Differences between the two environments are printed before the
    training starts. With the same hardware, packages, threads, code versions and data, every artifact must be bit-identical.
    Otherwise the MACs of every exit must be equal; accuracies without exits, at equal MACs and at fixed thresholds may differ
    by one point or half of the 95 % interval of the paired difference, speed-ups at fixed thresholds by 10 %. Points whose
    threshold was chosen on val for a permitted drop are judged only if the folder holds three seeds of the run; then all
    tolerances are at least the spread over these seeds. Exit code 0: reproduced, 1: not reproduced, 2: a mistake in the call.

    \b
    Examples:
      python -m benchmark reproduce 0123abcd
      python -m benchmark reproduce RUN --results /mnt/theirs --into second-run
    """
    console = Console(highlight=False)
    recorded = Store(results_dir)
    run_id = find_run(reference, recorded.run_ids(), str(recorded.root))
    reproduced = Store(into or DEFAULT_RESULTS / "reproduced" / run_id)
    rerun = prepare_rerun(
        recorded, run_id, reproduced, LocalPaths(images, weights), data_dir, offline, lambda text: say(console, text)
    )
    show_record(console, rerun.record)
    second_id = rerun.run.run_id
    if rerun.plan.missing_runs:
        require_torch()
        # This imports torch, which takes seconds: --help, mistakes in the options and a second verdict do without it.
        from benchmark.execution.rerun_training import differences_here, rerun_config

        config = rerun_config(rerun, device, threads, data_dir, loader_workers)
        show_differences(console, differences_here(rerun, config))
        if run_locally(console, rerun.plan, config).failed:
            (failed,) = failed_records(reproduced, [second_id])
            say(console, f"not reproduced: the second run failed: {failed.cause}")
            raise click.exceptions.Exit(1)
        differences = rerun.differences()
    else:
        differences = rerun.differences()
        show_differences(console, differences)
        say(console, f"the second run in {reproduced.root} is finished; only the verdict is made again")
    reproduction = judge(recorded, reproduced, run_id, second_id, bitwise=same_bits_expected(differences))
    show_comparison(console, reproduction)
    show_verdict(console, reproduction, differences)
    say(console, f"full comparison: python -m benchmark compare {recorded.root} {reproduced.root}")
    if not reproduction.reproduced:
        raise click.exceptions.Exit(1)

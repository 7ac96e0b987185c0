"""``python -m benchmark retry``: runs failed runs again, chosen by their records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmark.cli.grid_report import format_option, report_folder, report_on
from benchmark.cli.grid_run import check_processes, load_with_weights, require_data
from benchmark.cli.options import DEFAULT_GRID, changes_option, execution_options, grid_option
from benchmark.cli.plan_view import show_damaged, show_plan
from benchmark.cli.slurm_options import check_executor, slurm_options
from benchmark.environment import require_tensorboard, require_torch
from benchmark.errors import UserError
from benchmark.execution.config import ExecutionConfig
from benchmark.execution.local import run_locally
from benchmark.execution.retrying import RULES
from benchmark.execution.status import RunStatus, status_of
from benchmark.stages.plan import make_plan
from results.record import FailureCause
from results.store.folder import Store

CAUSES = tuple(cause for cause, rule in RULES.items() if rule.retried and cause != "blocked")
"""A blocked run has the cause of the stage that blocks it."""
NEVER = tuple(cause for cause, rule in RULES.items() if not rule.retried)


@click.command("retry")
@grid_option("The grid: a shipped name or a YAML file; without a value, quick.")
@click.option("--failed", is_flag=True, help="Required: run the failed runs, and the runs blocked by them.")
@click.option(
    "--cause",
    "causes",
    type=click.Choice(CAUSES),
    metavar="CAUSE",
    multiple=True,
    help=f"Only failures with this cause: {', '.join(CAUSES)}. Repeatable.",
)
@changes_option
@execution_options
@format_option(optional=True)
@slurm_options
def command(
    grid_name: str | None,
    failed: bool,
    causes: tuple[FailureCause, ...],
    changes: tuple[str, ...],
    results_dir: Path,
    data_dir: Path | None,
    offline: bool,
    device: str,
    threads: int | None,
    executor: str,
    workers: int,
    gpus: int,
    loader_workers: int | None,
    log: str | None,
    hang_minutes: float,
    out: Path | None,
    formats: tuple[str, ...],
    slurm: Mapping[str, Any],
) -> None:
    """Run failed runs again, and nothing else. Causes and tracebacks of earlier attempts are kept. A loss that was not finite
    would be so again, so those runs are left out.

    On Slurm, a task that ran out of memory requests twice as much, up to --max-mem, and failed nodes are excluded.

    A run that is blocked by a stage of another run has the cause of that stage. `run` instead tries all failed runs again, and
    runs that were never started.

    \b
    Examples:
      python -m benchmark retry --grid quick --failed
      python -m benchmark retry --grid quick --failed --cause oom --workers 1
      python -m benchmark retry --failed --cause oom --executor slurm --mem 64G
    """
    if not failed:
        raise UserError("retry needs --failed; --cause selects some of the failed runs")
    check_executor(executor, slurm, workers=workers > 1, gpus=gpus > 1)
    check_processes(workers, gpus)
    if log == "tensorboard":
        require_tensorboard()
    console = Console()
    grid = load_with_weights(console, grid_name or DEFAULT_GRID, data_dir, offline, changes, here=executor == "local")
    store = Store(results_dir)
    plan = make_plan(grid, store)
    show_damaged(console, plan)
    target = report_folder(out, grid.name, store, formats)
    runs = status_of(plan, store).runs
    chosen = chosen_runs(runs, causes)
    if left_out := [run for run in chosen_runs(runs, NEVER) if not causes]:
        names = ", ".join(NEVER)
        console.print(
            f"{len(left_out)} runs with the cause {names} are left out: {RULES[NEVER[0]].action}", highlight=False
        )
    if not chosen:
        with_cause = f" with the cause {' or '.join(causes)}" if causes else ""
        console.print(f"Grid {grid.name}: no run has failed{with_cause}, nothing to run again", highlight=False)
        return
    part = replace(plan, runs=tuple(status.run for status in chosen))
    config = ExecutionConfig(
        results=results_dir, device=device, threads=threads, data_dir=data_dir, processes=gpus, workers=workers,
        loader_processes=loader_workers, tensorboard=log == "tensorboard", hang_minutes=hang_minutes,
    )  # fmt: skip
    if executor == "slurm":
        from benchmark.cli.slurm import run_on_slurm  # imports submitit

        stages = {run.at.stage.name: run.at for run in chosen if run.at is not None}
        run_on_slurm(console, part, plan, config, target, formats, slurm, failed=list(stages.values()))
        return
    require_data(part, data_dir)
    show_plan(console, part)
    require_torch()
    failed_again = run_locally(console, part, config).failed
    report_on(console, plan, store, target, formats, data_dir)
    if failed_again:
        console.print(f"{len(failed_again)} of {len(chosen)} runs failed again", style="red", highlight=False)
        raise click.exceptions.Exit(1)


def chosen_runs(runs: list[RunStatus], causes: tuple[FailureCause, ...]) -> list[RunStatus]:
    """The failed and blocked runs with one of these causes; without causes, all that `retry` runs again."""
    failed = [run for run in runs if run.state in ("failed", "blocked")]
    return [run for run in failed if (run.failure in causes if causes else run.failure not in NEVER)]

"""``python -m benchmark plan``: what a grid needs, what is there, and why something is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from benchmark.cli.options import DEFAULT_GRID, data_dir_option, grid_option, results_option
from benchmark.errors import UserError
from benchmark.grid.load import find_grid, load_grid
from benchmark.stages.plan import Plan, counted, make_plan, why_stale
from benchmark.stages.stage import Stage
from benchmark.weights import SCRATCH
from methods.lookup import unknown
from results.store.folder import Store

SHOWN_PASSES = 5
WHAT = {
    "finetune": "fine-tune the backbone",
    "joint": "train backbone and exits",
    "exits": "train the exits",
    "scores": "score val and test",
    "cost": "count MACs",
}


@click.command("plan")
@grid_option("The grid: a shipped name or a YAML file; without a value, quick.")
@results_option
@data_dir_option
@click.option("--why", "why_run", metavar="RUN", help="Say which fields make this run's stages new.")
def command(grid_name: str | None, results_dir: Path, data_dir: Path | None, why_run: str | None) -> None:
    """Show a grid's runs and stages, which are finished, and which are shared.

    \b
    Examples:
      python -m benchmark plan --grid quick
      python -m benchmark plan --grid quick --why lgvit-vit_nano_patch4_28-fashion-mnist-mini-paper-s0-0123abcd
    """
    console = Console()
    store = Store(results_dir)
    plan = make_plan(load_grid(find_grid(grid_name or DEFAULT_GRID), data_dir), store)
    if why_run is None:
        show_plan(console, plan, runs=True)
    else:
        _show_why(console, plan, store, why_run)


def show_plan(console: Console, plan: Plan, *, runs: bool = False) -> None:
    """The plan: how many stages of each kind are there, to do, shared; on request also the runs."""
    total, missing = len(plan.runs), len(plan.missing_runs)
    console.print(f"Grid {plan.grid.name}: {total} runs, {total - missing} finished, {missing} to run", highlight=False)
    table = Table("stage", "finished", "to do", "", box=None, pad_edge=False, header_style="bold")
    table.columns[1].justify = table.columns[2].justify = "right"
    to_do = Counter(stage.kind for stage in plan.missing_stages)
    done = Counter(stage.kind for stage in plan.stages if plan.is_done(stage))
    shared_by: dict[str, list[int]] = {kind: [] for kind in WHAT}
    for stage, count in plan.stages.items():
        shared_by[stage.kind].append(count)
    for kind, what in WHAT.items():
        if counts := shared_by[kind]:
            table.add_row(what, str(done[kind]), str(to_do[kind]), _shared(counts))
    console.print(table)
    _show_passes(console, plan)
    weights = {run.spec.train.weights.source: run.spec.train.weights for run in plan.missing_runs}
    for absent in sorted(source for source, found in weights.items() if source != SCRATCH and found.sha256 is None):
        then = "there is no such file" if absent.startswith("file:") else "run fetches it"
        text = f"Weights {absent}: not on this machine ({then}); until then keys and run names are provisional"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    console.print()
    if runs:
        states = ("finished" if run.run_id in plan.done_runs else "to run  " for run in plan.runs)
        lines = (f"{state}  {run.run_id}\n" for state, run in zip(states, plan.runs, strict=True))
        console.file.write("".join(lines))  # at once: rich takes minutes over a hundred thousand lines


def _shared(counts: list[int]) -> str:
    """How many stages of one kind serve several runs; given the number of runs of each."""
    most = max(counts)
    shared = sum(count > 1 for count in counts)
    if not shared:
        return ""
    return f"shared by {most} runs" if shared == len(counts) == 1 else f"{shared} shared by up to {most} runs"


def _show_passes(console: Console, plan: Plan) -> None:
    """Which methods train together."""
    passes: dict[Hashable, list[Stage]] = {}
    for stage in plan.missing_stages:
        if shared := stage.shared_pass:
            passes.setdefault(shared, []).append(stage)
    together = [stages for stages in passes.values() if len(stages) > 1]
    for stages in together[:SHOWN_PASSES]:
        methods = counted(stage.run.train.method.label for stage in stages)
        console.print(f"In one pass over the data: {methods}", markup=False, highlight=False, soft_wrap=True)
    if len(together) > SHOWN_PASSES:
        console.print(f"... and {len(together) - SHOWN_PASSES} more shared passes", highlight=False)


def _show_why(console: Console, plan: Plan, store: Store, run_id: str) -> None:
    runs = {run.run_id: run for run in plan.runs}
    if run_id not in runs:
        raise UserError(f"--why: {unknown('run', run_id, runs)}")
    if run_id in plan.done_runs:
        console.print(f"{run_id} is finished")
        return
    for stage in runs[run_id].chain:
        if plan.is_done(stage):
            console.print(f"{stage.name}: finished", highlight=False)
            continue
        lines = why_stale(stage, store)
        console.print(f"{stage.name}: to do; against the nearest finished {stage.kind} stage:", highlight=False)
        for line in lines or ["there is none"]:
            console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)

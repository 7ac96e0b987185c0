"""``python -m benchmark bench harness``: what the suite itself costs, beside its bars."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from benchmark.cli.options import require_torch

if TYPE_CHECKING:
    from benchmark.measure.command_speed import Timed

LOOP = 0.95
SECONDS = 5.0
REPORT_SECONDS = 60.0
TEST_IMAGES = 4000
"""Of the records that are reported: as many as `quick` has."""
VARIANTS = 5


@click.command("harness")
@click.option("--images", type=click.IntRange(100, 6000), default=2000, show_default=True, help="Of a training epoch.")
@click.option("--epochs", type=click.IntRange(min=1), default=20, show_default=True, help="Of each loop, in turn.")
@click.option("--plan-runs", type=click.IntRange(min=2000), default=100_000, show_default=True)
@click.option("--records", type=click.IntRange(min=4), default=10_000, show_default=True)
@click.option("--grid-runs", type=click.IntRange(min=4), default=1000, show_default=True)
@click.option("--report-runs", type=click.IntRange(min=4), default=1000, show_default=True)
@click.option("--repeats", type=click.IntRange(min=1), default=3, show_default=True, help="Of each command.")
@click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--device", default="cpu", show_default=True, help="auto, cpu, cuda or cuda:N.")
def command(
    images: int,
    epochs: int,
    plan_runs: int,
    records: int,
    grid_runs: int,
    report_runs: int,
    repeats: int,
    threads: int,
    device: str,
) -> None:
    """The training loop beside a bare one, and planning, listing, a second run and the report over very many runs.

    The loops train the smallest ViT over the same loader with the same optimizer, an epoch of each in turn; the rest are
    commands as a user calls them, start of Python included, over records that are made up for it. All numbers are medians; that
    of the loops is over pairs of epochs. Time it on a machine that does nothing else; CPU time, which other work sways less,
    stands beside.

    \b
    Example:
      python -m benchmark bench harness
    """
    require_torch()
    console = Console(highlight=False)
    load = os.getloadavg()[0]
    if load > 0.5:
        console.print(f"others are at work here (load {load:.1f} on {os.cpu_count()} CPUs): wall times are theirs, too")
    _loop(console, images, epochs, threads, device)
    _plan(console, plan_runs, repeats)
    _list(console, records, repeats)
    _second_run(console, grid_runs, repeats)
    _report(console, report_runs)


def _loop(console: Console, images: int, epochs: int, threads: int, device: str) -> None:
    import torch

    from benchmark.execution.device import usable_device
    from benchmark.measure.command_speed import FIRST
    from benchmark.measure.loop_speed import measure_loop
    from benchmark.training.inputs import read_inputs
    from results.spec import Configured, Recipes, RunSpec, TrainSpec

    torch.set_num_threads(threads)
    where = usable_device(device)
    train = TrainSpec(
        dataset=Configured(name="fashion-mnist-mini", set={"train": images}),
        backbone=FIRST,
        method=Configured(name="static"),
        exits=(),
        recipes=Recipes(),
        seed=0,
    )
    inputs = read_inputs(train, None, workers=0)
    found = measure_loop(RunSpec(train=train, scheme="none", policies=()), inputs, epochs, where)
    work = "the same weights" if found.same_work else "other weights: the two did not do the same work"
    low, high = found.middle_half
    console.print(
        f"{'training loop':<14}{found.suite_rate:,.0f} images/s, the bare loop {found.bare_rate:,.0f}: {found.ratio:.3f} of it "
        f"(at least {LOOP}: {_verdict(found.ratio >= LOOP)}; median of {epochs} pairs of epochs, half of them {low:.3f} to "
        f"{high:.3f}); by CPU time {found.cpu_ratio:.3f}; {work}",
        soft_wrap=True,
    )


def _plan(console: Console, runs: int, repeats: int) -> None:
    from benchmark.measure.command_speed import WIDE, time_command, write_grid

    with tempfile.TemporaryDirectory() as name:
        grid = write_grid(Path(name), WIDE, -(-runs // 2000))
        timed = time_command("plan", "--grid", grid, "--results", Path(name) / "results", repeats=repeats)
    _say(console, "plan", timed.output.count("\nto run "), "runs planned", timed)


def _list(console: Console, records: int, repeats: int) -> None:
    from benchmark.grid.load import load_grid
    from benchmark.measure.command_speed import NARROW, time_command, write_grid
    from benchmark.measure.made_up_runs import make_finished
    from results.store.folder import Store

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_finished(load_grid(write_grid(folder, NARROW, -(-records // 4))), Store(folder / "results"), tables=False)
        table = folder / "runs.csv"
        timed = time_command("list", "--runs", "--results", folder / "results", "--out", table, repeats=repeats)
        _say(console, "list", table.read_text(encoding="utf-8").count("\n") - 1, "records listed and tabulated", timed)


def _second_run(console: Console, runs: int, repeats: int) -> None:
    from benchmark.grid.load import load_grid
    from benchmark.measure.command_speed import NARROW, time_command, write_grid
    from benchmark.measure.made_up_runs import make_finished
    from benchmark.stages.plan import make_plan
    from reports.paper import build_report, pass_for_current
    from results.store.folder import Store

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path, store = write_grid(folder, NARROW, -(-runs // 4)), Store(folder / "results")
        grid = load_grid(path)
        make_finished(grid, store)
        run_ids = [run.run_id for run in make_plan(grid, store).runs]
        # The report of the first seed's runs stands in for that of all, which takes minutes and is no part of a second run.
        build_report(store, run_ids[: len(NARROW["methods"])], title="bench", out=folder / "report")
        pass_for_current(folder / "report", store, run_ids)
        before = _files(folder)
        arguments = ("run", "--grid", path, "--results", store.root, "--out", folder / "report")
        timed = time_command(*arguments, repeats=repeats)
        untouched = _files(folder) == before
    found = re.search(r"all (\d+) runs are finished, nothing to run", timed.output)
    what = f"runs found finished, {'nothing' if untouched else 'something'} written,"
    _say(console, "second run", int(found[1]) if found else 0, what, timed)


def _report(console: Console, runs: int, images: int = TEST_IMAGES) -> None:
    """Once: it is long."""
    from benchmark.grid.load import load_grid
    from benchmark.measure.command_speed import NARROW, time_command, write_grid
    from benchmark.measure.made_up_runs import make_finished
    from results.store.folder import Store

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        grid, store = load_grid(write_grid(folder, NARROW, -(-runs // 4))), Store(folder / "results")
        count = make_finished(grid, store, samples=images, variants=VARIANTS)
        timed = time_command("report", "--results", store.root, "--out", folder / "report", repeats=1)
        what = (
            "records reported as PDF, CSV and Markdown"
            if (folder / "report" / "paper.pdf").is_file()
            else "records lost"
        )
    _say(console, "report", count, what, timed, REPORT_SECONDS)


def _files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def _say(console: Console, name: str, count: int, what: str, timed: Timed, bar: float = SECONDS) -> None:
    console.print(
        f"{name:<14}{count:,} {what} in {timed.median:.1f} s (under {bar:g} s: {_verdict(timed.median < bar)}); "
        f"CPU time {timed.cpu_median:.1f} s",
        soft_wrap=True,
    )


def _verdict(reached: bool) -> str:
    return "ok" if reached else "below the bar"

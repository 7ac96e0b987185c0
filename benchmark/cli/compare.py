"""``python -m benchmark compare``: compare two runs or two results folders."""

from __future__ import annotations

from pathlib import Path

import click
import pandas as pd
from rich.console import Console

from benchmark.cli.options import results_option
from benchmark.cli.text_table import text_table
from benchmark.errors import UserError
from benchmark.run_reference import find_run, short_id
from results.store.folder import Store
from results.tables.compare import point_differences, record_differences, set_differences
from results.tables.loading import load_runs
from results.tables.run import STATIC, Run

RIGHT = ("first", "second", "difference", "p", "MACs")
LEGEND = (
    "Accuracy in % of the test images; first minus second, with a 95 % interval over the images; p: exact sign-flip test, "
    "corrected for all points of the two runs (Holm); MACs: of the first, as a multiple of the second's."
)


@click.command("compare")
@click.argument("first")
@click.argument("second")
@results_option
def command(first: str, second: str, results_dir: Path) -> None:
    """Compare FIRST and SECOND: two runs, or two results folders (their runs with the same spec are paired).

    A run is an id or short id in the results folder, or a path to a run in another folder. Shows the differences in spec, code
    and machine, and the accuracies with paired tests on the same test images.

    \b
    Examples:
      python -m benchmark compare 0123abcd 4567cdef
      python -m benchmark compare 0123abcd /mnt/cluster/results/runs/4567cdef
      python -m benchmark compare results /mnt/cluster/results
    """
    console = Console(highlight=False)
    if all(Path(side).is_dir() and not (Path(side) / "record.json").is_file() for side in (first, second)):
        _compare_folders(console, Path(first), Path(second))
    else:
        _compare_runs(console, _load(results_dir, first), _load(results_dir, second))


def _compare_runs(console: Console, first: Run, second: Run) -> None:
    for name, run in (("first", first), ("second", second)):
        console.print(f"{name}: {run.record.run_id}", markup=False, soft_wrap=True)
    for kind, differences in record_differences(first.record, second.record).items():
        console.print(f"{kind}: {'' if differences else 'the same'}", style="bold")
        for entry in differences:
            console.print(f"  {entry.field}: {entry.first} -> {entry.second}", markup=False, soft_wrap=True)
    table = point_differences(first, second)
    _show(console, table)
    if set(table["point"]) == {STATIC} and any(_reaches_points(run) for run in (first, second)):
        console.print(
            "The runs share no operating point: only their backbones without exits are compared.", markup=False
        )
    else:
        console.print(_summary(table), markup=False)


def _reaches_points(run: Run) -> bool:
    """Whether a run has operating points of its own; a run of `static` has none."""
    return any(point.test is not None for point in run.record.points)


def _compare_folders(console: Console, first: Path, second: Path) -> None:
    loaded = []
    for folder in (first, second):
        store = Store(folder)
        runs, problems = load_runs(store, store.run_ids())
        for problem in problems:
            console.print(f"left out: {problem}", markup=False, soft_wrap=True)
        loaded.append(runs)
    table, only_first, only_second = set_differences(*loaded)
    for folder, alone in ((first, only_first), (second, only_second)):
        for run_id in alone:
            console.print(f"only in {folder}: {run_id}", markup=False, soft_wrap=True)
    if table.empty:
        raise UserError(
            f"{first} and {second} have no run with the same spec; to compare two runs of other specs, name their paths"
        )
    groups = {str(run_id): rows for run_id, rows in table.groupby("run_id", sort=False)}
    equal = [run_id for run_id, rows in groups.items() if _is_equal(rows)]
    for run_id, rows in groups.items():
        if run_id not in equal:
            console.print(f"{short_id(run_id)}  {run_id}", markup=False, style="bold", soft_wrap=True)
            _show(console, rows)
            console.print(_summary(rows), markup=False)
    console.print(f"{len(equal)} of {len(groups)} pairs of runs have the same results at every operating point")


def _load(results_dir: Path, reference: str) -> Run:
    folder, name = results_dir, reference
    if "/" in reference:
        folder, name = Path(reference).parent, Path(reference).name
        folder = folder.parent if folder.name == "runs" else folder
    store = Store(folder)
    try:
        run_id = find_run(name, store.run_ids(), str(store.root))
    except UserError as error:
        raise UserError(f"{error}; compare takes two runs or two results folders") from None
    runs, problems = load_runs(store, [run_id])
    if problems:
        raise UserError(*problems)
    return runs[0]


def _show(console: Console, table: pd.DataFrame) -> None:
    paired = table["low"].notna()
    ratio = table["first_macs"] / table["second_macs"]
    columns = {
        "point": list(table["point"]),
        "first": [f"{100 * value:.1f}" for value in table["first"]],
        "second": [f"{100 * value:.1f}" for value in table["second"]],
        "difference": [f"{100 * value:+.1f}" for value in table["difference"]],
        "interval": [
            f"[{100 * low:+.1f}, {100 * high:+.1f}]" if both else "other images"
            for both, low, high in zip(paired, table["low"], table["high"], strict=True)
        ],
        "p": [_p(value) if both else "" for both, value in zip(paired, table["p_holm"], strict=True)],
        "MACs": [f"{value:.2f}x" if value == value else "" for value in ratio],
    }
    for line in text_table(columns, console.width, optional=["first", "second"], right=RIGHT):
        console.print(line, markup=False, soft_wrap=True)
    console.print(LEGEND, markup=False)


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _is_equal(table: pd.DataFrame) -> bool:
    """Whether two runs classify the same images correctly, at the same cost, at every operating point."""
    equal_macs = (table["first_macs"] == table["second_macs"]) | (table["point"] == STATIC)
    return bool((equal_macs & (table["discordant"] == 0)).all())


def _summary(table: pd.DataFrame) -> str:
    """One sentence: where the two runs differ, and how sure that is."""
    if _is_equal(table):
        return "The results are the same: accuracy and MACs are equal at every operating point."
    tested = table[table["p_holm"].notna()]
    if tested.empty:
        return "The runs were tested on other images, so differences in accuracy cannot be tested pair by pair."
    clear = tested[tested["p_holm"] < 0.05]
    first, second = int((clear["difference"] > 0).sum()), int((clear["difference"] < 0).sum())
    return (
        f"Of {len(tested)} points, the first is more accurate at {first} and the second at {second} (corrected p below 0.05); "
        f"at the other {len(tested) - len(clear)} no difference is shown."
    )

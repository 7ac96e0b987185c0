"""``python -m benchmark compare``: compare two runs or two results folders."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click
import pandas as pd
from rich.console import Console

from benchmark.cli.options import results_option
from benchmark.errors import UserError
from benchmark.run_reference import find_run, short_id
from benchmark.text_table import text_table, wrapped
from methods.lookup import listed
from results.metric import Metric
from results.store.folder import Store
from results.tables.compare import AXES, Difference, disjoint_axes, match, point_differences, record_differences
from results.tables.loading import load_runs
from results.tables.run import STATIC, Run

SHOWN = 5
"""Runs that only one of two folders has, and that are named."""
RIGHT = ("first", "second", "difference", "p", "MACs")
LEGEND = (
    "{metric} on test; first minus second, with a 95 % interval over the images; p: exact sign-flip test, "
    "corrected for all points of the two runs (Holm); MACs: of the first, as a multiple of the second's."
)


@click.command("compare")
@click.argument("first")
@click.argument("second")
@results_option
def command(first: str, second: str, results_dir: Path) -> None:
    """Compare FIRST and SECOND: two runs, or two results folders.

    The runs of two folders are paired by their spec; the rest by method, backbone, data, exits and seed.

    A run is an id or short id in the results folder, or a path to a run in another folder. Shows the differences in spec, code
    and machine, and accuracy, mIoU or AP with paired tests on the same test images.

    \b
    Examples:
      python -m benchmark compare 0123abcd 4567cdef
      python -m benchmark compare 0123abcd /mnt/cluster/results/runs/4567cdef
      python -m benchmark compare results /mnt/cluster/results
    """
    console = Console(highlight=False)
    folders = [side for side in (first, second) if Path(side).is_dir() and not (Path(side) / "record.json").is_file()]
    if len(folders) == 2:
        _compare_folders(console, Path(first), Path(second))
    elif folders:
        (other,) = {first, second} - set(folders)
        raise UserError(
            f"{folders[0]} is a results folder and {other} is none; compare takes two runs or two results folders"
        )
    else:
        _compare_runs(console, _load(results_dir, first), _load(results_dir, second))


def _compare_runs(console: Console, first: Run, second: Run) -> None:
    for name, run in (("first", first), ("second", second)):
        _show_lines(console, run.record.run_id, f"{name}: ", "  ")
    for kind, differences in record_differences(first.record, second.record).items():
        console.print(f"{kind}: {'' if differences else 'the same'}", style="bold")
        _show_changes(console, differences)
    if first.metric is not second.metric:
        tasks = " and ".join(run.record.data.task for run in (first, second))
        console.print(f"The results are not compared: they are of {tasks}.", markup=False)
        return
    table = point_differences(first, second)
    _show(console, table, first.metric)
    if set(table["point"]) == {STATIC} and any(_reaches_points(run) for run in (first, second)):
        console.print(
            "The runs share no operating point: only their backbones without exits are compared.", markup=False
        )
    else:
        console.print(_summary(table, first.metric), markup=False)


def _show_lines(console: Console, text: str, first: str = "", rest: str = "") -> None:
    console.print("\n".join(wrapped(text, console.width, first, rest)), markup=False, soft_wrap=True)


def _show_changes(console: Console, changes: Iterable[Difference]) -> None:
    for entry in changes:
        _show_lines(console, f"{entry.field}: {entry.first} -> {entry.second}", "  ", "    ")


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
    for folder, runs in zip((first, second), loaded, strict=True):
        if not runs:
            raise UserError(f"there is no finished run in {folder / 'runs'}")
    matched = match(*loaded)
    if not matched.equal and not matched.similar:
        raise UserError(_nothing_in_common(first, second, *loaded))
    for folder, alone in ((first, matched.only_first), (second, matched.only_second)):
        if alone:
            more = f" and {len(alone) - SHOWN} more" if len(alone) > SHOWN else ""
            _show_lines(console, f"only in {folder}: {', '.join(map(_named, alone[:SHOWN]))}{more}")
    pairs, same = [*matched.equal, *matched.similar], 0
    for pair in pairs:
        table = point_differences(*pair)
        if _is_equal(table):
            same += 1
            continue
        names = dict.fromkeys(_named(run.record.run_id) for run in pair)
        console.print(" against ".join(names), markup=False, style="bold", soft_wrap=True)
        _show_changes(console, record_differences(*(run.record for run in pair))["spec"])
        _show(console, table, pair[0].metric)
        _show_lines(console, _summary(table, pair[0].metric))
    _show_lines(console, f"{same} of {len(pairs)} pairs of runs have the same results at every operating point.")
    if matched.similar:
        count = "All" if not matched.equal else str(len(matched.similar))
        _show_lines(console, f"{count} of the pairs have the same {', '.join(AXES)}, and another spec.")


def _named(run_id: str) -> str:
    """The short id of a run, and the rest of its id."""
    return f"{short_id(run_id)} ({run_id.removesuffix('-' + short_id(run_id))})"


def _nothing_in_common(first: Path, second: Path, *loaded: list[Run]) -> str:
    """Why no run of a folder can be compared with one of the other."""
    details = [
        f"{name}: {listed(of_first)} in the first, {listed(of_second)} in the second"
        for name, (of_first, of_second) in disjoint_axes(*loaded).items()
    ]
    text = f"{first} and {second} have no run with the same {', '.join(AXES)}"
    return f"{text} ({'; '.join(details)})" if details else text


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


def _show(console: Console, table: pd.DataFrame, metric: Metric) -> None:
    paired = table["p"].notna()
    ratio = table["first_macs"] / table["second_macs"]
    columns = {
        "point": list(table["point"]),
        "first": [f"{100 * value:.1f}" for value in table["first"]],
        "second": [f"{100 * value:.1f}" for value in table["second"]],
        "difference": [f"{100 * value:+.1f}" for value in table["difference"]],
        "interval": [
            _interval(low, high) if both else "other images"
            for both, low, high in zip(paired, table["low"], table["high"], strict=True)
        ],
        "p": [_p(value) if both else "" for both, value in zip(paired, table["p_holm"], strict=True)],
        "MACs": [f"{value:.2f}x" if value == value else "" for value in ratio],
    }
    for line in text_table(columns, console.width, optional=["first", "second"], right=RIGHT):
        console.print(line, markup=False, soft_wrap=True)
    legend = LEGEND.format(metric=f"{metric.title} in %")
    console.print(f"{legend} {metric.explained()}".rstrip(), markup=False)


def _interval(low: float, high: float) -> str:
    return f"[{100 * low:+.1f}, {100 * high:+.1f}]" if low == low else "equal"  # see `paired_interval_unbounded`


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _is_equal(table: pd.DataFrame) -> bool:
    """Whether two runs classify the same images correctly, at the same cost, at every operating point."""
    equal_macs = (table["first_macs"] == table["second_macs"]) | (table["point"] == STATIC)
    return bool((equal_macs & (table["discordant"] == 0)).all())


def _summary(table: pd.DataFrame, metric: Metric) -> str:
    """One sentence: where the two runs differ, and how sure that is."""
    if _is_equal(table):
        return f"The results are the same: {metric.name} and MACs are equal at every operating point."
    tested = table[table["p_holm"].notna()]
    if tested.empty:
        return f"The runs were tested on other images, so differences in {metric.name} cannot be tested pair by pair."
    clear = tested[tested["p_holm"] < 0.05]
    first, second = int((clear["difference"] > 0).sum()), int((clear["difference"] < 0).sum())
    return (
        f"Of {len(tested)} points, the first has the higher {metric.name} at {first} and the second at {second} (corrected p "
        f"below 0.05); no difference is shown at {len(tested) - len(clear)}."
    )

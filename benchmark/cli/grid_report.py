"""The report at the end of `run` and `retry`, and the option ``--format``, which `report` has too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmark.cli.options import REPORTS_OUT
from benchmark.stages.plan import Plan
from benchmark.text_table import wrapped
from reports.report_folder import DEFAULT, FORMATS, SUMMARY, check_replaceable, is_current, report_files
from results.store.folder import Store

NO_REPORT = "none"
TIDY = (".csv", ".parquet")
"""Endings of tables for other programs, which are listed in one line."""
NAME = 17
"""Characters of the column of file names."""


def format_option(*, optional: bool = False):  # type: ignore[no-untyped-def]
    """The option ``--format``; the command gets the formats in the order of `FORMATS`, and none of them for `NO_REPORT`.

    Args:
        optional: whether the report can be left out by `NO_REPORT`.
    """
    return click.option(
        "--format",
        "formats",
        type=click.Choice([*FORMATS, *([NO_REPORT] if optional else [])]),
        multiple=True,
        callback=_selected,
        show_default="pdf, csv and markdown",
        help="Format of the report; repeatable." + (f" {NO_REPORT} writes no report." if optional else ""),
    )


def _selected(context: click.Context, option: click.Parameter, values: Sequence[str]) -> tuple[str, ...]:
    if NO_REPORT in values and set(values) != {NO_REPORT}:
        raise click.BadParameter(f"{NO_REPORT} excludes other formats", context, option)
    return tuple(name for name in FORMATS if name in (values or DEFAULT))


def report_folder(out: Path | None, grid: str, store: Store, formats: Sequence[str]) -> Path:
    """The report's folder, checked before the training and not after it.

    Raises:
        StoreError: the folder contains something other than a report, or it contains the records.
    """
    target = out or REPORTS_OUT / grid
    if formats:
        check_replaceable(target, store, formats)
    return target


def write_report(console: Console, store: Store, run_ids: list[str], **options: Any) -> None:
    """Call `reports.paper.build_report` with these options, and print what the report leaves out."""
    # It imports the plotting packages, which takes seconds, and most calls of `run` find an up-to-date report.
    from reports.paper import build_report

    for problem in build_report(store, run_ids, **options):
        console.print(f"left out: {problem}", markup=False, highlight=False, soft_wrap=True)


def report_on(
    console: Console, plan: Plan, store: Store, out: Path, formats: Sequence[str], data_dir: Path | None
) -> None:
    """Write the report unless an up-to-date one exists, and print its table and the files."""
    run_ids = [run.run_id for run in plan.runs]
    if not any(store.is_done(run_id) for run_id in run_ids):
        console.print("No run is finished, so there is nothing to report")
        return
    if formats and not is_current(out, store, run_ids, formats):
        from benchmark.pictures import Pictures  # imports array packages; as in `write_report`

        console.print("Writing the report ...")
        write_report(
            console, store, run_ids, title=plan.grid.name, out=out, pictures=Pictures(data_dir), formats=formats
        )
    console.print(f"Records: {store.root / 'runs'}", markup=False, highlight=False, soft_wrap=True)
    if formats:
        show_report(console, out)


def show_report(console: Console, out: Path, *, full: bool = False) -> None:
    """Print what a report found: in short, or all of its tables; then where its files are, those for reading by name."""
    text = (out / ("table.txt" if full else SUMMARY)).read_text(encoding="utf-8")
    console.print(text, markup=False, highlight=False, soft_wrap=True)
    files = report_files(out)
    lines = [f"Report: {out}"]
    names = [path.name for path, _ in files if path.suffix in TIDY]
    for path, content in files:
        if path.suffix not in TIDY:
            lines += wrapped(content, console.width, f"  {path.name:<{NAME}}")
    for ending in TIDY:
        if tables := [name for name in names if name.endswith(ending)]:
            lines += wrapped(
                f"{len(tables)} tidy tables: {', '.join(tables)}", console.width, f"  {'*' + ending:<{NAME}}"
            )
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)

"""``python -m benchmark clean``: remove stages and runs that no grid on disk names."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from benchmark import registry
from benchmark.cli.options import changes_option, data_dir_option, results_option
from benchmark.cli.units import size
from benchmark.errors import UserError
from benchmark.execution.cleaning import PARTS, Unused, remove, unused
from benchmark.grid.load import Grid, find_grid, load_grid
from benchmark.grid.yaml_files import ValueLoader, read_mapping
from benchmark.run_reference import short_id
from benchmark.text_table import text_table, wrapped
from results.store.folder import Store

SHOWN = 10
TITLES = {"runs": "runs", "stages": "finished stages", "progress": "checkpoints"}


@click.command("clean")
@click.option(
    "--grid", "grid_names", multiple=True, metavar="NAME|PATH", help="Another grid whose results stay; repeatable."
)
@changes_option
@results_option
@data_dir_option
@click.option("--yes", is_flag=True, help="Remove them; without it, they are only listed.")
@click.option("--full", is_flag=True, help="List all of them, not only the largest.")
def command(
    grid_names: tuple[str, ...],
    changes: tuple[str, ...],
    results_dir: Path,
    data_dir: Path | None,
    yes: bool,
    full: bool,
) -> None:
    """List the stages and runs that no grid on disk names, with their sizes; with --yes, remove them.

    The grids on disk are the shipped ones, the YAML files of the current folder, and those of --grid. Results of earlier code
    versions and of changed grids are named by no grid, and neither are runs that were changed by --set, unless
    the same --set is given here with their --grid. Imported and external runs, links, and what a process is working on stay.

    \b
    Examples:
      python -m benchmark clean
      python -m benchmark clean --grid experiments/mine.yaml --yes
    """
    console = Console(highlight=False)
    store = Store(results_dir)
    grids = _grids(grid_names, changes, data_dir)
    _check_jobs(store)
    entries = unused(grids, store)
    others = ", ".join(grid.source.name for grid in grids if registry.grids().get(grid.name) != grid.source)
    text = f"Results of {len({grid.source for grid in grids})} grids stay: the shipped ones{f', {others}' if others else ''}."
    console.print("\n".join(wrapped(text, console.width)), markup=False, soft_wrap=True)
    if not entries:
        console.print("There is nothing else in this results folder.")
        return
    for line in _listed(entries, console.width, None if full else SHOWN):
        console.print(line, markup=False, soft_wrap=True)
    if not yes:
        console.print("Nothing was removed. The same command with --yes removes them.")
        return
    removed = left = 0
    for entry, reason in remove(entries, store):
        if reason is None:
            removed += entry.bytes
        else:
            left += 1
            console.print(f"left: {entry.name}: {reason}", markup=False, soft_wrap=True)
    console.print(f"Removed {size(removed)}{f'; {left} folders were left' if left else ''}.")


def _grids(names: tuple[str, ...], changes: tuple[str, ...], data_dir: Path | None) -> list[Grid]:
    """The shipped grids, those of the current folder, and those that the user named.

    Args:
        names: of other grids; with `changes`, their changed forms stay too.
        changes: of ``--set``.
        data_dir: the user's folder of datasets.

    Raises:
        UserError: a grid cannot be read, so that it is not known what it names, or there are changes without a grid.
    """
    if changes and not names:
        raise UserError("--set replaces a value of a grid: name the grid with --grid")
    paths = [*registry.grids().values(), *map(find_grid, names)]
    paths += [path for path in sorted(Path.cwd().glob("*.y*ml")) if path.is_file() and _is_grid(path)]
    grids = [load_grid(path, data_dir) for path in dict.fromkeys(path.resolve() for path in paths)]
    return grids + [load_grid(find_grid(name), data_dir, changes) for name in names if changes]


def _is_grid(path: Path) -> bool:
    """Whether a YAML file looks like a grid; others, such as a site's configuration, lack its required keys."""
    try:
        content = read_mapping(path, ValueLoader, "a grid")
    except UserError:  # it may be a grid with a mistake: its lines show
        text = path.read_text(encoding="utf-8", errors="replace")
        return "backbones:" in text and "methods:" in text
    return sum(key in content for key in ("backbones", "datasets", "methods")) >= 2


def _check_jobs(store: Store) -> None:
    """
    Raises:
        UserError: Slurm jobs of this folder wait or run, or Slurm does not answer.
    """
    if not (store.root / "submissions").is_dir():
        return
    # Imports submitit, which only folders with submissions need.
    from benchmark.execution.slurm import scheduler
    from benchmark.execution.slurm.jobs import tasks_in_flight

    tasks = tasks_in_flight(store.root) if scheduler.is_installed() else []
    if tasks:
        raise UserError(f"{len(tasks)} Slurm tasks of {store.root} wait or run; clean after their end, or cancel them")


def _listed(entries: list[Unused], width: int, most: int | None) -> list[str]:
    """A table of the sizes, and the largest folders."""
    of_part = {part: [entry for entry in entries if entry.part == part] for part in PARTS}
    present = {part: entries_of_part for part, entries_of_part in of_part.items() if entries_of_part}
    columns = {
        "no grid names": [*(TITLES[part] for part in present), "all"],
        "number": [*(str(len(each)) for each in present.values()), str(len(entries))],
        "size": [size(sum(entry.bytes for entry in each)) for each in [*present.values(), entries]],
    }
    largest = sorted(entries, key=lambda entry: -entry.bytes)[:most]
    rows = {
        "size": [size(entry.bytes) for entry in largest],
        "": [{"runs": "run", "stages": "stage", "progress": "checkpoint"}[entry.part] for entry in largest],
        "name": [entry.name if entry.part != "runs" else _run(entry.name, width) for entry in largest],
    }
    more = [f"... and {len(entries) - len(largest)} more: --full"] if len(largest) < len(entries) else []
    tables = [text_table(columns, width, right=["number", "size"]), text_table(rows, width, right=["size"])]
    return ["", *tables[0], "", *tables[1], *more, ""]


def _run(run_id: str, width: int) -> str:
    """The id of a run; where the terminal is too narrow its short id, with the method if that is registered."""
    if len(run_id) <= width - 20:
        return run_id
    methods = [name for name in registry.TABLES["method"] if run_id.startswith(f"{name}-")]
    return short_id(run_id) + (f" ({max(methods, key=len)})" if methods else "")

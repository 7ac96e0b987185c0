"""``python -m benchmark new-grid``: write a commented grid file to start from."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from benchmark import registry
from benchmark.errors import UserError
from benchmark.grid.grid_file import file_name
from benchmark.grid.template import template
from benchmark.grid.yaml_files import read_value


@click.command("new-grid")
@click.argument("name")
def command(name: str) -> None:
    """Write NAME.yaml into the current folder: a small grid that can be run as it is, with a comment on each key.

    NAME may be a path. A file that exists is not replaced.

    \b
    Examples:
      python -m benchmark new-grid mine
      python -m benchmark plan --grid mine.yaml
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else Path(f"{name}.yaml")
    try:
        grid_name = file_name(path.stem)
    except ValueError as error:
        raise UserError(f"{path.stem!r}: {error}") from None
    if grid_name in registry.grids():
        raise UserError(f"{grid_name!r} is the name of a shipped grid, and reports are filed by name: choose another")
    quoted = grid_name if read_value(grid_name) == grid_name else f"'{grid_name}'"  # YAML reads 2024 as a number
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(template(quoted))
    except FileExistsError:
        raise UserError(f"{path} exists and is not replaced: choose another name") from None
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from None
    click.echo(f"wrote {path}. Edit it, then: python -m benchmark plan --grid {shlex.quote(str(path))}")

"""``python -m benchmark doctor``: what is missing on this machine, and how to mend it."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from benchmark.cli.options import data_dir_option, results_option
from benchmark.doctor.checks import examine, plain_checks
from benchmark.errors import UserError
from results.check import Check

COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}
MARGIN = 20
DEVICES = re.compile(r"cpu|cuda(:\d+)?")


@click.command("doctor")
@click.option("--device", metavar="cpu|cuda|cuda:N", help="Also run a small grid on it and check what it computes.")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
@results_option
@data_dir_option
def command(device: str | None, as_json: bool, results_dir: Path, data_dir: Path | None) -> None:
    """Look at Python, packages, hardware, disk, data and weights; each line is ok, warn or fail with the mend.

    With --device it also takes some minutes to run the grid smoke there, in a temporary folder: whether the device answers as
    the CPU does, in float32 and bfloat16, whether true dynamic inference leaves where the sweep says, and whether a killed
    training goes on to the same bits. What it finds is kept in the results folder; until a GPU has passed, reports call what
    it made the work of an unverified device. Exits with 1 if anything fails.

    \b
    Examples:
      python -m benchmark doctor
      python -m benchmark doctor --device cuda
      python -m benchmark doctor --device cpu --json
    """
    if device is not None and not DEVICES.fullmatch(device):
        raise UserError(f"--device: cpu, cuda or cuda:N, not {device!r}")
    screen = _Screen(quiet=as_json)
    for name, check in plain_checks(results_dir, data_dir).items():
        screen.show(name, check)
    stored = _examine_device(screen, device, results_dir) if device else None
    lines = screen.lines
    failed, warned = (sum(line.status == status for line in lines) for status in ("fail", "warn"))
    if as_json:
        checks = [asdict(line) for line in lines]
        click.echo(json.dumps({"checks": checks, "failed": failed, "warned": warned, "stored": stored}, indent=1))
    else:
        click.echo(
            f"{len(lines)} checks: {failed} failed, {warned} with a warning" + (f"; kept in {stored}" if stored else "")
        )
    if failed:
        raise click.exceptions.Exit(1)


def _examine_device(screen: _Screen, name: str, results_dir: Path) -> str | None:
    """The checks of the device, and the file in which they are kept; None if it cannot be used."""
    if any(line.status == "fail" for line in screen.lines):
        screen.show("device", lambda: Check("device", "fail", f"{name} was not examined", "first mend the above"))
        return None
    from benchmark.doctor.device import Examination
    from benchmark.execution.device import usable_device
    from benchmark.grid.load import find_grid, load_grid
    from benchmark.provenance import code, machine
    from results.store.devices import DeviceCheck, write_check
    from results.store.folder import Store

    try:
        device = usable_device(name)
    except UserError as error:
        sentence = str(error)
        screen.show("device", lambda: Check("device", "fail", sentence, "see the line gpu"))
        return None
    first = len(screen.lines)
    with tempfile.TemporaryDirectory(prefix="lgvit-bench-doctor-") as work:
        for step, check in Examination(load_grid(find_grid("smoke")), device, Path(work)).steps.items():
            screen.show(step, check)
    result = DeviceCheck(
        machine=machine(str(device)), code=code(), finished=datetime.now(UTC), checks=tuple(screen.lines[first:])
    )
    return str(write_check(Store(results_dir), result))


class _Screen:
    """Shows each line as soon as it is known, unless quiet."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.lines: list[Check] = []

    def show(self, name: str, check: Callable[[], Check]) -> None:
        waits = not self.quiet and sys.stdout.isatty()
        if waits:
            click.echo(f"  ... {name}\r", nl=False)
        line = examine(name, check)
        self.lines.append(line)
        if not self.quiet:
            click.echo(
                ("\x1b[K" if waits else "") + click.style(f"{line.status:<6}", fg=COLOURS[line.status]), nl=False
            )
            click.echo(_hanging(f"{line.name:<{MARGIN - 6}}{line.found}", MARGIN - 6))
            if line.mend:
                click.echo(" " * MARGIN + _hanging(f"-> {line.mend}", 0))


def _hanging(text: str, name: int) -> str:
    """Wrapped to the terminal, with the margin in front of every line but the first."""
    width = max(40, shutil.get_terminal_size().columns) - MARGIN
    lines = textwrap.wrap(text[name:], width, break_long_words=False, break_on_hyphens=False) or [""]
    return text[:name] + f"\n{' ' * MARGIN}".join(lines)

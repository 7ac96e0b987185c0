"""``python -m benchmark doctor``: check this machine, and say how to fix what is missing."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import click

from benchmark.cli.options import data_dir_option, results_option
from benchmark.doctor.checks import examine, plain_checks
from benchmark.environment import require_torch
from benchmark.errors import UserError
from results.check import Check

COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}
MARGIN = 20
DEVICES = re.compile(r"cpu|cuda(:\d+)?")


@click.command("doctor")
@click.option("--device", metavar="cpu|cuda|cuda:N", help="Also check that this device computes correctly.")
@click.option("--rendezvous", metavar="HOST:PORT", help="Instead: test whether nodes meet there, on each of them.")
@click.option("--nodes", type=click.IntRange(min=2), default=2, show_default=True, help="Nodes that meet.")
@click.option("--json", "as_json", is_flag=True, help="Print the checks as JSON.")
@results_option
@data_dir_option
def command(
    device: str | None, rendezvous: str | None, nodes: int, as_json: bool, results_dir: Path, data_dir: Path | None
) -> None:
    """Check Python, packages, hardware, disk, data and weights. Each line is ok, warn or fail, and says how to fix a problem.

    With --device it also runs the grid smoke on that device, in a temporary folder and for some minutes. It checks that the
    device gives the same answers as the CPU in float32 and bfloat16, that dynamic inference takes the exits that the sweep
    predicts, and that a killed training resumes to the same bits. The result is stored in the results folder; until a GPU has
    passed, reports call it an unverified device. Exits with 1 if a check fails.

    With --rendezvous, start the same command on each node within two minutes. They meet at a free port of one node, connect to
    each other, and sum a tensor; a failure names the interface and the port.

    \b
    Examples:
      python -m benchmark doctor
      python -m benchmark doctor --device cuda
      python -m benchmark doctor --device cpu --json
      srun -N 2 python -m benchmark doctor --rendezvous n1:29500
    """
    if device is not None and not DEVICES.fullmatch(device):
        raise UserError(f"--device: cpu, cuda or cuda:N, not {device!r}")
    if device and rendezvous:
        raise UserError("--device and --rendezvous exclude each other")
    screen = _Screen(quiet=as_json)
    stored = None
    if rendezvous is not None:
        _meet(screen, rendezvous, nodes)
    else:
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
            f"{len(lines)} checks: {failed} failed, {warned} with a warning"
            + (f"; stored in {stored}" if stored else "")
        )
    if failed:
        raise click.exceptions.Exit(1)


def _examine_device(screen: _Screen, name: str, results_dir: Path) -> str | None:
    """Check the device. Returns the file with the result; None if the device cannot be checked."""
    if any(line.status == "fail" for line in screen.lines):
        screen.show(
            "device", lambda: Check("device", "fail", f"{name} was not checked", "first fix the failures above")
        )
        return None
    # These import torch and the whole suite: the checks above must run where packages are missing.
    from benchmark.doctor.device import Examination, store_checks
    from benchmark.execution.device import usable_device
    from benchmark.grid.load import find_grid, load_grid

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
    return str(store_checks(screen.lines[first:], device, results_dir))


def _meet(screen: _Screen, endpoint: str, nodes: int) -> None:
    """Test whether the nodes reach each other; the first failure ends the test.

    Raises:
        UserError: the endpoint is invalid.
    """
    match = re.fullmatch(r"([^:\s]+):(\d{1,5})", endpoint)
    if match is None or not 1024 <= int(match[2]) < 65536:
        raise UserError(f"--rendezvous: HOST:PORT with a port from 1024 to 65535, such as n1:29500, not {endpoint!r}")
    require_torch()
    from benchmark.doctor.rendezvous import Rendezvous  # imports torch, like the device

    for name, check in Rendezvous(match[1], int(match[2]), nodes).steps.items():
        screen.show(name, check)
        if screen.lines[-1].status == "fail":
            break


class _Screen:
    """Runs checks and prints each result at once, unless quiet."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.lines: list[Check] = []

    def show(self, name: str, check: Callable[[], Check]) -> None:
        live = not self.quiet and sys.stdout.isatty()
        if live:
            click.echo(f"  ... {name}\r", nl=False)
        line = examine(name, check)
        self.lines.append(line)
        if not self.quiet:
            click.echo(("\x1b[K" if live else "") + click.style(f"{line.status:<6}", fg=COLOURS[line.status]), nl=False)
            click.echo(_hanging(f"{line.name:<{MARGIN - 6}}{line.result}", MARGIN - 6))
            if line.advice:
                click.echo(" " * MARGIN + _hanging(f"-> {line.advice}", 0))


def _hanging(text: str, name: int) -> str:
    """Wrap text to the terminal's width; every line but the first is indented by the margin."""
    width = max(40, shutil.get_terminal_size().columns) - MARGIN
    lines = textwrap.wrap(text[name:], width, break_long_words=False, break_on_hyphens=False) or [""]
    return text[:name] + f"\n{' ' * MARGIN}".join(lines)

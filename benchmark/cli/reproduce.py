"""``python -m benchmark reproduce``: train a finished run again from its record alone, and judge."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from benchmark.cli.options import (
    DEFAULT_RESULTS,
    data_dir_option,
    loader_workers_option,
    offline_option,
    results_option,
)
from benchmark.errors import UserError

if TYPE_CHECKING:
    from benchmark.stages.stage import RunStages
    from results.judge.environment_diff import EnvironmentDifference
    from results.judge.reproduction import Part, Reproduction
    from results.record import DoneRecord
    from results.store.folder import Store

NOT_JUDGED = "not judged"


@click.command("reproduce")
@click.argument("run_id", metavar="RUN")
@results_option
@click.option(
    "--into",
    type=click.Path(path_type=Path, resolve_path=True),
    show_default="results/reproduced/RUN of the checkout",
    help="The results folder of the second making.",
)
@data_dir_option
@click.option(
    "--images", type=click.Path(path_type=Path, resolve_path=True), help="Of a run on folder:PATH: the folder here."
)
@click.option(
    "--weights",
    type=click.Path(path_type=Path, resolve_path=True),
    help="Of a run that starts from a file: that file here.",
)
@offline_option
@click.option("--device", help="auto, cpu, cuda or cuda:N; by default the record's, where it is usable.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads; by default the record's.")
@loader_workers_option
def command(
    run_id: str,
    results_dir: Path,
    into: Path | None,
    data_dir: Path | None,
    images: Path | None,
    weights: Path | None,
    offline: bool,
    device: str | None,
    threads: int | None,
    loader_workers: int | None,
) -> None:
    """Train RUN again from its record, in a results folder of its own, and judge whether the same came out.

    Only the record is needed: no grid, no weights, no scores. What differs around the two is said before anything trains.
    With the same hardware, packages, threads, code versions and data every artifact must be bit for bit the same. LocalPaths
    the MACs of every exit must be equal; accuracies without exits, at equal MACs and at fixed thresholds may differ by one
    point or half of the 95 % interval of the paired difference, speed-ups at fixed thresholds by 10 %. Points at which val
    chose the threshold for a permitted drop are judged only where the folder holds three seeds of the run, whose spread then
    also bounds all others. Exit code 0: reproduced, 1: not, 2: a mistake.

    \b
    Examples:
      python -m benchmark reproduce lgvit-vit_nano_patch4_28-fashion-mnist-mini-paper-s0-0123abcd
      python -m benchmark reproduce RUN --results /mnt/theirs/results --into mine
    """
    from benchmark.environment import require_torch
    from benchmark.execution.config import ExecutionConfig
    from benchmark.execution.local import run_locally
    from benchmark.grid.spec_from_record import LocalPaths, claim_folder, finished_record, grid_of_record
    from benchmark.stages.plan import make_plan
    from benchmark.weights import fetch_missing
    from results.judge.environment_diff import same_bits_expected
    from results.judge.failures import failed_records
    from results.judge.reproduction import judge
    from results.store.folder import Store

    console = Console(highlight=False)
    store = Store(results_dir)
    record = finished_record(store, run_id)
    path, elsewhere = store.run(run_id) / "record.json", LocalPaths(images, weights)
    grid = grid_of_record(record, path, elsewhere, data_dir)
    own = Store(into or DEFAULT_RESULTS / "reproduced" / run_id)
    claim_folder(own, store, run_id)
    if fetch_missing([grid.runs[0].train.weights.source], data_dir, offline, lambda text: _say(console, text)):
        grid = grid_of_record(record, path, elsewhere, data_dir)
    plan = make_plan(grid, own)
    again = plan.runs[0].run_id
    _introduce(console, record)
    if plan.missing_runs:
        require_torch()
        chosen, count = _place(record, device, threads)
        _show_around(console, _around_here(record, store, plan.runs[0], chosen, data_dir))
        config = ExecutionConfig(
            results=own.root, device=chosen, threads=count, data_dir=data_dir, loader_processes=loader_workers
        )
        if run_locally(console, plan, config).failed:
            (failed,) = failed_records(own, [again])
            _say(console, f"not reproduced: it failed here: {failed.cause}")
            raise click.exceptions.Exit(1)
        around = _around(record, store, own, plan.runs[0])
    else:
        around = _around(record, store, own, plan.runs[0])
        _show_around(console, around)
        _say(console, f"it was trained before, in {own.root}, and is judged anew")
    found = judge(store, own, run_id, again, bitwise=same_bits_expected(around))
    _show(console, found)
    _conclude(console, found, around)
    _say(console, f"both in full: python -m benchmark compare {store.root} {own.root}")
    if not found.reproduced:
        raise click.exceptions.Exit(1)


def _place(record: DoneRecord, device: str | None, threads: int | None) -> tuple[str, int | None]:
    """Where to train: what the user says, else the record's device and threads, where this machine has them. Sets torch up."""
    from benchmark.execution.device import set_up_torch

    wanted, count = record.provenance.machine.device, record.provenance.machine.threads
    if threads is None and 1 <= count <= (os.cpu_count() or 1):
        threads = count
    if device is None:
        device = wanted if re.fullmatch(r"cpu|cuda(:\d+)?", wanted) else "auto"
        try:
            set_up_torch(device, threads)
        except UserError:
            device = "auto"
    return str(set_up_torch(device, threads)), threads


def _around_here(
    record: DoneRecord, store: Store, run: RunStages, device: str, data_dir: Path | None
) -> list[EnvironmentDifference]:
    """What differs before anything trains. torch is set up."""
    from benchmark import provenance
    from benchmark.stages.changes import stage_changes
    from benchmark.training.inputs import read_inputs
    from results.judge.environment_diff import distinct, of_code, of_data, of_machines

    made = record.provenance
    return distinct(
        [
            *stage_changes(record, store, run),
            *of_data(record.data, read_inputs(run.spec.train, data_dir).data_card()),
            *of_machines(made.machine, provenance.machine(device)),
            *of_code(made.code, provenance.code()),
        ]
    )


def _around(record: DoneRecord, store: Store, own: Store, run: RunStages) -> list[EnvironmentDifference]:
    """What differed when it had been made: told by both records, and by the stages' own provenance where it is there."""
    from benchmark.stages.changes import stage_changes
    from results.judge.environment_diff import distinct, of_code, of_data, of_machines
    from results.judge.reproduction import machines

    again = own.done_record(run.run_id)
    return distinct(
        [
            *stage_changes(record, store, run),
            *of_data(record.data, again.data),
            *(found for pair in machines(record, store, again, own) for found in of_machines(*pair)),
            *of_code(record.provenance.code, again.provenance.code),
        ]
    )


def _introduce(console: Console, record: DoneRecord) -> None:
    made, machine = record.provenance, record.provenance.machine
    _say(console, f"run: {record.run_id}")
    _say(
        console,
        f"recorded {made.finished:%Y-%m-%d} on {machine.gpu or machine.cpu}, {machine.device}, threads: {machine.threads}, "
        f"torch {machine.packages.get('torch')}, commit {_short(made.code.commit)}",
    )


def _show_around(console: Console, around: list[EnvironmentDifference]) -> None:
    """The differences, the grave ones first, and the rule that follows from them."""
    from results.judge.environment_diff import same_bits_expected
    from results.judge.reproduction import POINTS

    if not around:
        _say(console, "nothing differs here: code, packages, machine, threads and data are the record's")
    for one in around:
        _say(console, f"  {one.field}: {_short(one.recorded)} -> {_short(one.here)}  ({one.effect})")
    if same_bits_expected(around):
        _say(console, "rule: the same bits, in every artifact")
    else:
        _say(
            console,
            f"rule: bits may differ; MACs equal; accuracies without exits, at equal MACs and at fixed thresholds within "
            f"{100 * POINTS:g} point, half of the paired 95 % interval, or the spread of training seeds where three are there",
        )


def _show(console: Console, found: Reproduction) -> None:
    """What, recorded, reproduced, verdict: files where bits are asked for, numbers where they are not or where they differ."""
    rows = [("what", "recorded", "reproduced", "verdict")]
    files = [part for part in found.parts if part.is_file]
    numbers = [part for part in found.parts if not part.is_file]
    other = [part for part in files if not part.equal]
    if found.bitwise:
        rows += [(p.what, p.recorded, p.reproduced, "the same" if p.equal else "OTHER BITS") for p in files]
    else:
        first = f"; the first that differs: {other[0].what}" if other else ""
        rows.append(("files", str(len(files)), str(len(files) - len(other)), f"the same bits{first}"))
    if all(part.equal for part in numbers):
        rows.append(("numbers", str(len(numbers)), str(len(numbers)), "equal"))
    else:
        rows += [(p.what, p.recorded, p.reproduced, _verdict(p)) for p in numbers]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    for number, row in enumerate(rows):
        cells = [row[0].ljust(widths[0]), row[1].rjust(widths[1]), row[2].rjust(widths[2]), row[3]]
        _say(console, "  ".join(cells), style="bold" if number == 0 else "")
    if any(row[3].startswith(NOT_JUDGED) for row in rows):
        _say(
            console,
            f"{NOT_JUDGED}: val chose the threshold, which moves along the curve; at equal MACs the curve is judged",
        )


def _verdict(part: Part) -> str:
    if part.equal:
        return "equal"
    if not part.judged:
        return f"{NOT_JUDGED}: {part.remark}"
    return f"{'within' if part.close else 'OFF'}: {part.remark}" if part.remark else "OTHER"


def _conclude(console: Console, found: Reproduction, around: list[EnvironmentDifference]) -> None:
    if found.same_bits:
        _say(console, "reproduced: bit for bit", style="bold green")
        return
    if found.reproduced:
        _say(console, "reproduced: within the tolerance; bits may differ here, and do", style="bold green")
        return
    near = " (its numbers are within the tolerance for other machines)" if found.within_tolerance else ""
    _say(console, f"not reproduced{near}", style="bold red")
    reasons = [one.field for one in around if one.could_explain]
    if reasons:
        _say(console, f"what could explain it: {', '.join(reasons)}")
    else:
        _say(
            console,
            "nothing that differs could explain it: look for a fault of the machine, or a record that was changed",
        )


def _short(value: Any) -> str:
    """A value for the screen: checksums by their first digits, nothing that a terminal would obey."""
    text = "".join(letter if letter.isprintable() else "?" for letter in str(value))
    return re.sub(r"\b[0-9a-f]{32,}\b", lambda found: found[0][:12], text)


def _say(console: Console, text: str, style: str = "") -> None:
    console.print(_short(text) if not style else text, markup=False, soft_wrap=True, style=style)

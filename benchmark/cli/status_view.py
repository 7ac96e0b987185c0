"""How `status` shows a grid: totals, running stages, failures with their causes, and waiting runs."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from benchmark.cli.selection import selection
from benchmark.execution.status import STATES, RunStatus, StageStatus, Status, last_lines
from benchmark.progress import duration
from benchmark.run_reference import short_id
from benchmark.stages.plan import counted
from benchmark.text_table import without_constants
from results.store.attempts import Worker
from results.store.commands import Command
from results.text import printable

COLOURS = {"done": "green", "running": "cyan", "queued": "", "failed": "red", "blocked": "yellow", "lost": "magenta"}
SHOWN_RUNS = 3
SHOWN_GROUPS = 8
ACTIONS = {
    "finetune": "fine-tune",
    "joint": "train with exits",
    "exits": "exits of",
    "scores": "score",
    "cost": "count MACs",
}


def screen(status: Status, command: Command | None, *, runs: bool = False) -> Group:
    """The screen of a grid, for a terminal of any width.

    Args:
        status: of the grid.
        command: the one that runs in the folder, if any.
        runs: whether to list every run.
    """
    used = f", {status.gpu_hours:.1f} GPU-hours used" if status.gpu_hours else ""
    parts: list[RenderableType] = [_totals(status), _line(f"in {status.store.root}{used}", 0, style="dim")]
    if command is not None:
        about = f"running: process {command.pid} on {command.host}, session {command.session}"
        parts.append(Text(about if command.grid == status.plan.grid.name else f"{about}, grid {command.grid}"))
    stages = list(status.stages.values())
    for title, part in (
        ("Running", _running(status, [stage for stage in stages if stage.state == "running"])),
        ("Lost: their processes are gone; the next run resumes from the checkpoint", _lost(status, stages)),
        ("Failed", _failed(status)),
        ("Blocked", _blocked(status)),
        ("Queued", _queued(status)),
        ("Runs", _all_runs(status) if runs else []),
    ):
        if part:
            parts += [Text(), Text(title, style="bold"), *part]
    return Group(*parts)


def _totals(status: Status) -> Text:
    text = Text(f"Grid {status.plan.grid.name}: {len(status.plan.runs)} runs", style="bold")
    for state, count in status.totals.items():
        if count:
            text.append(f", {count} {state}", style=f"{COLOURS[state]} bold")
    return text


def _running(status: Status, stages: list[StageStatus]) -> list[RenderableType]:
    """A table with a row for each working process; stages of a shared pass are one row."""
    if not stages:
        return []
    table = _table("stage", "runs", "epoch", "images/s", "left", "worker")
    for column in table.columns[1:5]:
        column.justify = "right"
    for column in table.columns[1:]:
        column.no_wrap = True
    for group in _grouped(stages, _worker_key):
        heartbeat = group[0].heartbeat
        trains = heartbeat is not None and heartbeat.epochs > 0
        silent = group[0].is_silent
        rate = heartbeat.images_per_second if heartbeat and not silent else None
        left = heartbeat.seconds_left if heartbeat and not silent else None
        silence = f"silent for {group[0].silent_seconds // 60:.0f} min" if silent else ""
        table.add_row(
            _description(group),
            str(_waiting_runs(status, group)),
            f"{heartbeat.epoch}/{heartbeat.epochs}" if heartbeat and trains else "",
            f"{rate:,.0f}" if rate else "",
            duration(left) if left is not None else silence,
            _worker(group[0]),
        )
    return [table]


def _lost(status: Status, stages: list[StageStatus]) -> list[RenderableType]:
    lines: list[RenderableType] = []
    lost = [stage for stage in stages if stage.state == "lost"]
    groups = _grouped(lost, _worker_key)
    for group in groups[:SHOWN_GROUPS]:
        heartbeat = group[0].heartbeat
        epoch = f", in epoch {heartbeat.epoch} of {heartbeat.epochs}" if heartbeat and heartbeat.epochs else ""
        last_heartbeat = f"last heartbeat {duration(group[0].silent_seconds)} ago{epoch} ({_worker(group[0])})"
        scheduled = group[0].scheduled
        reason = scheduled.reason if scheduled and scheduled.reason else last_heartbeat
        lines.append(_line(f"{_description(group)}: {reason}"))
        lines += _log(status, group[0].log)
    return [*lines, *_more(len(groups), "lost tasks")]


def _failed(status: Status) -> list[RenderableType]:
    """The failed runs, grouped by their error message."""
    failed = [run for run in status.runs if run.state == "failed"]
    lines: list[RenderableType] = []
    groups = _grouped(failed, lambda run: (run.failure, _without_names(run.sentence)))
    for group in groups[:SHOWN_GROUPS]:
        lines.append(_line(f"{group[0].failure}: {_count(group)}: {group[0].sentence}", style="red"))
        lines += _names_of(status, group)
        traceback = status.store.run(group[0].run.run_id) / "traceback.txt"
        log = group[0].at.log if group[0].at else None
        lines += _log(status, log or (str(traceback) if traceback.is_file() else None))
    if lines:
        on_slurm = " --executor slurm" if any(run.at and run.at.last and run.at.last.by.job for run in failed) else ""
        retry = f"python -m benchmark retry {selection(status.plan.grid, status.store)} --failed{on_slurm}"
        lines.append(_line(f"run them again: {retry}; --cause CAUSE selects some", style="dim"))
    return [*lines, *_more(len(groups), "causes")]


def _blocked(status: Status) -> list[RenderableType]:
    blocked = [run for run in status.runs if run.state == "blocked"]
    lines: list[RenderableType] = []
    groups = _grouped(blocked, lambda run: run.record and run.record.blocked_by)
    for group in groups[:SHOWN_GROUPS]:
        lines.append(_line(f"{_count(group)}: {group[0].sentence}", style="yellow"))
        lines += _names_of(status, group)
        lines += _log(status, group[0].at.log if group[0].at else None)
    return [*lines, *_more(len(groups), "stages")]


def _queued(status: Status) -> list[RenderableType]:
    """The queued runs, counted by their note."""
    notes = Counter(run.sentence for run in status.runs if run.state == "queued")
    shown = notes.most_common(SHOWN_GROUPS)
    lines: list[RenderableType] = [_line(f"{_runs(number)}{f': {note}' if note else ''}") for note, number in shown]
    return [*lines, *_more(len(notes), "groups")]


def _all_runs(status: Status) -> list[RenderableType]:
    lines: list[RenderableType] = []
    names = _names(status)
    for run in status.runs:
        lines.append(_line(f"{run.state:<8} {names[run.run.run_id]}", style=COLOURS[run.state]))
        cause = f"{run.failure}: " if run.state == "failed" else ""
        if cause + run.sentence:
            lines.append(_line(cause + run.sentence, 11, style="dim", cut=True))
    return lines


def as_json(status: Status, command: Command | None) -> dict[str, Any]:
    """The status as JSON data, for other programs."""
    return {
        "grid": status.plan.grid.name,
        "results": str(status.store.root),
        "command": command and command.model_dump(mode="json"),
        "totals": status.totals,
        "gpu_hours": status.gpu_hours,
        "runs": [
            {
                "run_id": run.run.run_id,
                "state": run.state,
                "failure": run.failure,
                "cause": run.record.cause if run.record else run.sentence if run.state == "failed" else None,
                "blocked_by": run.record and run.record.blocked_by,
                "stage": run.at and run.at.stage.name,
            }
            for run in status.runs
        ],
        "stages": [
            {
                "stage": stage.stage.name,
                "state": stage.state,
                "runs": status.waiting_for(stage.stage),
                "attempt": stage.last and stage.last.number,
                "log": stage.log,
                "silent_seconds": stage.silent_seconds if stage.is_silent else None,
                "heartbeat": stage.heartbeat and stage.heartbeat.model_dump(mode="json"),
                "job": stage.scheduled and stage.scheduled.job,
                "reason": stage.scheduled and stage.scheduled.reason,
            }
            for stage in status.stages.values()
        ],
    }


# Parts of the screen


def _table(*columns: str) -> Table:
    return Table(*columns, box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")


def _line(text: str, indent: int = 2, *, style: str = "", cut: bool = False) -> RenderableType:
    """A line that keeps its indent when it wraps; with `cut` it is cut at the terminal's width instead."""
    return Padding(
        Text(printable(text), style, no_wrap=cut, overflow="ellipsis" if cut else "fold"),
        (0, 0, 0, indent),
        expand=False,
    )


def _description(group: list[StageStatus]) -> str:
    first = group[0].stage
    train = first.run.train
    methods = counted(status.stage.run.train.method.label for status in group)
    name = methods if first.kind in ("exits", "joint", "scores", "cost") else train.backbone
    on = f" on {train.backbone}" if first.kind in ("exits", "joint") else ""
    return f"{ACTIONS[first.kind]} {name}{on}, {train.dataset.name}, seed {train.seed}"


def _worker_key(stage: StageStatus) -> Hashable:
    """Identifies the process that works on a stage, or the job if no process has started."""
    if stage.last is None:
        return stage.scheduled and stage.scheduled.job
    return stage.last.by.pid, stage.last.by.host


def _waiting_runs(status: Status, group: list[StageStatus]) -> int:
    """Number of missing runs that need one of these stages."""
    stages = {member.stage for member in group}
    return sum(any(stage in stages for stage in run.chain) for run in status.plan.missing_runs)


def _worker(stage: StageStatus) -> str:
    if stage.last is None:
        return f"job {stage.scheduled.job}" if stage.scheduled else ""
    return _worker_name(stage.last.by)


def _worker_name(worker: Worker) -> str:
    if worker.array_job:
        return f"{worker.host} job {worker.array_job}_{worker.array_task}"
    return f"{worker.host} job {worker.job}" if worker.job else f"{worker.host}:{worker.pid}"


def _log(status: Status, path: str | None) -> list[RenderableType]:
    """The path of a log, relative to the results folder if it lies there, and its last lines."""
    if path is None:
        return []
    root = status.store.root
    log = Path(path)
    # The path comes from a file that may be a stranger's: only plain files inside the results folder are read.
    is_own = log.resolve().is_relative_to(root.resolve()) and log.is_file()
    return [
        _line(path.removeprefix(f"{root}{os.sep}"), 4),
        *(_line(line, 6, style="dim", cut=True) for line in (last_lines(log) if is_own else ())),
    ]


def _names(status: Status) -> dict[str, str]:
    """The short id and the method of each run by its id, with what else differs among the runs of the grid."""
    trains = [run.run.spec.train for run in status.runs]
    columns = {
        "id": [short_id(run.run.run_id) for run in status.runs],
        "method": [train.method.label for train in trains],
        "backbone": [train.backbone for train in trains],
        "dataset": [train.dataset.label for train in trains],
        "exits": [f"exits {run.run.spec.scheme}" for run in status.runs],
        "seed": [f"seed {train.seed}" for train in trains],
    }
    shown, _ = without_constants(columns, ["backbone", "dataset", "exits", "seed"])
    ids, *others = shown.values()
    return {
        run.run.run_id: f"{ids[number]}  {', '.join(cells[number] for cells in others)}"
        for number, run in enumerate(status.runs)
    }


def _names_of(status: Status, group: list[RunStatus]) -> Iterator[RenderableType]:
    names = _names(status)
    for run in group[:SHOWN_RUNS]:
        yield _line(names[run.run.run_id], 4)
    if len(group) > SHOWN_RUNS:
        yield _line(f"... and {len(group) - SHOWN_RUNS} more", 4)


def _more(count: int, noun: str) -> list[RenderableType]:
    return (
        [_line(f"... and {count - SHOWN_GROUPS} more {noun}; --runs shows every run")] if count > SHOWN_GROUPS else []
    )


def _count(group: list[RunStatus]) -> str:
    return _runs(len(group))


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def _without_names(sentence: str) -> str:
    """Replaces names of runs and stages, so that runs with the same error form one group."""
    return " ".join("*" if any(map(str.isdigit, word)) and "-" in word else word for word in sentence.split())


def _grouped(items: Iterable[Any], key: Any) -> list[list[Any]]:
    groups: dict[Hashable, list[Any]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())


assert set(COLOURS) == set(STATES)

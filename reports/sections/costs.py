"""The cost of exits in multiply-accumulates, and of training in time."""

from __future__ import annotations

from dataclasses import replace

from reports import captioned
from reports.blocks import Block, Shown, Text
from reports.study import Study
from reports.tables import Table, renamed
from reports.words import counted

TRAINED = ("finetune", "joint", "exits")
NAMES = {
    "finetune": "backbone", "joint": "backbone and heads together", "exits": "heads", "scores": "scores of val and test",
    "cost": "counting MACs", "evaluate": "evaluation",
}  # fmt: skip


def costs(study: Study) -> list[Block]:
    text = "The cost of an image depends on the exit at which it leaves; all heads up to there count."
    more = " The costs with other exits are in table.md." if len(study.settings) > len(study.main) else ""
    blocks: list[Block] = [Text(text + more)]
    for setting in study.main:
        shown = captioned.costs(setting.name, setting.runs)
        table = _merged(renamed(shown.table, study.display))
        caption = f"{shown.caption} Methods with the same costs share a row."
        blocks.append(Shown(caption, table, narrow=len(table.header) <= 7))
    return blocks


def _merged(table: Table) -> Table:
    """Rows with equal cells merged into one."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for row in table.rows:
        groups.setdefault(row[1:], []).append(row[0])
    rows = []
    for cells, names in groups.items():
        shown = ", ".join(names) if len(names) <= 2 else f"{names[0]} and {len(names) - 1} others"
        rows.append((shown, *cells))
    return Table(table.header, tuple(rows))


def training(study: Study) -> list[Block]:
    """Wall time of training; a pass that several runs share counts once."""
    passes: dict[str, dict[str, float]] = {}
    for run in study.runs:
        for stage in run.record.stages:
            # The stages of one shared pass have exactly the same time.
            key = f"shared {stage.seconds}" if stage.shared_pass > 1 else stage.key
            passes.setdefault(stage.stage, {})[key] = stage.seconds
    order = [*TRAINED, "scores", "cost"]
    kinds = sorted(passes, key=lambda kind: order.index(kind) if kind in order else len(order))
    rows = [
        (
            NAMES.get(kind, kind),
            str(len(passes[kind])),
            _seconds(sum(passes[kind].values())),
            _seconds(max(passes[kind].values())),
        )
        for kind in kinds
    ]
    total = sum(sum(passes[kind].values()) for kind in TRAINED if kind in passes)
    count = sum(len(passes[kind]) for kind in TRAINED if kind in passes)
    passes_of = "pass" if count == 1 else "passes"
    text = f"Training took {count} {passes_of} for {counted(len(study.runs), 'run')}, {_seconds(total)} in total."
    peak = max((float(run.record.provenance.peak_memory_bytes) for run in study.runs), default=0.0)
    if peak:
        text += f" The peak memory was {peak / 2**30:.1f} GiB."
    header = ("Stage", "Passes", "Total", "Longest")
    caption = "Wall time of the stages of the runs. A stage that several runs share counts once."
    return [Text(text), Shown(caption, Table(header, tuple(rows)), narrow=True)]


def rates(study: Study) -> list[Block]:
    """The learning rates, where a grid tried several."""
    blocks: list[Block] = []
    if any(run.tried for run in study.runs):
        blocks.append(
            Text(
                "Each learning rate comes from the same small grid. Only the rate that is best on val is reported elsewhere."
            )
        )
    for setting in study.settings:
        if any(run.tried for run in setting.runs):
            shown = captioned.learning_rates(setting.name, setting.runs)
            blocks.append(replace(shown, table=renamed(shown.table, study.display)))
    return blocks


def _seconds(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 7200 else f"{seconds / 3600:.1f} h"

"""What leaving costs in multiply-accumulates, and what training cost in time."""

from __future__ import annotations

from reports.blocks import Block, Shown, Text
from reports.study import Study
from reports.tables import Table, cost_columns, learning_rate_table
from reports.words import counted

TRAINED = ("finetune", "joint", "exits")
NAMES = {
    "finetune": "backbone", "joint": "backbone and heads together", "exits": "heads", "scores": "scores of val and test",
    "cost": "counting", "evaluate": "evaluation",
}  # fmt: skip


def costs(study: Study) -> list[Block]:
    text = "What an image costs depends on where it leaves; every head on the way is part of the price."
    more = " The costs with other exits are in table.md." if len(study.settings) > len(study.main) else ""
    blocks: list[Block] = [Text(text + more)]
    for setting in study.main:
        table = _alike(cost_columns(setting.runs))
        caption = (
            f"Cost of leaving after each block, in million MACs, {setting.name}: stem, blocks and every head up "
            "to there. The last "
            "column: parameters of all exit heads, in thousands. Methods with the same costs share a row."
        )
        blocks.append(Shown(caption, table, narrow=len(table.header) <= 7))
    return blocks


def _alike(table: Table) -> Table:
    """Rows that say the same as one."""
    found: dict[tuple[str, ...], list[str]] = {}
    for row in table.rows:
        found.setdefault(row[1:], []).append(row[0])
    rows = []
    for cells, names in found.items():
        shown = ", ".join(names) if len(names) <= 2 else f"{names[0]} and {len(names) - 1} others"
        rows.append((shown, *cells))
    return Table(table.header, tuple(rows))


def training(study: Study) -> list[Block]:
    """Wall time of the distinct passes: what several runs share counts once."""
    passes: dict[str, dict[str, float]] = {}
    for run in study.runs:
        for stage in run.record.stages:
            # Members of one shared pass have the same seconds to the last digit.
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
    stand, passes_of = "stands" if len(study.runs) == 1 else "stand", "pass" if count == 1 else "passes"
    text = f"{counted(len(study.runs), 'run')} {stand} on {count} {passes_of} of training, {_seconds(total)} in all."
    peak = max((float(run.record.provenance.peak_memory_bytes) for run in study.runs), default=0.0)
    if peak:
        text += f" At most {peak / 2**30:.1f} GiB of memory were in use."
    header = ("What", "Passes", "Together", "Longest")
    caption = (
        "Wall time of the work behind the runs. A stage that several runs share was done once, and is counted once."
    )
    return [Text(text), Shown(caption, Table(header, tuple(rows)), narrow=True)]


def rates(study: Study) -> list[Block]:
    """The learning rates that were tried, where a grid tried several."""
    blocks: list[Block] = []
    if any(run.tried for run in study.runs):
        blocks.append(
            Text("Each learning rate comes from the same small grid; what val does not choose counts nowhere.")
        )
    for setting in study.settings:
        if any(run.tried for run in setting.runs):
            caption = (
                f"Learning rates tried, {setting.name}, and val accuracy (%), mean over all exits. Bold: the "
                "best, which all other numbers are of; the others count nowhere."
            )
            blocks.append(Shown(caption, learning_rate_table(setting.runs)))
    return blocks


def _seconds(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 7200 else f"{seconds / 3600:.1f} h"

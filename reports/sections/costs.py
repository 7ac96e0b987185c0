"""The cost of exits in multiply-accumulates, and of training in time."""

from __future__ import annotations

from dataclasses import replace

from reports import captioned
from reports.blocks import Block, Text
from reports.numbering import ref
from reports.sections.shift import is_shifted
from reports.sources import source
from reports.study import Study
from reports.tables import Table, renamed
from reports.words import counted, join

TRAINED = {"finetune": "backbones", "joint": "backbones together with heads", "exits": "heads"}


def costs(study: Study) -> list[Block]:
    """MACs by exit of the first group, and the time of training."""
    setting = study.main[0]
    others = " The costs in other settings are in table.md." if len(study.settings) > 1 else ""
    shown = captioned.costs("", setting.runs)
    table = _merged(renamed(shown.table, study.display))
    caption = f"{shown.caption}{' Methods with the same costs share a row.' if len(table.rows) < len(shown.table.rows) else ''}"
    text = (
        f"An image costs what has run where it leaves: stem, blocks and all heads up to there ({ref('costs')}).{others}"
    )
    block = replace(
        shown, caption=caption, table=table, narrow=len(table.header) <= 7, name="costs",
        source=source(setting.runs, "", "costs"),
    )  # fmt: skip
    if study.has_one_method:
        return [Text(_training(study))] if _training(study) else []
    return [Text(f"{text} {_training(study)}"), block]


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


def _training(study: Study) -> str:
    """Wall time of training; a pass that several runs share counts once."""
    passes: dict[str, dict[str, float]] = {}
    for run in study.runs:
        for stage in run.record.stages:
            # The stages of one shared pass have exactly the same time.
            key = f"shared {stage.seconds}" if stage.shared_pass > 1 else stage.key
            passes.setdefault(stage.stage, {})[key] = stage.seconds
    parts = [f"{_seconds(sum(passes[kind].values()))} for {TRAINED[kind]}" for kind in TRAINED if kind in passes]
    if not parts:
        return ""
    count = sum(len(passes[kind]) for kind in TRAINED if kind in passes)
    peak = max((float(run.record.provenance.peak_memory_bytes) for run in study.runs), default=0.0)
    memory = f"; the peak memory was {peak / 2**30:.1f} GiB" if peak else ""
    made = f"The {counted(len(study.runs), 'run')} took {counted(count, 'training')}"
    return f"{made}, where heads that train side by side count as one: {join(parts)}{memory}."


def rates(study: Study) -> list[Block]:
    """The learning rates, where a grid tried several."""
    blocks: list[Block] = []
    if any(run.tried for run in study.runs):
        blocks.append(
            Text(
                "Each learning rate comes from the same small grid. Only the rate that is best on val is reported elsewhere."
            )
        )
    # Test images that are shifted change no learning rate.
    as_they_are = [setting for setting in study.settings if not any(map(is_shifted, setting.exiting))]
    for setting in as_they_are or study.settings:
        if any(run.tried for run in setting.runs):
            shown = captioned.learning_rates(setting.name, setting.runs)
            blocks.append(replace(shown, table=renamed(shown.table, study.display)))
    return blocks


def _seconds(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"

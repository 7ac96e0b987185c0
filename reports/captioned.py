"""Tables with their captions, declared once for the PDF, table.txt, table.md and table.tex."""

from __future__ import annotations

import pandas as pd

from reports.blocks import Shown
from reports.study import Study, of_setting
from reports.tables import budget_table, cost_columns, drop_table, learning_rate_table, timing
from results.tables.points import summary
from results.tables.run import Run


def operating_points(name: str, totals: pd.DataFrame, rows: pd.DataFrame) -> Shown:
    """Every operating point of a setting by accuracy drop.

    Args:
        name: of the setting.
        totals: `results.tables.points.summary` of its rows.
        rows: the rows themselves, which name the devices that times were measured on.
    """
    caption = (
        f"Operating points, {name}. Each is the cheapest threshold within the drop on val, applied to test. Drop: "
        "against the backbone without exits, same seed (negative: a gain). Layers: depth over mean exit block. "
        "MACs: backbone without exits over mean MACs, every evaluated head counted. "
        f"{timing(rows)}{_brackets(totals)}"
    )
    return Shown(caption, drop_table(totals))


def equal_macs(name: str, totals: pd.DataFrame, pairs: pd.DataFrame) -> Shown:
    """Accuracy at equal MACs, by budget; ``pairs`` are the comparisons of the setting's methods."""
    caption = (
        f"Test accuracy (%) at equal MACs, {name}, as a share of the backbone without exits. {_brackets(totals)} "
        "Bold: ahead of every other method beyond the detectable difference; without bold nothing is ranked."
    )
    return Shown(caption, budget_table(totals, pairs))


def costs(name: str, runs: list[Run]) -> Shown:
    """The MACs of leaving at each exit."""
    caption = (
        f"Cost of leaving after each block, in million MACs, {name}: stem, blocks and every head up to there. The "
        "last column: parameters of all exit heads, in thousands."
    )
    return Shown(caption, cost_columns(runs))


def learning_rates(name: str, runs: list[Run]) -> Shown:
    """The learning rates that were tried, and the chosen ones."""
    caption = (
        f"Learning rates tried, {name}, and val accuracy (%), mean over all exits. Bold: the best, to which all other "
        "numbers refer."
    )
    return Shown(caption, learning_rate_table(runs))


def readable_tables(study: Study) -> list[Shown]:
    """Every row of every setting, under every policy: the content of table.txt, table.md and table.tex."""
    tables = []
    for setting in study.settings:
        runs = of_setting(study.runs, tuple(setting.where.values()))
        rows = study.points[study.points["run_id"].isin([run.record.run_id for run in runs])]
        pairs = study.comparisons
        for column, value in setting.where.items():
            pairs = pairs[pairs[column] == value]
        totals = summary(rows)
        tables += [
            operating_points(setting.name, totals, rows),
            equal_macs(setting.name, totals, pairs),
            costs(setting.name, runs),
        ]
        if any(run.tried for run in runs):
            tables.append(learning_rates(setting.name, runs))
    return tables


def _brackets(totals: pd.DataFrame) -> str:
    if (totals["seeds"] > 1).any():
        return "Brackets: 95 % t interval over training seeds."
    return "Brackets: 95 % interval over test images, given the thresholds chosen on val."

"""Tables with their captions, declared once for the PDF, table.txt, table.md and table.tex."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

import pandas as pd

from reports.blocks import Shown
from reports.comparison_group import ComparisonGroup, of_setting
from reports.sections.convergence import heads
from reports.sections.mechanisms import mechanisms
from reports.sections.representations import block_tables
from reports.sources import source
from reports.study import Study
from reports.tables import (
    backbone_table,
    budget_table,
    cost_columns,
    drop_table,
    has_redrawn,
    learning_rate_table,
    points,
    renamed,
    timing,
)
from reports.weakness import unconverged
from reports.words import few
from results.metric import Metric
from results.tables.points import summary
from results.tables.row_labels import labels
from results.tables.run import STATIC, Run

RECALLED = {"segmentation": ", of pixels", "detection": ", of labelled boxes at an IoU of 0.5"}
"""What is recalled, by task."""


def backbones(study: Study) -> Shown:
    """The data, and each backbone without exits beside always answering the largest class."""
    recalled = {
        task: text for task, text in RECALLED.items() if any(run.record.data.task == task for run in study.runs)
    }
    of_tasks = "".join(recalled.values())
    seeds = " Means over seeds." if study.tidy["backbones"]["seed"].nunique() > 1 else ""
    caption = (
        f"Data, and the backbones without exits on test, in %. Largest class: {study.metric.name} of always answering the most "
        f"frequent class. Balanced: mean recall over classes{of_tasks}. Lowest recall: of the class that is recognised worst."
        f"{seeds}"
    )
    table = backbone_table(study.tidy["backbones"].replace({"backbone": study.backbones}), study.metric)
    static = [run for run in study.runs if run.is_static] or study.runs
    return Shown(noted(caption, study.metric), table, name="data", source=source(static, "backbones"))


def noted(caption: str, metric: Metric, name: str = "") -> str:
    """The caption of a table, with what readers need to know about its metric, which may have another name there."""
    return f"{caption.rstrip()} {metric.explained(name)}".rstrip()


def operating_points(name: str, metric: Metric, totals: pd.DataFrame, rows: pd.DataFrame) -> Shown:
    """Every operating point of a setting by accuracy drop.

    Args:
        name: of the setting; empty where the text states it.
        metric: of the setting.
        totals: `results.tables.points.summary` of its rows.
        rows: the rows themselves, which name the devices that times were measured on.
    """
    place = f", {name}" if name else ""
    caption = (
        f"Operating points{place}. Each is the cheapest threshold within the drop on val, applied to test. Drop: "
        "against the backbone without exits, same seed (negative: a gain). Layers: depth over mean exit block. "
        "MACs: backbone without exits over mean MACs, every evaluated head counted. "
        f"{timing(rows)}{_timed_points(totals)}{_brackets(totals)}{_redrawn(totals)}"
    )
    return Shown(noted(caption, metric), drop_table(totals, metric))


def equal_macs(
    setting: ComparisonGroup,
    totals: pd.DataFrame,
    labels: Mapping[str, str],
    names: Mapping[str, str] | None = None,
    name: str | None = None,
) -> Shown:
    """Accuracy, or another metric, at equal MACs, by budget.

    Args:
        setting: whose contrasts are marked.
        totals: `results.tables.points.summary` of its rows.
        labels: of the group, to those in ``totals``.
        names: of labels in the caption; by default those in ``totals``.
        name: of the setting in the caption; empty where the text states it.
    """
    contrasts = {(labels[label], budget): contrast for (label, budget), contrast in setting.contrasts.items()}
    name = setting.name if name is None else name
    place = f", {name}" if name else ""
    caption = (
        f"Test {setting.metric.name} (%) at equal MACs{place}, as a share of the backbone without exits. {_brackets(totals)}"
        f"{marks(setting, names or labels) if contrasts else ''}"
    )
    return Shown(noted(caption, setting.metric), budget_table(totals, contrasts))


def marks(setting: ComparisonGroup, labels: Mapping[str, str] = MappingProxyType({})) -> str:
    """The part of a caption that explains bold and underlined cells, with a space before it."""
    name = labels.get(setting.reference, setting.reference)
    late = [labels.get(label, label) for label in unconverged(setting)]
    caution = f" Not converged, so that marks describe these trainings: heads of {few(late)}." if late else ""
    return (
        f" Bold: significantly {setting.metric.better} than {name}; underlined: significantly {setting.metric.worse} (paired "
        f"tests over {setting.tested_over}; Holm's correction over {setting.tests}); without a mark: not shown to "
        f"differ.{_apart(setting, labels)}{caution}"
    )


def _apart(setting: ComparisonGroup, labels: Mapping[str, str]) -> str:
    """The rows without a mark because nothing compared them, with a space before; empty if there are none."""
    tested = {label for label, _ in setting.contrasts}
    apart = [labels.get(label, label) for label in setting.contenders if label not in {setting.reference, *tested}]
    return f" Not compared: {few(apart)}." if apart else ""


def costs(name: str, runs: list[Run]) -> Shown:
    """The MACs of leaving at each exit.

    Args:
        name: of the setting; empty where the text states it.
        runs: of the setting.
    """
    place = f", {name}" if name else ""
    caption = (
        f"Cost of leaving after each block, in million MACs{place}: stem, blocks and every head up to "
        "there. Last column: parameters of all exit heads, in thousands."
    )
    return Shown(caption, cost_columns(runs))


def learning_rates(name: str, runs: list[Run]) -> Shown:
    """The learning rates that were tried, and the chosen ones."""
    metric = runs[0].metric
    caption = (
        f"Learning rates tried, {name}, and val {metric.name} (%), mean over all exits. Bold: the best, to which all other "
        "numbers refer."
    )
    return Shown(noted(caption, metric), learning_rate_table(runs))


def readable_tables(study: Study) -> list[Shown]:
    """Every row of every setting, under every policy: the content of table.txt, table.md and table.tex."""
    tables = [backbones(study)] if study.settings else list(without_exits(study))
    all_labels = labels(study.runs)
    for setting in study.settings:
        runs = of_setting(study.runs, tuple(setting.where.values()))
        rows = study.points[study.points["run_id"].isin([run.record.run_id for run in runs])]
        totals = summary(rows)
        names = {setting.label(run, policy): all_labels[run.record.run_id, policy] for run, policy in _judged(setting)}
        tables += [
            operating_points(setting.name, setting.metric, totals, rows),
            equal_macs(setting, totals, names, study.display),
            costs(setting.name, runs),
        ]
        if any(run.tried for run in runs):
            tables.append(learning_rates(setting.name, runs))
    named = [replace(shown, table=renamed(shown.table, study.display)) for shown in tables]
    return [*named, *heads(study), *block_tables(study), *mechanisms(study)]


def without_exits(study: Study) -> Iterator[Shown]:
    """The models without exits of each backbone and dataset, for a report in which no run has exits."""
    for (backbone, dataset), rows in study.points.groupby(["backbone", "dataset"], sort=False):
        totals = summary(rows).sort_values("kind", key=lambda kind: kind != STATIC, kind="stable")
        caption = (
            f"Models without exits, {study.backbones[str(backbone)]} on {dataset}, on test. Drop: against the backbone, same "
            f"seed (negative: a gain). Layers and MACs: those of the backbone over those of the model. {_brackets(totals)}"
        )
        yield Shown(noted(caption, study.metric), drop_table(totals, study.metric))


def _judged(setting: ComparisonGroup) -> Iterator[tuple[Run, str]]:
    """The runs with exits, each with the policies that it is judged by."""
    return ((run, policy) for run in setting.exiting for policy in run.policies)


def _timed_points(totals: pd.DataFrame) -> str:
    """Which point was timed, if it is one of several; with a space after it."""
    drops = totals[totals["kind"] == "accuracy-drop"]
    timed = drops[drops["time_speedup"].notna()]["target"].unique()
    one = len(timed) == 1 and drops["target"].nunique() > 1
    return f"Time stands at {f'≤ {points(timed[0])}' if timed[0] else 'no drop'} only. " if one else ""


def _redrawn(totals: pd.DataFrame) -> str:
    """What the intervals over val and test are, and why some rows have none; with a space before it."""
    if not has_redrawn(totals):
        return ""
    text = " MACs, val bootstrapped: 95 % interval over val and test images, the threshold chosen again each time"
    rows = totals[(totals["kind"] == "accuracy-drop") & totals["reached"] & (totals["seeds"] == 1)]
    none = (
        " (–: all draws give the same value, so there is no interval)" if rows["mac_redrawn_low"].isna().any() else ""
    )
    return f"{text}{none}."


def _brackets(totals: pd.DataFrame) -> str:
    seeds = totals["seeds"]
    if (seeds > 1).any():
        rest = "" if (seeds > 1).all() else "; over test images in rows of one seed"
        return f"Brackets: 95 % t interval over training seeds{rest}."
    return "Brackets: 95 % interval over test images, given the thresholds chosen on val."

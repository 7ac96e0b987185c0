"""All methods over all settings: the difference to LGViT in each, performance profiles, and improvability."""

from __future__ import annotations

import numpy as np

from reports.blocks import Block, Drawn, Heading, Shown, Text
from reports.comparison_group import HALF, ComparisonGroup
from reports.figures.profiles import profiles
from reports.numbering import ref
from reports.sources import source
from reports.study import Study
from reports.tables import DASH, Table, signed
from reports.words import counted, join
from results.judge.contrast import AHEAD, BEHIND
from results.stats.profiles import cost_ratios, improvability, profile_area
from results.tables.row_labels import labels as labels_of
from results.tables.run import STATIC

MOST = 12
"""Largest number of methods in the figure."""


def summary(study: Study) -> list[Block]:
    """Empty with a single setting, or without two methods that were run in all of them."""
    settings = [setting for setting in study.main if len(setting.methods) > 1]
    if len(settings) < 2:
        return []
    labels = [label for label in settings[0].methods if all(label in setting.methods for setting in settings)]
    if len(labels) < 2:
        return []
    costs = np.array([[_cost(study, setting, label) for setting in settings] for label in labels])
    errors = np.array([[_error(setting, label) for setting in settings] for label in labels])
    has_profile = bool(np.isfinite(costs).any())
    ratios = cost_ratios(costs)
    areas = profile_area(ratios) if has_profile else np.full(len(labels), np.nan)
    improvable = improvability(errors)
    runs = [run for setting in settings for run in setting.exiting]
    blocks: list[Block] = [
        Heading("All settings"),
        Text(_sentence(study, labels, areas, improvable, len(settings))),
        Shown(_caption(study, settings), _table(study, settings, labels, areas, improvable), name="summary",
              source=source(runs, "contrasts.csv, iso-accuracy")),
    ]  # fmt: skip
    if has_profile and len(labels) <= MOST:
        caption = (
            f"Performance profiles: the share of settings in which a method reaches the {study.metric.name} of the backbone "
            "without exits minus 1 point on test with at most x times the MACs of the cheapest method."
        )
        figure = profiles(ratios, labels, study.looks, study.display)
        blocks.append(Drawn(caption, figure, "profiles", source(runs, "iso-accuracy")))
    return blocks


def _sentence(study: Study, labels: list[str], areas: np.ndarray, improvable: np.ndarray, settings: int) -> str:
    over = f"Over {counted(settings, 'setting')} ({ref('summary')})"
    parts = []
    if np.isfinite(areas).any():
        best = _names(study, labels, areas == np.nanmax(areas))
        parts.append(f"the largest area under the performance profile is that of {best} ({np.nanmax(areas):.2f})")
    if np.isfinite(improvable).any():
        best = _names(study, labels, improvable == np.nanmin(improvable))
        parts.append(
            f"the least improvable error at half of the MACs that of {best} ({100 * np.nanmin(improvable):.1f} %)"
        )
    return (
        f"{over}, {', and '.join(parts)}; neither is a test." if parts else f"{over}, no method reaches these points."
    )


def _names(study: Study, labels: list[str], chosen: np.ndarray) -> str:
    return join([study.display[labels[i]] for i in np.flatnonzero(chosen)])


def _caption(study: Study, settings: list[ComparisonGroup]) -> str:
    tests = join(list(dict.fromkeys(setting.tests for setting in settings)))
    name = study.display[settings[0].reference]
    return (
        f"{study.metric.title} minus that of {name} at half of the MACs, in points. Bold: significantly "
        f"{study.metric.better} than {name}, underlined: significantly {study.metric.worse} (Holm's correction "
        f"over {tests}). Area: under the performance profile "
        "between 1 and 2 times the cheapest MACs, 1 is best. Improvability: by how much the best method of a setting lowers "
        f"the error (1 − {study.metric.name}) at half of the MACs, mean over settings, 0 is best. {study.metric.explained()}"
    ).rstrip()


def _table(
    study: Study, settings: list[ComparisonGroup], labels: list[str], areas: np.ndarray, improvable: np.ndarray
) -> Table:
    rows, bold, underlined = [], set(), set()
    for r, (label, area, share) in enumerate(zip(labels, areas, improvable, strict=True)):
        cells = [study.display[label]]
        for c, setting in enumerate(settings, start=1):
            contrast = setting.contrasts.get((label, HALF[1]))
            own = "0" if label == setting.reference else DASH
            cells.append(own if contrast is None else signed(-contrast.estimate.value))
            if contrast is not None and contrast.result == BEHIND:
                bold.add((r, c))
            if contrast is not None and contrast.result == AHEAD:
                underlined.add((r, c))
        cells += [DASH if np.isnan(area) else f"{area:.2f}", DASH if np.isnan(share) else f"{100 * share:.1f}"]
        rows.append(tuple(cells))
    header = ("Method", *(study.where(setting, "") for setting in settings), "Area", "Improvability (%)")
    return Table(header, tuple(rows), frozenset(bold), frozenset(underlined))


def _cost(study: Study, setting: ComparisonGroup, label: str) -> float:
    """Mean share of the MACs at which a method loses at most 1 point on test, over seeds; infinite where a seed never does."""
    table = study.tidy["iso-accuracy"]
    where = setting.where
    all_labels = labels_of(study.runs)
    names = {
        all_labels[run.record.run_id, policy]
        for run in setting.exiting
        for policy in run.policies
        if setting.label(run, policy) == label
    }
    rows = table[
        (table["backbone"] == where["backbone"]) & (table["dataset"] == where["dataset"]) & (table["scheme"] == where["scheme"])
        & (table["recipes"] == where["recipes"]) & (table["second"] == STATIC) & table["first"].isin(names)
    ]  # fmt: skip
    if rows.empty or rows["speedup"].isna().any():
        return float("inf")
    return float((1 / rows["speedup"]).mean())


def _error(setting: ComparisonGroup, label: str) -> float:
    rows = setting.at(HALF)
    rows = rows[rows["label"] == label]
    return float("nan") if rows.empty else 1 - float(rows.iloc[0]["accuracy"])

"""The data of the page: curves and operating points of every setting, and the rows of the table."""

from __future__ import annotations

import shlex
from typing import Any

import numpy as np
import pandas as pd

from reports.comparison_group import ComparisonGroup, of_setting
from reports.study import Study
from reports.style import Look
from reports.tables import DASH, interval, percent, points, signed, times
from reports.words import p_value
from results.tables.points import summary
from results.tables.row_labels import labels
from results.tables.run import NO_POLICY, STATIC, Run

POINTS = 20_000
"""Limit for all curves together; each keeps an equal share, between `FEWEST` and `MOST`, evenly spread over its cost."""
FEWEST, MOST = 6, 40
RECALLS = 60_000
"""Limit of recalls or IoUs of classes in the page; if there are more, it has none, and classes.csv has all."""
NUMBERS = ("Drop (points)", "Mean block", "Layers", "MACs", "Time")
"""Columns with numbers after the metric."""


def drawing(study: Study) -> list[dict[str, Any]]:
    """Every setting with its curves: one per run and policy; models without exits have a single point."""
    settings = [(setting, of_setting(study.runs, tuple(setting.where.values()))) for setting in study.settings]
    curves = sum(len(run.policies) for _, runs in settings for run in runs)
    limit = int(np.clip(POINTS // max(curves, 1), FEWEST, MOST))
    rows = dict(list(study.points.groupby("run_id")))
    recalls = _recalls(study)
    return [
        {
            "name": setting.name,
            "metric": setting.metric.name,
            "title": setting.metric.title,
            "byClass": setting.metric.of_class,
            "curves": [
                curve
                for run in runs
                for curve in _curves(study, setting, run, rows[run.record.run_id], limit, recalls)
            ],
        }
        for setting, runs in settings
    ]  # fmt: skip


Recalls = dict[tuple[str, str], pd.DataFrame]
"""The rows of the table of classes, by run id and operating point."""


def _recalls(study: Study) -> Recalls:
    table = study.tidy.get("classes", pd.DataFrame())
    if table.empty or len(table) > RECALLS:
        return {}
    return {(str(run_id), str(point)): rows for (run_id, point), rows in table.groupby(["run_id", "point"], sort=False)}


def _curves(
    study: Study, setting: ComparisonGroup, run: Run, rows: pd.DataFrame, limit: int, recalls: Recalls
) -> list[dict[str, Any]]:
    """The curves of a run, one per policy; for a model without exits, one with a single point."""
    curves = []
    for label, of_label in rows.groupby("label", sort=False):
        name, policy = str(label), str(of_label["policy"].iloc[0])
        look = study.looks.get(name) or study.looks.get(run.method) or Look("#7F7F7F", "o", (1, 0))
        reached = of_label[of_label["reached"]]
        by_class = [recalls.get((run.record.run_id, str(point))) for point in reached["point"]]
        classes = next((table for table in by_class if table is not None), None)
        curves.append(
            {
                "name": study.display.get(name, name), "run": run.record.run_id, "seed": run.seed, "policy": policy,
                "command": f"python -m benchmark reproduce {shlex.quote(run.record.run_id)}",
                "predict": f"python -m benchmark predict {shlex.quote(run.record.run_id)} IMAGES" if run.has_exits else "",
                "first": policy == next(iter(run.policies), ""),
                "exits": " ".join(str(exit_.block) for exit_ in run.record.exits[:-1]) if run.has_exits else "",
                "color": look.color, "marker": look.marker, "dash": _dash(look),
                "line": _line(run, policy, limit),
                "classes": [] if classes is None else classes["name"].tolist(),
                "without": [] if classes is None else _percentages(classes["static_accuracy"]),
                "marks": [
                    _mark(run, row) | {"recall": [] if table is None else _percentages(table["accuracy"])}
                    for (_, row), table in zip(reached.iterrows(), by_class, strict=True)
                ],
            }
        )  # fmt: skip
    return curves


def _line(run: Run, policy: str, limit: int) -> list[list[float | None]]:
    """Rows of threshold, share of the MACs without exits, accuracy and its interval in %, and mean block; cheapest first."""
    curve = run.curves[(run.curves["policy"] == policy) & (run.curves["split"] == "test")]
    share = curve["mean_macs"].to_numpy() / run.record.costs.baseline
    order = np.argsort(share, kind="stable")
    if len(order) > limit:  # keep the settings whose costs are nearest to evenly spread ones
        costs = np.linspace(share[order[0]], share[order[-1]], limit)
        order = order[np.unique(np.searchsorted(share[order], costs).clip(0, len(order) - 1))]
    columns = [curve["threshold"].to_numpy(), share]
    columns += [100 * curve[name].to_numpy() for name in ("accuracy", "low", "high")] + [curve["mean_block"].to_numpy()]
    return [[_short(column[i]) for column in columns] for i in order]


def _percentages(shares: pd.Series) -> list[float]:
    return [round(100 * float(share), 1) for share in shares]


def _mark(run: Run, row: pd.Series) -> dict[str, Any]:
    """The data of an operating point."""
    point = next((point for point in run.record.points if point.name == row["point"]), None)
    settings = point.settings if point else ()
    leaving = (
        zip(run.record.exits, point.test.exit_shares, strict=True) if point and point.test and run.has_exits else ()
    )
    return {
        "name": point_name(row),
        "point": shlex.quote(point.name) if point else "",
        "threshold": " and ".join(f"{s.threshold:.4g}" + (f" ({s.weight:.0%})" if len(settings) > 1 else "") for s in settings),
        "share": _short(1 / row["mac_speedup"]),
        **{name: _short(100 * row[name]) for name in ("accuracy", "low", "high")},
        "block": _short(row["mean_block"]),
        "leaving": ", ".join(f"{exit_.block}: {share:.0%}" for exit_, share in leaving if share >= 0.005),
        "time": f"{times(row['time_speedup'])} on {row['time_device']}" if row.get("time_device") else "",
    }  # fmt: skip


def point_name(row: pd.Series) -> str:
    """An operating point in words."""
    if row["kind"] == STATIC or row["policy"] == NO_POLICY:
        return "no exits"
    if row["kind"] == "equal-macs":
        return f"{row['target']:g} × MACs"
    if row["kind"] == "fixed":
        return f"fixed at {row['target']:g}"
    return "no drop" if row["target"] == 0 else f"≤ {points(row['target'])}"


def rows(study: Study) -> list[dict[str, Any]]:
    """The table over seeds: one row per setting, method and operating point; each cell has a text and a key for sorting."""
    table_rows = []
    names = {tuple(setting.where.values()): setting.name for setting in study.settings}
    several = len(names) > 1
    shown_in: dict[tuple[str, ...], set[int]] = {}  # a model without exits is shown in every group of its backbone
    for number, values in enumerate(names):
        for run in of_setting(study.runs, values):
            shown_in.setdefault(run.setting, set()).add(number)
    results = _results(study)
    for _, row in summary(study.points).iterrows():
        where = tuple(row[name] for name in ("backbone", "dataset", "scheme", "recipes"))
        setting = names.get(where, f"{row['backbone']}, {row['dataset']}")
        name = study.display.get(row["label"], row["label"])
        texts = [*([setting] if several else []), name, point_name(row)]
        cells = [{"text": text, "sort": text, "number": False} for text in texts]
        cells.append({"text": str(row["seeds"]), "sort": int(row["seeds"]), "number": True})
        shown = (
            (f"{percent(row['accuracy'])} {interval(row['low'], row['high'])}", row["accuracy"]),
            (DASH if row["kind"] == STATIC or pd.isna(row["drop"]) else signed(row["drop"]), row["drop"]),
            (DASH if pd.isna(row["mean_block"]) else f"{row['mean_block']:.1f}", row["mean_block"]),
            *((times(row[f"{kind}_speedup"]), row[f"{kind}_speedup"]) for kind in ("layer", "mac", "time")),
        )
        for text, value in shown:
            cells.append({"text": text, "sort": "" if pd.isna(value) else float(value), "number": True})
        result = results.get((where, row["label"], row["target"]), "") if row["kind"] == "equal-macs" else ""
        cells.append({"text": result, "sort": result, "number": False})
        numbers = " ".join(map(str, sorted(shown_in.get(where, ()))))
        marks = {"setting": numbers, "method": name, "point": point_name(row)}
        table_rows.append({"cells": cells, **marks})
    return table_rows


def _results(study: Study) -> dict[tuple[tuple[str, ...], str, float], str]:
    """What the tests say about a method, by setting, label and budget; see `results.judge.family`."""
    all_labels = labels(study.runs)
    texts = {}
    for setting in study.settings:
        where = tuple(setting.where.values())
        names = {
            setting.label(run, policy): all_labels[run.record.run_id, policy]
            for run in setting.exiting
            for policy in run.policies
        }
        for (label, budget), contrast in setting.contrasts.items():
            result = contrast.reversed().result
            words = {"ahead": "ahead of", "behind": "behind"}.get(result, f"{result} from")
            reference = study.display.get(setting.reference, setting.reference)
            texts[where, names[label], budget] = f"{words} {reference}, {p_value(contrast.p)}"
    return texts


def header(study: Study) -> list[dict[str, Any]]:
    """The names of the table's columns, and whether they contain numbers."""
    texts = [*(["Setting"] if len(study.settings) > 1 else []), "Method", "Point"]
    numbers = [{"text": text, "number": True} for text in ("Seeds", metric_column(study), *NUMBERS)]
    return [{"text": text, "number": False} for text in texts] + numbers + [{"text": "Result", "number": False}]


def metric_column(study: Study) -> str:
    """The head of the column by which the rows are sorted at first."""
    return f"{study.metric.title} (%)"


def _dash(look: Look) -> str:
    """The dash pattern as SVG text for a line two pixels wide; empty for a solid line."""
    return "" if look.line == (1, 0) else " ".join(f"{2 * part:g}" for part in look.line)


def _short(value: float) -> float | None:
    """The value rounded to five digits; None if it is not finite."""
    return None if not np.isfinite(value) else float(f"{value:.5g}")

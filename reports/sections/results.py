"""The results of every main group: tables, one main figure, and sentences about them."""

from __future__ import annotations

from dataclasses import replace

from reports.blocks import Block, Drawn, Heading, Text
from reports.comparison_group import HALF, ComparisonGroup
from reports.figures.exits import exit_accuracy, exit_distribution, exit_shares
from reports.figures.honesty import honesty
from reports.figures.speed_accuracy import controls, off_the_scale, speed_accuracy
from reports.figures.teaser import CURVES
from reports.findings import details
from reports.numbering import ref
from reports.sections.claims import unjudged, verdict_sentence
from reports.sections.closing import point_tables
from reports.sections.main_table import main_table
from reports.sections.realised import counted_three_ways, realised
from reports.sources import source
from reports.study import Study
from reports.tables import timing
from reports.words import few

ROUTING = "routing"
LINES = 10
"""Largest number of curves in a figure."""
ROWS = 24
"""Largest number of methods in the panel of differences."""


def results(study: Study) -> list[Block]:
    """The table of all main groups; the first group in full, the others in sentences, with their figures in the appendix."""
    verdicts = [] if (text := unjudged(study)) else verdict_sentence(study)
    first, *others = _described(study)
    figures = "" if study.has_one_method else f", {ref(_figure(first))} shows the curves"
    figures += " and the differences" if first.contrasts else ""
    where = "" if others else study.where(first, " with ")
    start = f"{ref('main-1')} lists the results{' of every method' if figures else ''}{where}{figures}."
    blocks: list[Block] = [Text(" ".join([start, *filter(None, [text]), *verdicts]))]
    if study.has_one_method:
        blocks += [replace(table, name="main-1") for table in point_tables(study, first)]
    else:
        blocks += [*main_table(study), *main_figure(study, first)]
    if others:
        blocks.append(Heading(first.name))
    blocks += [Text(text) for text in details(first, study.display)]
    texts, bars = _speed_ups(study, first), []
    if not study.has_one_method:
        bars = _bars(study, first)
        texts += [f"{ref(figure.name)} has the intervals." for figure in bars]
        texts += _at_half(study, first)
    blocks += [Text(" ".join(texts))] if texts else []
    blocks += [*exits_figures(study, first), *bars]
    for setting in others:
        blocks += [Heading(setting.name), *(Text(text) for text in details(setting, study.display))]
        at_one_point = " ".join(_speed_ups(study, setting))
        blocks.append(Text(f"{at_one_point} {ref(_figure(setting))} shows the curves.".strip()))
    return blocks


def figures_of_others(study: Study) -> list[Block]:
    """For the appendix: the figures of the main groups after the first."""
    blocks: list[Block] = []
    for setting in _described(study)[1:]:
        blocks += [*main_figure(study, setting), *exits_figures(study, setting)]
    return [Text("The same figures as for the first setting."), *blocks] if blocks else []


def main_figure(study: Study, setting: ComparisonGroup) -> list[Block]:
    """Curves and paired differences."""
    shown, rows = _shown(study, setting)
    metric = setting.metric.name
    parts = [f"test {metric} over mean MACs" + (", where the curves differ" if len(shown) > 1 else "")]
    if len(shown) < len(setting.methods):
        parts[0] += (
            f" (the {len(shown)} {setting.metric.best.removeprefix('the ')} at half of the MACs; curves.csv has all)"
        )
    if below := off_the_scale(setting, shown):
        parts[0] += f"; below its range: {few([study.display[name] for name in below])}"
    caption = f"{'Left: t' if setting.contrasts else 'T'}{parts[0][1:]}{study.where(setting)}."
    if setting.contrasts:
        caption += (
            f" Right: {metric} minus that of {study.display[setting.reference]} on the same images, with intervals that hold "
            f"together with 95 % (Bonferroni, {setting.tests}, over {setting.tested_over}). Filled: significant by the "
            "tests of Section 1; grey: not shown to differ."
        )
        if len(rows) < len(setting.methods) - 1:
            caption += " contrasts.csv has all methods."
    figure = speed_accuracy(setting, study.looks, shown, rows, study.display)
    return [Drawn(caption, figure, _figure(setting), source(setting.runs, "curves.csv, contrasts"))]


def exits_figures(study: Study, setting: ComparisonGroup) -> list[Block]:
    """The metric of every exit, and the share of images that leave there."""
    shown, _ = _shown(study, setting)
    where = study.where(setting)
    once = [name for name in shown if name not in setting.repeating]
    if once and len(once) < len(shown):
        left_out = [study.display[name] for name in shown if name not in once]
        shown, where = once, f"{where}; without {few(left_out)}, which runs the backbone more than once"
    beside = {"segmentation": " and boundary IoU", "detection": " and AP50"}.get(setting.leading.record.data.task, "")
    blocks: list[Block] = [
        Drawn(
            f"{setting.metric.title}{beside} of every exit on all test images{where}.",
            exit_accuracy(setting, study.looks, shown, study.display),
            f"{setting.number}-exit-accuracy",
            source(setting.exiting, "exits"),
        )
    ]
    distribution = exit_distribution(setting, HALF, shown, study.display)
    if distribution is not None:
        text = f"Share of test images (%) that leave at each exit, at half of the MACs{where}."
        blocks.append(
            Drawn(text, distribution, f"{setting.number}-exit-distribution", source(setting.exiting, "leaving"))
        )
    return blocks


def _at_half(study: Study, setting: ComparisonGroup) -> list[str]:
    """Where images leave the leading method at half of the MACs, and its metric beside that of random and of perfect routing;
    means over seeds. Empty where the method does not reach that point."""
    run, rows = setting.leading, study.rows_of("routing", setting)
    shares = exit_shares(setting, HALF, [setting.label(run, run.policies[0])])
    if shares.empty or rows.empty:
        return []
    rows = rows[(rows["method"] == run.method) & (rows["point"] == f"{run.policies[0]}/{HALF[0]}-{HALF[1]:g}")]
    gain = (rows["accuracy"] - rows["random"]).mean()
    perfect = ""
    if run.is_classification:
        missing = (rows["oracle"] - rows["accuracy"]).mean()
        perfect = f", and {100 * missing:.1f} points below that of perfect routing"
    apart = f"{100 * abs(gain):.1f}"
    level = "" if apart == "0.0" else f" {apart} points {'below' if gain < 0 else 'above'}"
    return [
        f"At half of the MACs {shares.iloc[0].iloc[0]:.0f} % of the test images leave {study.display[run.method]} after block "
        f"{shares.columns[0]} ({ref(f'{setting.number}-exit-distribution')}). At that point its {setting.metric.name} is"
        f"{level} that of random routing to the same exits in the same shares{perfect} ({ref(ROUTING)})."
    ]


def routing(study: Study) -> list[Block]:
    """For the appendix: the policy of the first main group between random and perfect routing."""
    setting = _described(study)[0]
    rows = study.rows_of("routing", setting)
    drawn = None if rows.empty or study.has_one_method else controls(setting, rows, study.looks, study.display)
    if drawn is None:
        return []
    perfect = " and perfect" if setting.leading.is_classification else ""
    text = (
        f"The policy of {study.display[setting.leading.method]}{study.where(setting)}: its operating points, and "
        f"random{perfect} routing to the same exits in the same shares."
    )
    runs = [run for run in setting.exiting if run.method == setting.leading.method]
    return [Drawn(text, drawn, ROUTING, source(runs, "routing"))]


def _bars(study: Study, setting: ComparisonGroup) -> list[Drawn]:
    """One operating point in three speed-ups; with few methods, the figure of page one shows them all."""
    shown, _ = _shown(study, setting)
    rows = counted_three_ways(setting, study.points)
    rows = rows[rows["label"].isin(shown)]
    if len(rows) <= CURVES:
        return []
    figure = honesty(rows.assign(label=rows["label"].map(study.display)))
    where, time = study.where(setting), timing(rows).rstrip()
    text = f"Speed-ups with at most 1 point lost on val{where}. Bars: 95 % over {setting.over}. {time}".rstrip()
    return [Drawn(text, figure, f"{setting.number}-honesty", source(setting.exiting, "points"))]


def _speed_ups(study: Study, setting: ComparisonGroup) -> list[str]:
    rows = counted_three_ways(setting, study.points)
    return realised(rows.assign(label=rows["label"].map(study.display))) if len(rows) else []


def _described(study: Study) -> list[ComparisonGroup]:
    """The main groups with something to compare, or the first one."""
    return [setting for setting in study.main if len(setting.methods) > 1] or study.main[:1]


def _figure(setting: ComparisonGroup) -> str:
    return f"{setting.number}-speed-accuracy"


def _shown(study: Study, setting: ComparisonGroup) -> tuple[list[str], list[str]]:
    """The labels of curves, and those of differences, the most accurate at half of the MACs first."""
    half = setting.at(HALF).sort_values("accuracy", ascending=False, kind="stable")["label"]
    ordered = list(dict.fromkeys([*(name for name in half if name in setting.methods), *setting.methods]))
    chosen = {setting.reference, *ordered[:LINES]} if len(ordered) > LINES else set(ordered)
    rows = [name for name in ordered if any(label == name for label, _ in setting.contrasts)]
    return [name for name in setting.methods if name in chosen], rows[:ROWS]

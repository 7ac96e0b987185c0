"""The results of every main group: main table, figures and sentences about them."""

from __future__ import annotations

from reports.blocks import Block, Drawn, Heading, Text
from reports.figures.exits import exit_accuracy, exit_distribution
from reports.figures.honesty import honesty
from reports.figures.panels import MOST
from reports.figures.speed_accuracy import controls, speed_accuracy
from reports.findings import details
from reports.sections.claims import verdict_sentence
from reports.sections.main_table import main_table
from reports.sections.realised import counted_three_ways, realised
from reports.study import HALF, ComparisonGroup, Study


def results(study: Study) -> list[Block]:
    blocks = [*map(Text, verdict_sentence(study)), *main_table(study)]
    described = [setting for setting in study.main if len(setting.methods) > 1] or study.main[:1]
    for setting in described:  # a single method is fully described by its row in the table
        if len(described) > 1:
            blocks.append(Heading(setting.place))
        blocks += [Text(text) for text in details(setting, study.display)]
        blocks += _figures(study, setting)
    return blocks


def _figures(study: Study, setting: ComparisonGroup) -> list[Block]:
    shown, left_out = _shown(setting)
    more = f" The {MOST} most accurate ones at half of the MACs; curves.csv has all." if left_out else ""
    over = "training seeds" if setting.over == "seeds" else "test images"
    name, number = study.where(setting), setting.number
    blocks: list[Block] = [
        Drawn(
            f"Test accuracy over mean MACs{name}. Bands and bars: 95 % over {over}. Points: models without exits, "
            f"and fixed thresholds. To the right of 1, a model costs more than the backbone without exits.{more}",
            speed_accuracy(setting, study.looks, shown, study.display),
            f"{number}-speed-accuracy",
        )
    ]
    rows = counted_three_ways(setting, study.points)
    rows = rows.assign(label=rows["label"].map(study.display))
    if not rows.empty:
        blocks.append(
            Drawn(
                f"One operating point (at most 1 point lost on val) in three speed-ups{name}: over "
                f"the backbone without exits. Bars: 95 % over {over}.",
                honesty(rows[rows["label"].isin([study.display[label] for label in shown])]),
                f"{number}-honesty",
            )
        )
        blocks += [Text(text) for text in realised(rows)]
    routing = study.metric("routing", setting)
    drawn = None if routing.empty else controls(setting, routing, study.looks, study.display)
    if drawn is not None:
        own = setting.leading.policies[0]
        blocks.append(
            Drawn(
                f"The effect of the policy on the heads of {study.display[setting.leading.method]}{name}: its operating "
                f"points under {own}, compared with random and perfect routing to the same exits in the same shares.",
                drawn,
                f"{number}-controls",
            )
        )
    blocks.append(
        Drawn(
            f"Accuracy of every exit on all test images{name}.",
            exit_accuracy(setting, study.looks, shown, study.display),
            f"{number}-exit-accuracy",
        )
    )
    distribution = exit_distribution(setting, HALF, shown, study.display)
    if distribution is not None:
        text = f"Share of test images (%) that leave at each exit, at half of the MACs{name}."
        blocks.append(Drawn(text, distribution, f"{number}-exit-distribution"))
    return blocks


def _shown(setting: ComparisonGroup) -> tuple[list[str], bool]:
    """The labels that figures show, and whether any was left out."""
    if len(setting.methods) <= MOST:
        return setting.methods, False
    best = setting.at(HALF).sort_values("accuracy", ascending=False)["label"]
    chosen = set(list(dict.fromkeys([*best, *setting.methods]))[:MOST])
    return [name for name in setting.methods if name in chosen], True

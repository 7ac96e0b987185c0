"""The answers to the rules on LGViT's mechanisms."""

from __future__ import annotations

from reports.blocks import Block, Shown, Text
from reports.numbering import ref
from reports.sources import source
from reports.study import Study
from reports.tables import Table
from results.judge.mechanism_evidence import ScaledAnswer, effect_text, mechanism_answers

RULES = "mechanisms"


def mechanisms_with_reference(study: Study) -> list[Block]:
    """`mechanisms`, after a sentence that refers to the table."""
    shown = mechanisms(study)
    return (
        [Text(f"{ref(RULES)} holds rules on the mechanisms that LGViT's design assumes, and their answers."), *shown]
        if shown
        else []
    )


def mechanisms(study: Study) -> list[Shown]:
    """One table with the answers of all rules; nothing where no rule has numbers and no tokens were measured."""
    rows = study.tidy.get(RULES)
    if rows is None:
        return []
    answers = mechanism_answers(study.runs)
    scales = "; ".join(dict.fromkeys(scaled.scale for scaled in answers))
    caption = (
        "Rules on LGViT's mechanisms: supported, not supported, or open. They were fixed before the first numbers; the check "
        "of convergence, which (a), (c) and (d) use, changed afterwards. Brackets: 95 % intervals over training seeds, 97.5 % "
        "in (d). Supported: all intervals above 0 and all means at least the margin, 0.5 points or in (d) a rank correlation "
        "of 0.5; not supported: an interval that ends below the margin. The answers hold at the scale of these runs: "
        f"{scales}."
    )
    several = len({scaled.scale for scaled in answers}) > 1
    header: tuple[str, ...] = ("Rule", "Statement", "Answer", "Numbers", "Why open")
    cells = [_row(scaled) for scaled in answers]
    if several:
        header = (*header, "Scale")
        cells = [(*row, scaled.scale) for row, scaled in zip(cells, answers, strict=True)]
    return [Shown(caption, Table(header, tuple(cells), words=True), name=RULES, source=source(study.runs, RULES))]


def _row(scaled: ScaledAnswer) -> tuple[str, ...]:
    answer = scaled.answer
    numbers = "; ".join(effect_text(answer, effect) for effect in answer.effects)
    return f"({answer.rule})", answer.statement, answer.verdict, numbers, answer.reason

"""The output of the command ``explain``, at most 80 columns wide."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import pandas as pd
from rich.console import Console
from rich.table import Table

from results.judge.mechanism_evidence import ScaledAnswer, effect_text
from results.store.probes import BOTH, CLASS_TOKEN, PATCH_MEAN, Probes
from results.store.representations import Measurements

SHORT = {CLASS_TOKEN: "class", PATCH_MEAN: "mean", BOTH: "both"}


def show_probes(console: Console, probes: Probes) -> None:
    """The test accuracy of both classifiers, one row per block."""
    kinds = list(dict.fromkeys(probe.inputs for probe in probes.probes))
    rows = []
    for block in dict.fromkeys(probe.block for probe in probes.probes):
        at_block = [probes.at(block, kind) for kind in kinds]
        accuracies = [
            f"{_percent(row.test_accuracy)} / {_percent(row.mean_test_accuracy)}" if row else "" for row in at_block
        ]
        rows.append([str(block), *accuracies])
    _show(console, "Test accuracy (%) of a linear probe / the nearest class mean:", ["block", *kinds], rows)
    if probes.last_quarter is not None:
        last = probes.last_quarter
        console.print(
            f"val accuracy of the final classifier: {_percent(last.before)} % after epoch {last.before_epoch} of "
            f"{last.epochs}, {_percent(last.after)} % at the end"
        )


def show_tokens(console: Console, tokens: Measurements) -> None:
    """CKA, attention distance and frequencies on test, one row per block."""
    on_test = [row for row in tokens.rows if row.split == "test"]
    kinds = list(dict.fromkeys(row.part for row in on_test if row.measure == "cka"))
    rows = []
    for block in dict.fromkeys(row.block for row in on_test):
        values: dict[tuple[str, str], float | None] = {
            (row.measure, row.part): row.value for row in on_test if row.block == block
        }
        distances = [value for (name, _), value in values.items() if name == "attention-distance" and value is not None]
        spread = f"{min(distances):.1f} - {max(distances):.1f}" if distances else "-"
        others = (("uniform-distance", 1), ("high-frequency-share", 2), ("white-noise-share", 2))
        rows.append([
            str(block), *(_number(values.get(("cka", kind)), 2) for kind in kinds), spread,
            *(_number(values.get((name, "")), digits) for name, digits in others),
        ])  # fmt: skip
    title = (
        f"On test: CKA with the last block ({', '.join(kinds)}); attention distance in pixels, smallest and largest head, and "
        "that of uniform attention; share of high spatial frequencies, and that of white noise:"
    )
    header = ["block", *(SHORT[kind] for kind in kinds), "distance", "uniform", "high", "noise"]
    _show(console, title, header, rows)
    for note in dict.fromkeys(row.note for row in tokens.rows if row.note):
        console.print(note, markup=False)


def show_disagreement(console: Console, method: str, exits: pd.DataFrame) -> None:
    """The rows of `results.tables.representations.disagreement_table` of one run."""
    columns = ["disagreement", "final_right", "final_wrong", "corrected"]
    rows = [[str(row["block"]), row["head"], *(_percent(row[name]) for name in columns)] for _, row in exits.iterrows()]
    title = (
        f"{method}, in % of test images: where an exit differs from the final classifier (of all images, of those that it "
        "classifies correctly, of those that it does not), and where only the exit is right (of the last kind; overthinking):"
    )
    _show(console, title, ["block", "head", "all", "final right", "final wrong", "exit right"], rows, left=2)


def show_gradients(console: Console, method: str, gradients: Measurements) -> None:
    """The cosines of a jointly trained run, one row per exit."""
    values = {(row.block, row.measure): row.value for row in gradients.rows}
    rows = [
        [str(block), _number(values[block, "gradient-cosine"], 3), _percent(values[block, "gradient-conflicts"])]
        for block in dict.fromkeys(row.block for row in gradients.rows)
    ]
    title = (
        f"{method}: cosine of an exit's gradient with that of the final exit on the parameters that both share, mean over "
        "minibatches of train, and how many are below 0:"
    )
    _show(console, title, ["block", "cosine", "conflicts (%)"], rows)


def show_answers(console: Console, answers: Sequence[ScaledAnswer]) -> None:
    """The rules on mechanisms, each with its numbers, at the scale of the runs."""
    for scale, own in groupby(answers, key=lambda scaled: scaled.scale):
        console.print(f"Rules on mechanisms (docs/statistics.md), {scale}:", markup=False)
        for scaled in own:
            answer = scaled.answer
            reason = f" ({answer.reason})" if answer.reason else ""
            console.print(f"({answer.rule}) {answer.statement}: {answer.verdict.upper()}{reason}", markup=False)
            for effect in answer.effects:
                console.print(f"    {effect_text(answer, effect)}", markup=False)


def _show(console: Console, title: str, header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 0) -> None:
    """A table below its title; the columns are right-justified but for the one before column ``left``."""
    console.print(title, markup=False)
    table = Table()
    for number, name in enumerate(header):
        table.add_column(name, justify="left" if number == left - 1 else "right")
    for row in rows:
        table.add_row(*row)
    console.print(table, markup=False)


def _percent(share: float | None) -> str:
    return "-" if share is None or share != share else f"{100 * share:.1f}"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"

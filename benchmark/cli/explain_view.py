"""The output of the command ``explain``, at most 80 columns wide: each table is followed by the meaning of its columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

import pandas as pd
from rich.console import Console

from benchmark.run_reference import short_id
from benchmark.text_table import text_table, wrapped
from results.judge.mechanism_evidence import ScaledAnswer, effect_text
from results.store.probes import BOTH, CLASS_TOKEN, PATCH_MEAN, Probes
from results.store.representations import Measurements

SHORT = {CLASS_TOKEN: "class", PATCH_MEAN: "mean", BOTH: "both"}


def show_probes(console: Console, probes: Probes) -> None:
    """The test accuracy of both classifiers, one row per block."""
    kinds = list(dict.fromkeys(probe.inputs for probe in probes.probes))
    blocks = list(dict.fromkeys(probe.block for probe in probes.probes))
    columns = {"block": [str(block) for block in blocks]}
    for kind in kinds:
        of_kind = [probes.at(block, kind) for block in blocks]
        columns[kind] = [
            f"{_percent(row.test_accuracy)} / {_percent(row.mean_test_accuracy)}" if row else "" for row in of_kind
        ]
    _show(console, "Accuracy on test (%) of a linear probe / of the nearest class mean", columns)
    if probes.last_quarter is not None:
        last = probes.last_quarter
        _say(
            console,
            f"val accuracy of the final classifier: {_percent(last.before)} % after epoch {last.before_epoch} of "
            f"{last.epochs}, {_percent(last.after)} % at the end",
        )


def show_tokens(console: Console, tokens: Measurements) -> None:
    """CKA, attention distance and frequencies on test, one row per block."""
    on_test = [row for row in tokens.rows if row.split == "test"]
    kinds = list(dict.fromkeys(row.part for row in on_test if row.measure == "cka"))
    columns: dict[str, list[str]] = {}
    for block in dict.fromkeys(row.block for row in on_test):
        values: dict[tuple[str, str], float | None] = {
            (row.measure, row.part): row.value for row in on_test if row.block == block
        }
        distances = [value for (name, _), value in values.items() if name == "attention-distance" and value is not None]
        cells = {
            "block": str(block),
            **{SHORT[kind]: _number(values.get(("cka", kind)), 2) for kind in kinds},
            "distance": f"{min(distances):.1f} - {max(distances):.1f}" if distances else "-",
            "uniform": _number(values.get(("uniform-distance", "")), 1),
            "high": _number(values.get(("high-frequency-share", "")), 2),
            "noise": _number(values.get(("white-noise-share", "")), 2),
        }
        for name, cell in cells.items():
            columns.setdefault(name, []).append(cell)
    legend = (
        f"{', '.join(SHORT[kind] for kind in kinds)}: CKA with the last block ({', '.join(kinds)}). distance: mean attention "
        "distance in pixels, smallest and largest head; uniform: that of uniform attention. high: share of high spatial "
        "frequencies; noise: that of white noise."
    )
    _show(console, "Tokens after each block, on test", columns, legend)
    for note in dict.fromkeys(row.note for row in tokens.rows if row.note):
        _say(console, note)


def show_disagreement(console: Console, exits: pd.DataFrame) -> None:
    """The rows of `results.tables.representations.disagreement_table`; each run is named in its first row."""
    run_ids = exits["run_id"].tolist()
    starts = [number == 0 or run_ids[number - 1] != run_id for number, run_id in enumerate(run_ids)]
    shares = {
        "differ": "disagreement",
        "final right": "final_right",
        "final wrong": "final_wrong",
        "corrected": "corrected",
    }
    columns = {
        "run": [short_id(run_id) if new else "" for run_id, new in zip(run_ids, starts, strict=True)],
        "method": [method if new else "" for method, new in zip(exits["method"], starts, strict=True)],
        "block": [str(block) for block in exits["block"]],
        "head": exits["head"].tolist(),
        **{name: [_percent(value) for value in exits[column]] for name, column in shares.items()},
    }
    legend = (
        "differ: exit and final classifier give different answers. final right, final wrong: the same, of the images that the "
        "final classifier gets right or wrong. corrected: of the latter, those that the exit gets right (overthinking)."
    )
    _show(
        console,
        "Exits beside the final classifier, in % of the test images",
        columns,
        legend,
        left=("run", "method", "head"),
    )


def show_gradients(console: Console, run_id: str, gradients: Measurements) -> None:
    """The cosines of a jointly trained run, one row per exit."""
    values = {(row.block, row.measure): row.value for row in gradients.rows}
    blocks = list(dict.fromkeys(row.block for row in gradients.rows))
    columns = {
        "block": [str(block) for block in blocks],
        "cosine": [_number(values[block, "gradient-cosine"], 3) for block in blocks],
        "conflicts (%)": [_percent(values[block, "gradient-conflicts"]) for block in blocks],
    }
    legend = (
        "cosine: between the gradients of an exit and of the final exit on the parameters that both share, mean over "
        "minibatches of train. conflicts: minibatches in which it is below 0."
    )
    _show(console, f"Gradients of {short_id(run_id)}", columns, legend)


def show_refusals(console: Console, what: str, refusals: Mapping[str, str]) -> None:
    """What is not done for runs, and why, by their ids; one sentence for each reason."""
    for reason in dict.fromkeys(refusals.values()):
        of_reason = ", ".join(short_id(run_id) for run_id, other in refusals.items() if other == reason)
        _say(console, f"{what} {of_reason}: {reason}")


def show_answers(console: Console, answers: Sequence[ScaledAnswer]) -> None:
    """The rules on mechanisms, each with its numbers, at the scale of the runs."""
    for scale, own in groupby(answers, key=lambda scaled: scaled.scale):
        console.print()
        _say(console, f"Rules on mechanisms (docs/statistics.md), {scale}")
        for scaled in own:
            answer = scaled.answer
            reason = f" ({answer.reason})" if answer.reason else ""
            _say(console, f"{answer.statement}: {answer.verdict.upper()}{reason}", f"({answer.rule}) ")
            for effect in answer.effects:
                _say(console, effect_text(answer, effect), "      ")


def _show(
    console: Console, title: str, columns: Mapping[str, Sequence[str]], legend: str = "", left: Sequence[str] = ()
) -> None:
    """A table below its title; the columns are right-justified except for those of ``left``."""
    console.print()
    _say(console, title)
    right = [name for name in columns if name not in left]
    for line in text_table(columns, console.width, optional=["head", "method"], right=right):
        console.print(line, markup=False, soft_wrap=True)
    if legend:
        _say(console, legend)


def _say(console: Console, text: str, first: str = "") -> None:
    for line in wrapped(text, console.width, first):
        console.print(line, markup=False, soft_wrap=True)


def _percent(share: float | None) -> str:
    return "-" if share is None or share != share else f"{100 * share:.1f}"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"

"""Writes tables for other programs: tidy tables as CSV and Parquet, captioned ones as text, Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from pyarrow import Table as ArrowTable
from pyarrow.csv import WriteOptions
from pyarrow.csv import write_csv as write_arrow_csv
from pyarrow.parquet import write_table

from reports.blocks import Shown
from reports.tables import markdown
from reports.text_tables import plain
from results.store.output import without_formulas

_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "\"": r"\textquotedbl{}", "−": "$-$", "×": r"$\times$", "≤": r"$\leq$", "–": "--", "\n": " ",
}  # fmt: skip


def write_csv(folder: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """One file per table, without formulas. pyarrow writes large tables many times faster than pandas."""
    for name, table in tables.items():
        if len(table):
            write_arrow_csv(
                _arrow(without_formulas(table)), folder / f"{name}.csv", WriteOptions(quoting_style="needed")
            )
        else:
            table.to_csv(folder / f"{name}.csv", index=False)


def write_parquet(folder: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """One file per table."""
    for name, table in tables.items():
        write_table(_arrow(table), folder / f"{name}.parquet")


def write_readable(folder: Path, captioned: list[Shown], formats: tuple[str, ...]) -> None:
    """Captioned tables as aligned text, and in the formats asked for."""
    pairs = [(shown.caption, shown.table) for shown in captioned]
    texts = {"table.txt": plain(pairs)}
    if "markdown" in formats:
        texts["table.md"] = markdown(pairs)
    if "latex" in formats:
        texts["table.tex"] = latex(captioned)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def latex(captioned: list[Shown]) -> str:
    """Tables for the LaTeX package booktabs, for ``\\input`` into a document."""
    parts = ["% Needs \\usepackage{booktabs}; wide tables may need \\usepackage{graphicx} and \\resizebox."]
    for number, shown in enumerate(captioned, start=1):
        table = shown.table
        rows = [
            [_cell(cell, (r, c) in table.bold, (r, c) in table.underlined) for c, cell in enumerate(row)]
            for r, row in enumerate(table.rows)
        ]
        lines = [" & ".join(row) + r" \\" for row in rows]
        parts.append(
            "\n".join(
                [
                    r"\begin{table}",
                    rf"\caption{{{escaped(shown.caption)}}}",
                    rf"\label{{tab:lgvit-bench-{number}}}",
                    r"\centering",
                    rf"\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}",
                    r"\toprule",
                    *_group_lines(table.groups),
                    " & ".join(map(escaped, table.header)) + r" \\",
                    r"\midrule",
                    *lines,
                    r"\bottomrule",
                    r"\end{tabular}",
                    r"\end{table}",
                ]
            )
        )
    return "\n\n".join(parts) + "\n"


def _group_lines(groups: tuple[tuple[str, int], ...]) -> list[str]:
    """The headings over neighbouring columns, with a rule below each."""
    if not groups:
        return []
    cells, rules, start = [], [], 1
    for name, width in groups:
        cells.append(rf"\multicolumn{{{width}}}{{c}}{{{escaped(name)}}}" if name else " & " * (width - 1))
        rules += [rf"\cmidrule(lr){{{start}-{start + width - 1}}}"] if name else []
        start += width
    return [" & ".join(cells) + r" \\", "".join(rules)]


def escaped(text: str) -> str:
    """Text that LaTeX prints unchanged."""
    return "".join(_LATEX.get(letter, letter) for letter in text)


def _cell(text: str, bold: bool, underlined: bool) -> str:
    cell = escaped(text)
    if cell.startswith("["):  # after \\ LaTeX would read it as an option
        cell = "{}" + cell
    cell = rf"\textbf{{{cell}}}" if bold else cell
    return rf"\underline{{{cell}}}" if underlined else cell


def _arrow(table: pd.DataFrame) -> ArrowTable:
    return ArrowTable.from_pandas(table, preserve_index=False).replace_schema_metadata()

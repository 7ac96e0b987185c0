"""Tables for other programs: CSV and Parquet of the tidy ones, LaTeX and Markdown of those that people read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from reports.tables import Table, markdown, plain

_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "\"": r"\textquotedbl{}", "−": "$-$", "×": r"$\times$", "≤": r"$\leq$", "–": "--", "\n": " ",
}  # fmt: skip


def write_csv(folder: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """One file a table. pyarrow writes large ones many times as fast as pandas does."""
    from pyarrow.csv import WriteOptions
    from pyarrow.csv import write_csv as write

    for name, table in tables.items():
        if len(table):
            write(_arrow(table), folder / f"{name}.csv", WriteOptions(quoting_style="needed"))
        else:
            table.to_csv(folder / f"{name}.csv", index=False)


def write_parquet(folder: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """One file a table."""
    from pyarrow.parquet import write_table

    for name, table in tables.items():
        write_table(_arrow(table), folder / f"{name}.parquet")


def write_readable(folder: Path, captioned: list[tuple[str, Table]], formats: tuple[str, ...]) -> None:
    """The tables that people read, by default as aligned text alone."""
    texts = {"table.txt": plain(captioned)}
    if "markdown" in formats:
        texts["table.md"] = markdown(captioned)
    if "latex" in formats:
        texts["table.tex"] = latex(captioned)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def latex(captioned: list[tuple[str, Table]]) -> str:
    """Tables as LaTeX sets them with the package booktabs; for ``\\input`` into a document."""
    parts = ["% Needs \\usepackage{booktabs}; wide tables may need \\usepackage{graphicx} and \\resizebox."]
    for number, (caption, table) in enumerate(captioned, start=1):
        rows = [
            [_cell(cell, (r, c) in table.bold, (r, c) in table.underlined) for c, cell in enumerate(row)]
            for r, row in enumerate(table.rows)
        ]
        lines = [" & ".join(row) + r" \\" for row in rows]
        parts.append(
            "\n".join(
                [
                    r"\begin{table}",
                    rf"\caption{{{escaped(caption)}}}",
                    rf"\label{{tab:lgvit-bench-{number}}}",
                    r"\centering",
                    rf"\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}",
                    r"\toprule",
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


def escaped(text: str) -> str:
    """Text that LaTeX prints as it stands."""
    return "".join(_LATEX.get(letter, letter) for letter in text)


def _cell(text: str, bold: bool, underlined: bool) -> str:
    found = escaped(text)
    if found.startswith("["):  # behind a line's end it would be an option of the line's end
        found = "{}" + found
    found = rf"\textbf{{{found}}}" if bold else found
    return rf"\underline{{{found}}}" if underlined else found


def _arrow(table: pd.DataFrame):  # type: ignore[no-untyped-def]
    from pyarrow import Table as ArrowTable

    return ArrowTable.from_pandas(table, preserve_index=False).replace_schema_metadata()

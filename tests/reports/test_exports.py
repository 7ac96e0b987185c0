"""Exported tables equal the tidy tables; LaTeX prints any text literally."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from reports.blocks import Shown
from reports.exports import escaped, latex, write_csv, write_parquet
from reports.figures.panels import legend_below, panel_figure
from reports.report_folder import check_replaceable
from reports.sections.main_table import paper_layout
from reports.study import Study
from reports.style import RC, legend_label, save_figure
from reports.tables import Table, markdown
from reports.tidy_tables import tidy_tables
from results.store.folder import Store, StoreError
from results.tables.loading import load_runs
from tests.conftest import Command, SmokeRun, torch_free
from tests.results.edited import edit_record

UNESCAPED = re.compile(r"(?<!\\)[&%$#_{}~^<>|\"]")


@given(st.text())
def test_every_character_is_escaped_in_latex(text: str) -> None:
    latex = escaped(text)
    without_ours = re.sub(r"\\text[a-z]+\{\}|\$-\$|\$\\times\$|\$\\leq\$|\\[{}$&%#_]", "", latex)
    assert not set(without_ours) & set('\\{}$&%#_~^<>|"\n')


def test_a_latex_table_is_complete() -> None:
    table = Table(("Method", "50 % × MACs"), (("a_b & \\input{x}", "−1.0 [2, 3]"), ("[x]", "~")), frozenset({(0, 1)}))
    text = latex([Shown("100 % of {it}", table)])
    assert r"\caption{100 \% of \{it\}}" in text
    assert r"a\_b \& \textbackslash{}input\{x\} & \textbf{$-$1.0 [2, 3]} \\" in text
    assert r"{}[x] & \textasciitilde{} \\" in text  # a bracket behind a line's end would be its option
    for rule in ("toprule", "midrule", "bottomrule"):
        assert text.count(rf"\{rule}") == 1
    assert re.findall(r"\\(begin|end)\{(\w+)\}", text) == [
        ("begin", "table"), ("begin", "tabular"), ("end", "tabular"), ("end", "table"),
    ]  # fmt: skip
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    assert [len(re.findall(r"(?<!\\)&", line)) for line in body.splitlines() if line.endswith(r"\\")] == [1, 1, 1]


def test_groups_of_columns_are_headings_in_latex() -> None:
    table = Table(("Method", "a", "b", "c", "d"), (("x", "1", "2", "3", "4"),), groups=(("", 1), ("V_1", 2), ("W", 2)))
    lines = latex([Shown("c", table)]).splitlines()
    at = lines.index(r"\toprule")
    assert lines[at + 1 : at + 3] == [
        r" & \multicolumn{2}{c}{V\_1} & \multicolumn{2}{c}{W} \\", r"\cmidrule(lr){2-3}\cmidrule(lr){4-5}",
    ]  # fmt: skip


def test_the_layout_of_the_paper_has_the_numbers_of_the_records(smoke: SmokeRun) -> None:
    store = Store(smoke.results)
    runs, _ = load_runs(store, store.run_ids())
    table = paper_layout(Study("t", runs, tidy_tables(runs, []))).table
    assert table.header == ("Method", "Acc. (%)", "Speed-up")
    rows = {row[0]: row[1:] for row in table.rows}
    assert len(rows) == 5
    run = next(run for run in runs if run.method == "lgvit")
    point = run.point("confidence", "accuracy-drop", 0.01)
    assert point is not None
    assert point.test is not None
    speedup = run.record.depth / point.test.mean_block
    assert rows["LGViT"] == (f"{100 * point.test.accuracy:.1f}", f"{speedup:.2f}×")
    assert rows["backbone without exits"] == (f"{100 * run.record.static_accuracy.test:.1f}", "1.00×")


EVIL = ["=cmd|' /C calc'!A0", "+1", "-x", "@SUM(A1)", " =1", "<script>alert(1)</script>", "![i](http://x)", "[a](b)", "a|b",
        "two\nlines", "\x1b[31mred", "`code`", "*bold*", "_mine_", "# title", "&lt;"]  # fmt: skip


def test_text_of_records_is_no_formula_in_csv(tmp_path: Path) -> None:
    write_csv(tmp_path, {"mine": pd.DataFrame({"name": EVIL, "value": [-1.0] * len(EVIL)})})
    read = pd.read_csv(tmp_path / "mine.csv")
    assert len(read) == len(EVIL)
    assert (read["value"] == -1).all()
    for name in read["name"]:
        assert not name.lstrip().startswith(("=", "+", "-", "@"))
        assert "\x1b" not in name


@pytest.mark.parametrize("text", EVIL)
def test_text_of_records_is_no_markup_in_markdown(text: str) -> None:
    lines = markdown([(text, Table((text, text), ((text, "1"),), frozenset({(0, 0)})))]).splitlines()
    assert len(lines) == 5
    for line in lines[2:5]:
        assert len(re.findall(r"(?<!\\)\|", line)) == 3
    plainly = "".join(lines)
    assert "<" not in plainly
    assert not re.search(r"(?<!\\)\]\s*[(\[]|(?<!\\)`|\x1b", plainly)


@pytest.mark.parametrize("label", ["v$\\frac$", "5$ to 9$", "_mine", "zwei\nzeilen", "$\\frac{$"])
def test_text_of_records_is_no_mathematics_in_a_figure(tmp_path: Path, label: str) -> None:
    with mpl.rc_context(RC):
        figure, (axes,) = panel_figure([[label]], 1.5)
        axes.plot([1, 2], [1, 2], label=legend_label(label))
        axes.set_title(label)
        legend_below(axes, columns=1)
    save_figure(figure, tmp_path / "f.pdf")
    assert (tmp_path / "f.svg").read_text().count(label.partition("\n")[0]) == 2


@pytest.mark.parametrize("write", [write_csv, write_parquet])
def test_tables_are_read_back(write, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    table = pd.DataFrame(
        {
            "name": ['a "quoted", one', "b, line", "ü"],
            "value": [0.1, 1 / 3, float("nan")],
            "reached": [True, False, True],
        }
    )
    write(tmp_path, {"mine": table, "empty": table.iloc[:0]})
    ending = "csv" if write is write_csv else "parquet"
    read = pd.read_csv if write is write_csv else pd.read_parquet
    pd.testing.assert_frame_equal(read(tmp_path / f"mine.{ending}"), table)
    assert list(read(tmp_path / f"empty.{ending}").columns) == list(table.columns)


@pytest.mark.slow
def test_every_format_from_copied_records_without_torch(
    smoke: SmokeRun, tmp_path: Path, without_torch: dict[str, str]
) -> None:
    formats = [part for name in ("html", "latex", "parquet", "csv") for part in ("--format", name)]
    out = tmp_path / "report"
    done = torch_free(without_torch, "report", "--results", smoke.results, "--out", out, *formats)
    assert done.returncode == 0, done.stderr
    for name in ("report.html", "table.tex", "paper-table.tex", "table.txt", "points.csv", "points.parquet"):
        assert name in done.stdout
        assert (out / name).is_file()
    assert not (out / "paper.pdf").exists()
    assert not (out / "table.md").exists()
    for path in out.glob("*.parquet"):
        tidy, listed = pd.read_parquet(path), pd.read_csv(path.with_suffix(".csv"))
        pd.testing.assert_frame_equal(tidy.replace("", None), listed, check_dtype=False)
    assert "reading records" in done.stdout


def test_figures_have_three_formats(smoke: SmokeRun) -> None:
    figures = sorted((smoke.out / "figures").glob("*.pdf"))
    assert figures
    for path in figures:
        with Image.open(path.with_suffix(".png")) as image:
            # The atlas has a row of images for each exit at which some leave, perhaps one.
            assert min(image.size) > (40 if path.stem == "exit-atlas" else 150)
            assert len(image.convert("L").getcolors(256)) > 2
        assert ElementTree.parse(path.with_suffix(".svg")).getroot().tag.endswith("svg")


def test_results_of_several_people_are_one_report(smoke: SmokeRun, tmp_path: Path, benchmark_command: Command) -> None:
    import shutil

    folders = [tmp_path / "ann" / "results", tmp_path / "bob" / "results"]
    for path in sorted((smoke.results / "runs").iterdir()):
        for folder in folders if path.name.startswith(("static", "lgvit-")) else folders[:1]:
            shutil.copytree(path, folder / "runs" / path.name)
    (moved,) = folders[1].glob("runs/lgvit-*")
    edit_record(moved, lambda record: record["method"].update(display_name="bobs"))
    arguments = [part for folder in folders for part in ("--results", folder)]
    done = benchmark_command("report", *arguments, "--out", tmp_path / "out", "--format", "html")
    assert done.returncode == 0, done.stderr
    assert f"left out: {moved}: differs in record.json from" in done.stdout
    page = (tmp_path / "out" / "report.html").read_text()
    assert re.search(
        r"<li>bob/results/runs/lgvit-\S+: differs in record.json from .* in ann/results, which counts", page
    )
    assert str(tmp_path) not in page  # a report does not name its machine
    assert "bobs" not in page


def test_without_runs_report_names_the_command(tmp_path: Path, benchmark_command: Command) -> None:
    (tmp_path / "empty").mkdir()
    done = benchmark_command("report", "--results", tmp_path / "empty", "--grid", "smoke", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "run this first: python -m benchmark run --grid smoke" in done.stderr
    done = benchmark_command("report", "--results", tmp_path / "none")
    assert done.returncode == 2
    assert str(tmp_path / "none") in done.stderr
    assert "python -m benchmark run --grid" in done.stderr
    broken = tmp_path / "broken" / "runs" / "a"
    broken.mkdir(parents=True)
    (broken / "record.json").write_text("{")
    done = benchmark_command("report", "--results", tmp_path / "broken", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "none of the runs can be reported" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("part", ["stages", "runs", "progress/x"])
def test_no_report_lies_among_results(part: str, tmp_path: Path) -> None:
    """Not among those that it shows, and not among those of another results folder."""
    for name in ("stages", "runs"):
        (tmp_path / "lab" / name).mkdir(parents=True)
    for root in (tmp_path / "lab", tmp_path / "other"):
        with pytest.raises(StoreError, match="name another folder with --out"):
            check_replaceable(tmp_path / "lab" / part / "report", Store(root))

"""The report: its numbers are those of the records, its bytes are stable, and no text of a record can break it."""

from __future__ import annotations

import json
import re
import shutil
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pypdf import PdfReader

from benchmark.pictures import Pictures
from reports.findings import against_others
from reports.paper import build_report
from reports.report_folder import code_files, is_current
from reports.study import Study
from reports.style import looks
from reports.tables import Table, budget_table, markdown, plus_minus, signed
from reports.text_tables import plain
from reports.tidy_tables import tidy_tables
from reports.words import compared, p_value
from results.judge.claims import BUDGETS
from results.judge.contrast import Contrast
from results.judge.verdicts import Estimate
from results.store.folder import Store, StoreError
from results.tables.loading import load_runs
from results.tables.points import comparisons, points, summary
from tests.conftest import ROOT, Command, SmokeRun
from tests.reports.registered import registered
from tests.results.edited import edit_record


def pdf_text(path: Path) -> str:
    """The text of a PDF without hyphenation and line breaks."""
    text = "\n".join(page.extract_text() for page in PdfReader(path).pages)
    return re.sub(r"\s+", " ", text.replace("\u00ad", ""))


def copied(smoke: SmokeRun, folder: Path) -> Store:
    """A copy of the records and tables alone, as one would send them to a colleague."""
    shutil.copytree(smoke.results / "runs", folder / "runs")
    return Store(folder)


def test_the_paper_agrees_with_the_records(smoke: SmokeRun) -> None:
    text = pdf_text(smoke.out / "paper.pdf")
    store = Store(smoke.results)
    runs, _ = load_runs(store, store.run_ids())
    table = summary(points(runs))
    for _, row in table[table["reached"]].iterrows():
        assert f"{100 * row['accuracy']:.1f}" in text
        if row["kind"] == "accuracy-drop":
            assert f"{row['mac_speedup']:.2f}×" in text
            assert f"{row['layer_speedup']:.2f}×" in text
    assert ("At small scale, not a test of the published claim:" in text) is ("Claim of the paper" in text)
    assert "neither supported nor refuted" in text
    assert "every evaluated head counted" in text
    for part in (
        "Abstract",
        "Question and setup",
        "Results",
        "Limits",
        "Provenance",
        "References",
        "500 / 300 / 500 images",
    ):
        assert part in text


def test_names_and_commands_can_be_copied_from_the_paper(smoke: SmokeRun) -> None:
    text = "".join(page.extract_text() for page in PdfReader(smoke.out / "paper.pdf").pages)
    assert not [sign for sign in text if unicodedata.category(sign) == "Cf" and sign != "\u00ad"]
    for run_id in Store(smoke.results).run_ids():
        assert text.count(run_id.rpartition("-")[2]) > 1  # in the list of runs, and below a table or figure
    assert "python -m benchmark run --grid smoke" in text


@pytest.mark.slow
def test_the_same_records_give_the_same_bytes_without_weights(smoke: SmokeRun, tmp_path: Path) -> None:
    store = copied(smoke, tmp_path / "copied")
    run_ids = json.loads((smoke.out / "report.json").read_text())["inputs"]["records"]
    assert build_report(store, list(run_ids), title="smoke", out=tmp_path / "report", pictures=Pictures(None)) == []
    files = sorted(path.relative_to(smoke.out) for path in smoke.out.rglob("*") if path.is_file())
    assert len(files) >= 9
    for file in files:
        assert (tmp_path / "report" / file).read_bytes() == (smoke.out / file).read_bytes(), file


def test_text_from_a_record_is_text(smoke: SmokeRun, tmp_path: Path) -> None:
    store = copied(smoke, tmp_path)
    label = '#panic("x") $ \\ [evil] | *bold* <tag> @lgvit кот 猫'
    (victim,) = tmp_path.glob("runs/vanilla*")
    edit_record(victim, lambda record: record["spec"]["train"]["method"].update(name=label))
    build_report(store, store.run_ids(), title="#evil", out=tmp_path / "report")
    text = pdf_text(tmp_path / "report" / "paper.pdf")
    assert '#panic("x")' in text
    assert "кот [U+732B]" in text  # the fonts have Cyrillic, but no Chinese
    figures = list((tmp_path / "report" / "figures").glob("*.svg"))
    assert any("[U+732B]" in path.read_text() for path in figures)
    assert not any("猫" in path.read_text() for path in figures)
    assert "\\|" in (tmp_path / "report" / "table.md").read_text()


def test_wide_spaces_and_joined_emoji_in_a_path_are_text(smoke: SmokeRun, tmp_path: Path) -> None:
    store = copied(smoke, tmp_path)
    name = "folder:my\u3000photos\u00a0👩\u200d🔬"
    for folder in tmp_path.glob("runs/*"):
        edit_record(folder, lambda record: record["spec"]["train"]["dataset"].update(name=name, set={}))
    runs, problems = load_runs(store, store.run_ids())
    assert problems == []
    assert {run.record.spec.train.dataset.name for run in runs} == {name}


def test_damaged_and_missing_records_are_left_out_and_named(smoke: SmokeRun, tmp_path: Path) -> None:
    store = copied(smoke, tmp_path)
    damaged, cut, *_ = [run_id for run_id in store.run_ids() if run_id.startswith("homogeneous")]
    (store.run(damaged) / "record.json").write_text("{")
    outcomes = store.run(cut) / "outcomes.parquet"
    outcomes.write_bytes(outcomes.read_bytes()[:100])
    (bare,) = [run_id for run_id in store.run_ids() if run_id.startswith("vanilla")]
    (store.run(bare) / "answers.parquet").unlink()
    problems = build_report(store, [*store.run_ids(), "never-run"], title="t", out=tmp_path / "report")
    assert len(problems) == 4
    assert [any(name in problem for problem in problems) for name in (damaged, cut, bare, "never-run")] == [True] * 4
    text = pdf_text(tmp_path / "report" / "paper.pdf")
    assert "Left out" in text
    assert str(tmp_path) not in text  # a report does not name its machine


@pytest.mark.slow
def test_one_run_alone_is_reported(smoke: SmokeRun, tmp_path: Path, benchmark_command: Command) -> None:
    (lgvit,) = smoke.results.glob("runs/lgvit-*")
    shutil.copytree(lgvit, tmp_path / "results" / "runs" / lgvit.name)
    done = benchmark_command("report", "--results", tmp_path / "results", "--out", tmp_path / "report")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report" / "paper.pdf").is_file()


def test_a_report_is_current_until_a_record_changes(smoke: SmokeRun, tmp_path: Path) -> None:
    store = copied(smoke, tmp_path)
    run_ids = store.run_ids()
    out = tmp_path / "report"
    assert not is_current(out, store, run_ids, ["csv"])
    build_report(store, run_ids, title="t", out=out, formats=["csv"])
    assert is_current(out, store, run_ids, ["csv"])
    assert not is_current(out, store, run_ids)
    assert not is_current(out, store, run_ids[1:], ["csv"])
    record = store.run(run_ids[0]) / "record.json"
    record.write_text(record.read_text() + "\n")
    assert not is_current(out, store, run_ids, ["csv"])


def test_a_report_depends_on_the_code_in_every_folder() -> None:
    files = {path.relative_to(ROOT).as_posix() for path in code_files()}
    assert {"reports/paper.typ", "reports/web/page.js", "results/record.py", "results/stats/significance.py"} <= files
    assert not [name for name in files if name.startswith(("results/reference/", "results/runs/", "reports/out/"))]


def test_a_report_that_cannot_be_written_is_one_sentence(smoke: SmokeRun, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = Store(smoke.results)
    with pytest.raises(StoreError, match="cannot be written"):
        build_report(store, store.run_ids(), title="t", out=tmp_path / "file" / "report")


def test_a_folder_without_a_report_is_never_replaced(
    smoke: SmokeRun, tmp_path: Path, benchmark_command: Command
) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    for command in (("report", "--results", smoke.results), ("run", "--grid", "smoke", "--results", tmp_path / "new")):
        done = benchmark_command(*command, "--out", tmp_path)
        assert done.returncode == 2
        assert "name another folder with --out" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]  # and nothing was trained


def test_a_report_never_replaces_its_own_records(smoke: SmokeRun, tmp_path: Path, benchmark_command: Command) -> None:
    store = copied(smoke, tmp_path / "shared")
    (tmp_path / "shared" / "report.json").write_text("{}")  # a report with its records, as --format records leaves it
    done = benchmark_command("report", "--results", store.root, "--out", store.root)
    assert done.returncode == 2
    assert "name another folder with --out" in done.stderr
    with pytest.raises(StoreError, match="--format records"):
        build_report(Store(smoke.results), store.run_ids(), title="t", out=store.root)
    assert store.run_ids()


def test_one_training_in_two_grids_is_not_a_second_seed(smoke: SmokeRun, tmp_path: Path) -> None:
    store = copied(smoke, tmp_path)
    (lgvit,) = (path for path in tmp_path.glob("runs/lgvit-*"))
    other = lgvit.with_name("lgvit-z-of-another-grid")
    shutil.copytree(lgvit, other)
    outcomes = pd.read_parquet(other / "outcomes.parquet")
    more = outcomes.assign(point=outcomes["point"].str.replace("confidence/", "entropy/"))
    pd.concat([outcomes, more[more["point"] != "static"]]).to_parquet(other / "outcomes.parquet", index=False)
    curves = pd.read_parquet(other / "curves.parquet")
    pd.concat([curves, curves.assign(policy="entropy")]).to_parquet(other / "curves.parquet", index=False)

    def in_another_grid(record: dict[str, Any]) -> None:
        again = [point | {"policy": "entropy"} for point in record["points"]]
        record |= {"run_id": other.name, "points": [*record["points"], *again]}

    edit_record(other, in_another_grid)
    runs, _ = load_runs(store, store.run_ids())
    assert len(runs) == 6
    policies = [{point.policy for point in run.record.points} for run in runs if run.method == "lgvit"]
    assert policies == [{"confidence"}, {"entropy"}]


@pytest.mark.slow
def test_other_recipes_are_another_setting(smoke: SmokeRun, tmp_path: Path) -> None:
    store = copied(smoke, tmp_path)
    for path in list(tmp_path.glob("runs/*")):
        longer = path.with_name(f"{path.name}-longer")
        shutil.copytree(path, longer)

        def train_longer(record: dict[str, Any], name: str = longer.name) -> None:
            record["run_id"] = name
            record["spec"]["train"]["recipes"]["finetune"]["epochs"] = 99

        edit_record(longer, train_longer)
    runs, _ = load_runs(store, store.run_ids())
    assert (summary(points(runs))["seeds"] == 1).all()
    build_report(store, store.run_ids(), title="t", out=tmp_path / "report")
    assert len(list((tmp_path / "report" / "figures").glob("*-speed-accuracy.pdf"))) == 2
    text = (tmp_path / "report" / "table.txt").read_text()
    assert "fine-tuning 99 epochs" in text
    assert "recipes" not in text


def significant(value: float, p: float) -> Contrast:
    estimate = Estimate(value, value - 0.01, value + 0.01, "test samples", p)
    return Contrast(estimate, np.array([value]), seeds=1, seeds_run=1, p=p)


def test_sentences_name_what_was_tested() -> None:
    parts = compared(
        {"a": significant(0.03, 1e-5), "b": significant(-0.02, 0.004), "c": significant(0.01, 0.2)}
        | {"d": replace(significant(0.04, 1.0), seeds_run=5)}
    )
    assert parts == [
        "ahead of a (+3.0 points [2.0, 4.0], p < 0.001)",
        "behind b (−2.0 points [−3.0, −1.0], p = 0.004)",
        "not shown to differ from d (+4.0 points [3.0, 5.0] in 1 of 5 seeds) and c (+1.0 points [0.0, 2.0], p = 0.2)",
    ]


def test_significant_differences_to_the_reference_are_marked() -> None:
    rows = [
        {"label": method, "kind": "equal-macs", "target": 0.5}
        | {"accuracy": accuracy, "low": accuracy - 0.01, "high": accuracy + 0.01, "reached": True}
        for method, accuracy in (("lgvit", 0.9), ("worse", 0.8), ("better", 0.95), ("equal", 0.9))
    ]
    contrasts = {"worse": significant(0.1, 0.001), "better": significant(-0.05, 0.001), "equal": significant(0.0, 1)}
    table = budget_table(pd.DataFrame(rows), {(label, 0.5): contrast for label, contrast in contrasts.items()})
    assert (table.bold, table.underlined) == ({(2, 1)}, {(1, 1)})
    text = plain([("Bold: better; underlined: worse.", table)])
    assert "Star: better; minus: worse." in text
    assert "80.0 [79.0, 81.0]-" in text
    assert "<ins>80.0 [79.0, 81.0]</ins>" in markdown([("Caption", table)])


def test_claims_tables_and_sentences_read_the_same_contrasts(smoke: SmokeRun) -> None:
    """Every pair of LGViT and a rival has one p-value, whether a claim, a table or a sentence states it."""
    store = Store(smoke.results)
    runs, _ = load_runs(store, store.run_ids())
    study = Study("t", runs, tidy_tables(runs, []))
    (group,) = study.main
    smallest = min(
        (contrast for (label, budget), contrast in group.contrasts.items() if label == "vanilla" and budget in BUDGETS),
        key=lambda contrast: contrast.estimate.value,
    )
    (claim,) = study.judgements[study.judgements["claim"] == "above vanilla"].to_dict("records")[:1]
    assert (claim["value"], claim["p"]) == pytest.approx((smallest.estimate.value, smallest.p))
    rows = study.contrasts
    assert set(rows["tests"]) == {len(rows)}
    for _, row in rows.iterrows():
        (sentence,) = against_others(group, row["target"])
        assert f"{row['result']}" in sentence
        assert p_value(row["p_holm"]) in sentence


def test_an_interval_over_seeds_replaces_that_over_samples(smoke: SmokeRun) -> None:
    store = Store(smoke.results)
    runs, _ = load_runs(store, store.run_ids())
    one = points(runs)
    other = one.assign(seed=1, accuracy=one["accuracy"] + 0.01)
    both = summary(pd.concat([one, other]))
    copies = summary(pd.concat([one, one.assign(seed=1)]))
    row = both[both["point"] == "static"].iloc[0]
    alone = summary(one)[summary(one)["point"] == "static"].iloc[0]
    assert row["seeds"] == 2
    assert row["interval"] == "seeds"
    assert alone["interval"] == "test samples"
    assert row["accuracy"] == pytest.approx(alone["accuracy"] + 0.005)
    assert row["high"] - row["low"] == pytest.approx(2 * 12.7062 * 0.005, rel=1e-3)  # t with 1 degree of freedom
    # Equal seeds say nothing about the spread over seeds, and what is so by definition has no interval.
    assert copies[["low", "high"]].isna().all(axis=None)
    assert all("±" not in plus_minus(row) for _, row in copies.iterrows())
    ends = [name.removesuffix("_low") for name in one.columns if name.endswith("_low")]
    assert all((one[f"{name}_low"] < one[f"{name}_high"])[one[f"{name}_low"].notna()].all() for name in ends)


def test_every_pair_is_compared_on_the_same_images(smoke: SmokeRun) -> None:
    store = Store(smoke.results)
    runs, _ = load_runs(store, store.run_ids())
    table = comparisons(runs)
    half = table[(table["kind"] == "equal-macs") & (table["target"] == 0.75)]
    assert len(half) == 6
    for _, row in half.iterrows():
        first, second = (next(run for run in runs if run.method == row[name]) for name in ("first", "second"))
        accuracy = [run.values(f"confidence/equal-macs-{row['target']:g}").mean() for run in (first, second)]
        assert row["difference"] == pytest.approx(accuracy[0] - accuracy[1])
        assert row["low"] <= row["difference"] <= row["high"]


def test_numbers_are_formatted_for_readers() -> None:
    assert [signed(value) for value in (0.012, -0.012, -0.0001, 0.0)] == ["+1.2", "−1.2", "0.0", "0.0"]
    table = Table(("Method", "x"), (("a", "1"), ("b", "22")), frozenset({(1, 1)}))
    assert "| b | **22** |" in markdown([("Caption", table)])
    assert "b       22*" in plain([("Caption", table)])


def test_a_method_has_the_same_style_in_all_figures() -> None:
    names = ("static", "lgvit", "vanilla", "homogeneous-local", "homogeneous-global")
    methods = {name: registered(name) for name in names}
    assert looks({"x": None, "lgvit": methods["lgvit"]})["lgvit"] == looks(methods)["lgvit"]
    shown = looks({**methods, "a": None, "b": None})
    assert len({look.color for look in shown.values()}) == len(shown)
    assert len({look.marker for look in shown.values()}) == len(shown)

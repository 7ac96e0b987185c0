"""Sections appear only with runs for them, and agree with the records."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pypdf import PdfReader

from benchmark.grid.load import load_grid
from reports.abstract import abstract
from reports.blocks import Drawn, Shown
from reports.paper import build_report
from reports.sections import policies
from reports.sections.claims import SMALL_SCALE, claims_table, unjudged, verdict_sentence
from reports.sections.opening import methods
from reports.sections.placement import schemes
from reports.sections.realised import realised
from reports.sections.results import exits_figures, results
from reports.sections.shift import shifted
from reports.sections.summary import summary
from reports.study import Study
from reports.tables import cost_columns, signed
from reports.tidy_tables import tidy_tables
from results.store.folder import Store
from results.tables.loading import load_runs
from results.tables.points import comparisons, points
from results.tables.run import Run
from tests.conftest import SmokeRun
from tests.grids import write_grid
from tests.made_up_runs import make_finished
from tests.reports.test_paper import pdf_text
from tests.results.judge.paper_scale import promoted, right_everywhere

VARIANTS = {"gah_stride": 1, "lph_kernel": 3, "regime": "joint", "kd_weight": 0.0, "teacher_norm": "none"}
QUESTIONS = {
    "Exit schemes": "the accuracy is highest with",
    "Number of exits": "the accuracy is highest with",
    "Stride of the attention heads": "stride 1",
    "Kernel of the convolutional heads": "kernel 3",
    "Training schemes": "joint",
    "Terms of the distillation": "without distillation",
    "One difference of the official code at a time": "D5: the teacher classifies without the final norm",
}
GRID: dict[str, Any] = {
    "name": "questions",
    "datasets": ["fashion-mnist-mini"],
    "methods": ["static", "lgvit", *({"name": "lgvit", "set": {key: value}} for key, value in VARIANTS.items())],
    "exits": None,
    "include": [
        {"method": "lgvit", "exits": {"name": name, "set": {"count": count}}}
        for name, count in (("shallow", 4), ("uniform", 4), ("uniform", 2))
    ],
}


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Path]:
    """The results of a grid with runs for every section, made up without training, and its report."""
    folder = tmp_path_factory.mktemp("questions")
    grid = write_grid(folder / "questions.yaml", **GRID)
    store = Store(folder / "results")
    make_finished(load_grid(grid), store)
    assert build_report(store, store.run_ids(), title="questions", out=folder / "report") == []
    return store, folder / "report"


def test_a_section_appears_only_with_runs_for_it(questions: tuple[Store, Path], smoke: SmokeRun) -> None:
    text, smoke_text = pdf_text(questions[1] / "paper.pdf"), pdf_text(smoke.out / "paper.pdf")
    for heading, word in QUESTIONS.items():
        assert heading in text
        assert word in text
        assert heading not in smoke_text


def test_a_difference_in_the_text_is_that_of_the_records(questions: tuple[Store, Path]) -> None:
    store, out = questions
    runs, _ = load_runs(store, store.run_ids())
    at_paper = {run.method: run for run in runs if run.record.spec.scheme == "paper"}
    point = "confidence/equal-macs-0.5"
    text = pdf_text(out / "paper.pdf")
    for method, named in (("lgvit(gah_stride=1)", "stride 1"), ("lgvit(lph_kernel=3)", "kernel 3")):
        accuracy, base = (at_paper[name].values(point).mean() for name in (method, "lgvit"))
        match = re.search(rf"{named} \(([+−]?[\d.]+) points", text)
        assert match is not None
        assert float(match[1].replace("−", "-")) == pytest.approx(100 * (accuracy - base), abs=0.051)


def test_small_runs_judge_no_claim(smoke: SmokeRun) -> None:
    store = Store(smoke.results)
    runs, _ = load_runs(store, store.run_ids())
    study = Study("t", runs, tidy_tables(runs, []))
    table = claims_table(study)
    names = {row[0] for row in table.rows}
    assert names == {claim.id for claim in study.claims.claims}
    assert {row[3] for row in table.rows} == {"not run"}
    assert any(re.match(r"drop [+−][\d.]+ points \[", row[4]) for row in table.rows)  # the drop at the claimed speed-up
    # Page one has the table only if a claim is decided, at whatever scale.
    page = PdfReader(smoke.out / "paper.pdf").pages[0].extract_text()
    assert ("Claim of the paper" in page) is (unjudged(study) == "")
    undecided = study.judgements.assign(finding="inconclusive: few images")
    study.__dict__["judgements"] = undecided
    assert "no claim" in unjudged(study)


def test_runs_at_the_papers_scale_judge_its_claims(smoke: SmokeRun) -> None:
    store = Store(smoke.results)
    runs, _ = load_runs(store, store.run_ids())
    for seeds in (1, 5):
        better = [right_everywhere(run) if run.method == "lgvit" else run for run in runs]
        large = promoted(better, seeds)
        study = Study("t", large, {"points": points(large), "comparisons": comparisons(large)})
        (verdicts,) = verdict_sentence(study)
        assert verdicts.startswith("The paper's claims: speed-up in layers: ")
        assert SMALL_SCALE not in verdicts
        assert ("reproduced" in verdicts) is (seeds == 5)  # with fewer than five seeds, every verdict is inconclusive


def test_without_pictures_the_atlas_lists_ids(questions: tuple[Store, Path], smoke: SmokeRun) -> None:
    assert "Ids of test samples by the block after which they leave" in pdf_text(questions[1] / "paper.pdf")
    assert "red frame: classified wrongly" in pdf_text(smoke.out / "paper.pdf")


def test_methods_are_called_by_name_everywhere(questions: tuple[Store, Path]) -> None:
    text = pdf_text(questions[1] / "paper.pdf")
    for name in ("LGViT (GAH stride 1)", "4 shallow exits", "ViT-Nano on fashion-mnist-mini"):
        assert name in text
    assert not re.search(r"\blgvit\b|gah_|lph_|kd_weight|recipes [0-9a-f]{6}|\(Continued|Other settings", text)
    assert max(map(len, (questions[1] / "table.txt").read_text(encoding="utf-8").splitlines())) <= 80
    for path in (questions[1] / "table.txt", questions[1] / "table.md"):
        assert not re.search(r"\blgvit\b|gah_|lph_", path.read_text(encoding="utf-8"))


def test_numbers_of_one_exit_scheme_name_it_where_there_are_several(questions: tuple[Store, Path]) -> None:
    store, out = questions
    runs, _ = load_runs(store, store.run_ids())
    study = Study("t", runs, tidy_tables(runs, []))
    (setting,) = study.main
    assert len(study.settings) == 4
    assert study.where(setting) == ", the paper's exits"
    assert "in up to 4 exit schemes" in abstract(study)[1]  # of LGViT with its default options; its variants are in one
    assert "heads at the exits, the paper's exits, their training" in methods(study).caption
    twice = [run for run in runs if run.method == "lgvit" or run.is_static]
    assert "in 4 exit schemes" in abstract(Study("t", twice, tidy_tables(twice, [])))[1]
    assert "the paper's exits" in abstract(study)[2]
    text = pdf_text(out / "paper.pdf")
    for shown in ("Figure 1: Left: ", "Main results on test", "Figure 2: Left: "):
        assert "the paper's exits" in text.split(shown)[1].split(".")[0], shown
    alone = [run for run in runs if run.record.spec.scheme in ("paper", "none")]
    assert "the paper's exits" not in " ".join(abstract(Study("t", alone, tidy_tables(alone, []))))


def test_exits_that_differ_between_methods_are_no_placement(tmp_path: Path) -> None:
    methods = ["static", "lgvit", "vanilla", {"name": "sdn", "set": {"regime": "frozen"}}]
    grid = write_grid(
        tmp_path / "g.yaml", datasets=["fashion-mnist-mini"], methods=methods, exits=["paper", "published"]
    )
    store = Store(tmp_path / "results")
    make_finished(load_grid(grid), store)
    runs, _ = load_runs(store, store.run_ids())
    study = Study("t", runs, tidy_tables(runs, []))
    assert len(study.settings) == 2
    assert schemes(study) == []


def test_every_table_and_figure_names_its_records(questions: tuple[Store, Path]) -> None:
    text = pdf_text(questions[1] / "paper.pdf")
    captions = re.findall(r"(?:Table|Figure) \d+: ", text)
    assert len(captions) == len(set(captions)) >= 10
    sources = re.findall(r"python -m benchmark (?:report --format csv|costs|sweep \w+|claims --full)", text)
    assert len(sources) == len(captions) - 1  # the table of methods has no numbers


def test_one_method_takes_two_pages(questions: tuple[Store, Path], tmp_path: Path) -> None:
    store = questions[0]
    runs, _ = load_runs(store, store.run_ids())
    pairs = {("static", "none"), ("lgvit", "paper")}
    chosen = [run.record.run_id for run in runs if (run.method, run.record.spec.scheme) in pairs]
    build_report(store, chosen, title="one", out=tmp_path / "report", formats=["pdf"])
    assert len(chosen) == 2
    assert len(PdfReader(tmp_path / "report" / "paper.pdf").pages) == 2


def test_over_several_settings_a_table_compares_all(smoke: SmokeRun) -> None:
    store = Store(smoke.results)
    runs, _ = load_runs(store, store.run_ids())
    others = [with_epochs(run, 99) for run in runs]
    study = Study("t", [*runs, *others], tidy_tables([*runs, *others], []))
    first, second = study.main
    assert first.place != second.place
    (table,) = [block.table for block in summary(study) if isinstance(block, Shown)]
    assert table.header[1:3] == tuple(study.where(setting, "") for setting in study.main)
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["LGViT"][:2] == ("0", "0")
    value = first.contrasts["vanilla", 0.5].estimate.value
    assert rows["Vanilla early exit"][0] == signed(-value)
    assert all(0 <= float(cells[2]) <= 1 for cells in rows.values() if cells[2] != "–")
    assert "LGViT" in rows
    assert summary(Study("t", runs, tidy_tables(runs, []))) == []


def test_tables_of_policies_on_images_as_they_are_and_on_shifted_ones(
    tmp_path: Path, smoke: SmokeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    shift = {"name": "fashion-mnist-mini", "set": {"corruption": {"name": "fog", "severity": 3}}}
    grid = write_grid(
        tmp_path / "shift.yaml",
        datasets=["fashion-mnist-mini", shift],
        methods=["static", "lgvit", "vanilla"],
        policies=["confidence", "entropy", *({"name": "running-quantile", "set": {"order": i}} for i in range(2))],
    )
    store = Store(tmp_path / "results")
    make_finished(load_grid(grid), store)
    runs, _ = load_runs(store, store.run_ids())
    study = Study("t", runs, tidy_tables(runs, []))
    _, shown = shifted(study)
    assert isinstance(shown, Shown)
    drift = study.tidy["budget-drift"]
    moved = drift[drift["dataset"].str.contains("fog") & (drift["target"] == 0.5)]
    assert [row[0] for row in shown.table.rows] == ["confidence", "entropy", "running-quantile"]
    for policy, _, clean, _, _, cost, _, accuracy in shown.table.rows:
        rows = moved[moved["policy"].str.startswith(policy)]
        assert len(rows) == (4 if policy == "running-quantile" else 2)
        assert (cost, accuracy) == (f"{100 * rows['macs'].mean():.1f}", f"{100 * rows['accuracy'].mean():.1f}")
        assert float(cost) > float(clean) + (0.5 if policy == "running-quantile" else 5)
    assert build_report(store, store.run_ids(), title="shift", out=tmp_path / "report", formats=["pdf"]) == []
    assert "Policies and shifted test images" in pdf_text(tmp_path / "report" / "paper.pdf")
    half = study.points[(study.points["target"] == 0.5) & ~study.points["dataset"].str.contains("fog")]
    expected = {
        (policy, name): f"{100 * rows['accuracy'].mean():.1f}"
        for policy in ("confidence", "entropy", "running-quantile")
        for name, method in (("LGViT", "lgvit"), ("Vanilla early exit", "vanilla"))
        if len(rows := half[half["policy"].str.startswith(policy) & (half["method"] == method)])
    }
    (listed,) = [block.table for block in policies.other_policies(study) if isinstance(block, Shown)]
    assert {tuple(row[0].split(", ")[::-1]): row[1].split(" ")[0] for row in listed.rows} == expected
    monkeypatch.setattr(policies, "MANY", 3)
    (crossed,) = [block.table for block in policies.other_policies(study) if isinstance(block, Shown)]
    cells = {
        (row[0], name): cell for row in crossed.rows for name, cell in zip(crossed.header[1:], row[1:], strict=True)
    }
    assert cells == expected
    smoke_runs, _ = load_runs(Store(smoke.results), Store(smoke.results).run_ids())
    assert shifted(Study("t", smoke_runs, tidy_tables(smoke_runs, []))) == []


def test_policies_of_one_setting_are_shown_also_if_another_setting_has_them(tmp_path: Path) -> None:
    grid = write_grid(tmp_path / "g.yaml", methods=["static", "lgvit", "vanilla"], policies=["confidence", "entropy"])
    store = Store(tmp_path / "results")
    make_finished(load_grid(grid), store)
    runs, _ = load_runs(store, store.run_ids())
    longer = [with_epochs(run.under("entropy") if run.has_exits else run, 99) for run in runs]
    alone, both = (Study("t", those, tidy_tables(those, [])) for those in (runs, [*runs, *longer]))
    shown, with_others = (
        [block.table.rows for block in policies.other_policies(study) if isinstance(block, Shown)]
        for study in (alone, both)
    )
    assert shown == with_others
    assert len(shown) == 1


def test_a_model_that_runs_its_blocks_twice_does_not_stretch_the_figures_of_exits(tmp_path: Path) -> None:
    grid = write_grid(tmp_path / "twice.yaml", methods=["static", "lgvit", "two-resolutions"])
    store = Store(tmp_path / "results")
    make_finished(load_grid(grid), store)
    runs, _ = load_runs(store, store.run_ids())
    study = Study("t", runs, tidy_tables(runs, []))
    (setting,) = study.main
    assert setting.repeating == {"two-resolutions"}
    for block in exits_figures(study, setting):
        assert isinstance(block, Drawn)
        assert "without Two resolutions" in block.caption
        assert [tick.get_text() for tick in block.figure.axes[0].get_xticklabels()][-1] == "12"
    table = cost_columns(setting.runs)
    backbone = dict(zip(table.header, table.rows[-1], strict=True))
    assert backbone["12"] == f"{runs[0].record.costs.baseline / 1e6:.2f}"
    assert backbone["24"] == "–"


def with_epochs(run: Run, epochs: int) -> Run:
    """The run under another recipe of fine-tuning, with an id of its own."""
    recipes = run.record.spec.train.recipes
    changed = recipes.model_copy(update={"finetune": recipes.finetune.model_copy(update={"epochs": epochs})})
    fields = {"spec": run.record.spec.with_train(recipes=changed), "run_id": f"{run.record.run_id[:-1]}x"}
    return replace(run, record=run.record.model_copy(update=fields))


def test_no_share_is_stated_of_a_small_speed_up() -> None:
    def sentences(*rows: tuple[str, float, float]) -> str:
        table = pd.DataFrame(rows, columns=["label", "layer", "mac"]).assign(time=np.nan, time_device="")
        return " ".join(realised(table))

    assert "50 % remain" in sentences(("A", 3.0, 2.0))
    assert "remain" not in sentences(("B", 1.1, 1.05))
    both = sentences(("A", 3.0, 2.0), ("B", 1.1, 1.05), ("C", 1.07, 0.98))
    assert "at least 1.2×, 50 % remain" in both
    assert "Costlier in MACs than the backbone without exits: C (0.98×" in both


def test_the_time_of_one_seed_stands_beside_the_macs_of_that_seed() -> None:
    row = {"label": "A", "layer": 3.0, "mac": 2.8, "time": 1.4, "mac_timed": 2.5, "timed_seeds": "seed 0"}
    text = " ".join(realised(pd.DataFrame([row | {"time_device": "a CPU"}])))
    assert (
        "Measured one image at a time on a CPU, seed 0 only, the speed-up in time is 1.40× (A, 2.50× in MACs)." in text
    )


def test_the_figure_of_speed_ups_says_how_times_were_measured(smoke: SmokeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(smoke.results)
    runs, _ = load_runs(store, store.run_ids())
    tidy = tidy_tables(runs, [])
    device = {"time_speedup": 1.5, "time_device": "a CPU, 1 thread, fp32"}
    monkeypatch.setattr("reports.sections.results.CURVES", 0)
    for points_, is_timed in ((tidy["points"].assign(**device), True), (tidy["points"], False)):
        (figure,) = [
            block
            for block in results(Study("t", runs, tidy | {"points": points_}))
            if isinstance(block, Drawn) and block.name.endswith("honesty")
        ]
        assert ("one image at a time on a CPU, 1 thread, fp32." in figure.caption) is is_timed


def test_methods_under_policies_of_two_grids_are_compared_under_one_and_listed_under_all(tmp_path: Path) -> None:
    grid = write_grid(
        tmp_path / "two.yaml", methods=["static", "lgvit", "vanilla"], policies=["confidence", "entropy"], seeds=[0, 1]
    )
    store = Store(tmp_path / "results")
    make_finished(load_grid(grid), store, variants=2)
    runs, _ = load_runs(store, store.run_ids())
    exiting = [run for run in runs if run.has_exits]
    other = [run.changed(record=run.record.model_copy(update={"run_id": f"a-{run.record.run_id}"})) for run in exiting]
    apart = [*(run.under("entropy") for run in other if run.seed == 0), *(run.under("confidence") for run in runs)]
    study = Study("t", apart, tidy_tables(apart, []))
    (group,) = study.main
    assert group.methods == ["lgvit", "vanilla"]
    assert {run.policies[0] for run in group.exiting} == {"confidence"}
    (listed,) = [block.table for block in policies.other_policies(study) if isinstance(block, Shown)]
    assert [row[0] for row in listed.rows] == [
        f"{name}, {policy}" for name in ("LGViT", "Vanilla early exit") for policy in ("entropy", "confidence")
    ]

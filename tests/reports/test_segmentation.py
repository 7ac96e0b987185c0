"""The report of a segmentation: it names the mIoU, says how it is counted, and leaves out what needs labels of images."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pytest
from pypdf import PdfReader

from reports.blocks import Shown, Text
from reports.captioned import readable_tables
from reports.paper import build_report
from reports.sections.results import results
from reports.sections.segmentation import classes_and_boundaries
from reports.study import Study
from reports.tidy_tables import tidy_tables
from reports.web.page import page
from results.judge.claims import judge
from results.judge.literature import read_claims
from results.judge.mechanism_evidence import mechanism_answers
from results.store.folder import Store
from results.tables.loading import load_runs
from results.tables.row_labels import labels
from results.tables.run import Run, TriedRate
from tests.conftest import SmokeRun
from tests.segmentation_runs import write_segmentation

COUNTED = "counts summed over the images, ignored pixels removed, classes neither labelled nor answered left out."


@dataclass(frozen=True)
class Report:
    runs: Sequence[Run]
    out: Path

    @property
    def paper(self) -> str:
        text = "\n".join(page.extract_text() for page in PdfReader(self.out / "paper.pdf").pages)
        return re.sub(r"\s+", " ", text.replace("\u00ad", "").replace("-\n", ""))

    def text(self, name: str) -> str:
        return (self.out / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    base = tmp_path_factory.mktemp("scenes")
    store = write_segmentation(base / "results")
    formats = ("pdf", "html", "csv", "latex", "markdown", "parquet")
    problems = build_report(store, store.run_ids(), title="scenes", out=base / "out", formats=formats)
    assert problems == []
    runs, problems = load_runs(store, store.run_ids())
    assert problems == []
    return Report(runs, base / "out")


def test_the_paper_speaks_of_the_miou(report: Report) -> None:
    text = report.paper
    assert not re.search(r"\b[Aa]ccurac(y|ies)\b|classifies", text)
    named = ("In semantic segmentation, how much", "reaches an mIoU of", "mIoU (%)", "test mIoU", "boundary IoU")
    for part in (*named, "Object-Centric Image Segmentation"):
        assert part in text
    for missing in ("alibration", "perfect routing", "overthinking", "Rules on LGViT's mechanisms"):
        assert missing not in text
    assert "its claims are neither supported nor refuted. The paper reports no semantic segmentation." in text


def test_every_table_with_the_metric_says_how_it_is_counted(report: Report) -> None:
    tables = re.split(r"(?=Table \d+: )", report.paper)
    starts = ("Data, and", "Main results", "IoU (%) of every class", "Operating points", "Test mIoU (%) at equal MACs")
    with_metric = [part for part in tables if part.partition(": ")[2].startswith(starts)]
    assert len(with_metric) == len(starts)
    assert all(COUNTED in part for part in with_metric)
    for name in ("table.txt", "summary.txt", "table.md", "table.tex", "paper-table.tex", "report.html"):
        assert COUNTED in re.sub(r"\s+", " ", report.text(name)), name


def test_every_table_of_text_files_with_the_metric_says_how_it_is_counted(report: Report) -> None:
    tried = tuple(TriedRate(f"exits {rate}", value, value == 0.6) for rate, value in ((0.01, 0.5), (0.02, 0.6)))
    runs = [replace(run, tried=tried) if run.has_exits else run for run in report.runs]
    shown = readable_tables(Study("scenes", runs, tidy_tables(runs, [])))
    captions = [table.caption for table in shown if "mIoU" in " ".join((table.caption, *table.table.header))]
    for start in ("Data, and", "Operating points", "Test mIoU (%) at equal MACs", "Learning rates tried"):
        assert any(caption.startswith(start) for caption in captions), start
    assert all(caption.endswith(f" mIoU: {COUNTED}") for caption in captions)


def test_classes_are_listed_with_their_iou_and_depth(report: Report) -> None:
    lgvit = pd.read_csv(report.out / "classes.csv").query("method == 'lgvit' and point == 'confidence/equal-macs-0.5'")
    means = lgvit.groupby("name")[["static_accuracy", "accuracy", "mean_block"]].mean()
    for name, row in means.iterrows():
        cells = f"{100 * row['static_accuracy']:.1f} {100 * row['accuracy']:.1f}"
        assert re.search(rf"{name} \d+ {cells} −\d+\.\d {row['mean_block']:.1f}", report.paper), name
    exits = pd.read_csv(report.out / "exits.csv").query("method == 'lgvit'").groupby("block")["boundary_iou"].mean()
    assert f"a boundary IoU of {100 * exits.iloc[0]:.1f} %" in report.paper


def test_the_table_of_classes_says_that_others_may_count_in_the_miou(report: Report) -> None:
    """A class that is answered and nowhere labelled has no images, so no row, and an IoU of 0 in the mean."""

    def caption(runs: Sequence[Run]) -> str:
        blocks = classes_and_boundaries(Study("scenes", runs, tidy_tables(runs, [])))
        (shown,) = (block for block in blocks if isinstance(block, Shown))
        return shown.caption

    explained = "Classes without labelled pixels have no row; where one is answered, its IoU of 0 counts in the mIoU."
    assert explained in caption(report.runs)  # no image has a hat
    data = report.runs[0].record.data
    data = data.model_copy(update={"classes": data.classes - 1, "class_names": data.class_names[:-1]})
    without_hats = [replace(run, record=run.record.model_copy(update={"data": data})) for run in report.runs]
    assert explained not in caption(without_hats)


def test_of_an_exit_that_finds_no_boundary_no_share_is_stated(report: Report) -> None:
    study = Study("scenes", report.runs, tidy_tables(report.runs, []))
    assert any("boundary IoU" in block.text for block in classes_and_boundaries(study) if isinstance(block, Text))
    study.tidy["exits"] = study.tidy["exits"].assign(boundary_iou=0.0)
    texts = [block.text for block in classes_and_boundaries(study) if isinstance(block, Text)]
    assert not any(re.search(r"\b(nan|inf)\b|boundary IoU", text) for text in texts)


@pytest.mark.parametrize(
    ("gain", "words"), [(0.012, "is 1.2 points above"), (-0.012, "is 1.2 points below"), (0.0, "is")]
)
def test_the_policy_is_above_below_or_at_random_routing(report: Report, gain: float, words: str) -> None:
    study = Study("scenes", report.runs, tidy_tables(report.runs, []))
    routing = study.tidy["routing"]
    study.tidy["routing"] = routing.assign(random=routing["accuracy"] - gain)
    texts = [block.text for block in results(study) if isinstance(block, Text)]
    assert any(f"its mIoU {words} that of random routing" in text for text in texts)


def test_exports_name_the_metric_and_have_no_empty_tables(report: Report) -> None:
    points = pd.read_csv(report.out / "points.csv")
    assert set(points["metric"]) == {"mIoU"}
    assert "Method & Point & mIoU (\\%)" in report.text("table.tex")
    assert "mIoU (\\%) & Speed-up" in report.text("paper-table.tex")
    assert "| Method | Point | mIoU (%) |" in report.text("table.md")
    assert not (report.out / "heads.csv").exists()
    for name in ("exits", "routing"):
        assert not {"ece", "nll", "oracle", "regret"} & set(pd.read_csv(report.out / f"{name}.csv"))
    for path in report.out.glob("*.csv"):
        assert not pd.read_csv(path).empty, path.name


def test_the_page_names_the_metric(report: Report) -> None:
    page = report.text("report.html")
    assert '<h2 id="curves">mIoU over MACs</h2>' in page
    assert 'data-sorted="mIoU (%)"' in page
    assert 'data-name="mIoU (%)"' in page
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, flags=re.DOTALL)
    assert data is not None
    (setting,) = json.loads(data[1])
    assert (setting["metric"], setting["byClass"]) == ("mIoU", "IoU")
    marks = [mark for curve in setting["curves"] for mark in curve["marks"] if mark["recall"]]
    assert marks
    shown = re.sub(r"<(script|style)[^>]*>.*?</\1>", "", page, flags=re.DOTALL)
    assert not re.search(r"(?i)\baccuracy\b|recall by class", shown)


def test_segmentations_judge_no_claim_and_no_rule(report: Report) -> None:
    table = judge(list(report.runs), read_claims())
    assert (table["verdict"] == "not run").all()
    assert table["finding"].ne("").any()  # at small scale
    assert mechanism_answers(list(report.runs)) == []


def test_both_tasks_in_one_report(report: Report, smoke: SmokeRun) -> None:
    store = Store(smoke.results)
    classifiers, _ = load_runs(store, store.run_ids())
    runs = [*classifiers, *report.runs]
    study = Study("both", runs, tidy_tables(runs, []))
    assert study.metric.name == "accuracy or mIoU"
    assert study.metric.explained() == f"mIoU: {COUNTED}"
    assert f"mIoU: {COUNTED}" in page(study)
    assert [setting.metric.name for setting in study.main] == ["accuracy", "mIoU"]
    assert set(study.tidy["points"]["metric"]) == {"accuracy", "mIoU"}


def test_a_method_keeps_its_name_beside_runs_of_the_other_task(report: Report, smoke: SmokeRun) -> None:
    store = Store(smoke.results)
    classifier = next(run for run in load_runs(store, store.run_ids())[0] if run.method == "lgvit")
    segmenter = next(run for run in report.runs if run.method == "lgvit")
    points = tuple(point.model_copy(update={"policy": "map-confidence"}) for point in segmenter.record.points)
    renamed = replace(segmenter, record=segmenter.record.model_copy(update={"points": points}))
    assert set(labels([classifier, renamed]).values()) == {"lgvit"}

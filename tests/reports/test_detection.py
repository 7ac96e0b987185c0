"""The report of a detection: it names AP and AP50, shows boxes at each exit, and leaves out what needs labels of images."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle

from reports.abstract import abstract
from reports.blocks import Text
from reports.figures.boxes import Boxes, Detected, detected
from reports.paper import build_report
from reports.sections.detection import objects
from reports.study import Study
from reports.tidy_tables import tidy_tables
from results.metric import AP
from results.store.folder import Store
from results.tables.examples import pixels_of
from results.tables.loading import load_runs
from results.tables.pictures import Picture, pictures_frame, pictures_of
from results.tables.run import STATIC
from tests.conftest import SmokeRun
from tests.detection_runs import CLASSES, POLICY, write_detection
from tests.reports.test_segmentation import Report


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    base = tmp_path_factory.mktemp("boxes")
    store = write_detection(base / "results", methods=("lgvit", "vanilla"))
    formats = ("pdf", "html", "csv", "latex", "markdown")
    problems = build_report(store, store.run_ids(), title="boxes", out=base / "out", formats=formats)
    assert problems == []
    runs, problems = load_runs(store, store.run_ids())
    assert problems == []
    return Report(runs, base / "out")


def test_the_paper_speaks_of_ap(report: Report) -> None:
    text = report.paper
    assert not re.search(r"\b[Aa]ccurac(y|ies)\b|classifies|\baccurate\b", text)
    for part in (
        "In object detection, how much",
        "reaches an AP of",
        "AP (%)",
        "AP50",
        "100 bootstrap draws",
        "20 thresholds",
    ):
        assert part in text, part
    for missing in ("alibration", "perfect routing", "overthinking", "Rules on LGViT's mechanisms"):
        assert missing not in text
    assert "The paper reports no object detection." in text
    tables = re.split(r"(?=Table \d+: )", text)
    starts = (
        "Data, and",
        "Main results",
        "AP (%) of every class",
        "COCO's metrics (%)",
        "Operating points",
        "Test AP (%)",
    )
    with_metric = [part for part in tables if part.partition(": ")[2].startswith(starts)]
    assert len(with_metric) == len(starts)
    assert all(AP.note in part for part in with_metric)


def test_exits_have_ap_by_size(report: Report) -> None:
    exits = pd.read_csv(report.out / "exits.csv").query("method == 'lgvit'")
    means = exits.groupby("block")[["macs", "accuracy", "ap50", "ap_small", "ap_medium", "ap_large", "ar100"]].mean()
    for block, row in means.iterrows():
        cells = " ".join(f"{100 * value:.1f}" for value in row.iloc[1:])
        assert f"{block} {row['macs']:.2f} {cells}" in report.paper
    boxes = pd.read_csv(report.out / "boxes.csv")
    static = boxes[(boxes["point"] == STATIC) & (boxes["method"] == "lgvit")][["accuracy", "ap50"]].mean()
    half = boxes[(boxes["point"] == f"{POLICY}/equal-macs-0.5") & (boxes["method"] == "lgvit")][
        ["accuracy", "ap50"]
    ].mean()
    kept = (100 * half / static).round().astype(int)
    assert (
        f"keeps {kept['accuracy']} % of the AP of the backbone without exits, and {kept['ap50']} % of its AP50"
        in report.paper
    )


def test_of_a_backbone_that_finds_nothing_no_share_is_kept(report: Report) -> None:
    study = Study("boxes", report.runs, tidy_tables(report.runs, []))
    assert any("keeps" in block.text for block in objects(study) if isinstance(block, Text))
    boxes = study.tidy["boxes"]
    study.tidy["boxes"] = boxes.assign(
        **{name: boxes[name].where(boxes["point"] != STATIC, 0.0) for name in ("accuracy", "ap50")}
    )
    texts = [block.text for block in objects(study) if isinstance(block, Text)]
    assert not any(re.search(r"\b(nan|inf)\b|keeps", text) for text in texts)


def test_a_size_of_which_the_final_exit_finds_nothing_is_not_compared(report: Report) -> None:
    study = Study("boxes", report.runs, tidy_tables(report.runs, []))
    exits = study.tidy["exits"]
    final = exits["block"] == exits["block"].max()
    study.tidy["exits"] = exits.assign(ap_medium=exits["ap_medium"].where(~final, 0.0))
    with warnings.catch_warnings(action="error", category=RuntimeWarning):
        texts = [block.text for block in objects(study) if isinstance(block, Text)]
    (compared,) = [text for text in texts if "of the final exit's AP" in text]
    assert {size for size in ("small", "medium", "large") if size in compared} == {"small", "large"}


def test_exports_name_the_metric_and_have_no_empty_tables(report: Report) -> None:
    assert set(pd.read_csv(report.out / "points.csv")["metric"]) == {"AP"}
    assert "Method & Point & AP (\\%)" in report.text("table.tex")
    assert "| Method | Point | AP (%) |" in report.text("table.md")
    assert '<h2 id="curves">AP over MACs</h2>' in report.text("report.html")
    for path in report.out.glob("*.csv"):
        assert not pd.read_csv(path).empty, path.name
    assert (report.out / "figures").is_dir()


def test_the_abstract_of_two_tasks_is_about_both(report: Report, smoke: SmokeRun) -> None:
    store = Store(smoke.results)
    classifiers, _ = load_runs(store, store.run_ids())
    runs = [*classifiers, *report.runs]
    study = Study("both", runs, tidy_tables(runs, []))
    question, setup, *found = abstract(study)
    assert "In classification and object detection" in question
    assert "fashion-scenes-detection" in setup
    assert any("AP" in sentence for sentence in found)
    assert len({setting.leading.record.data.task for setting in study.main}) == 2 <= len(found) <= 3


def test_pictures_are_given_back_and_bounded() -> None:
    image = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
    table = pictures_frame([Picture(7, image, 0.5)])
    (again,) = pictures_of(table)
    assert (again.sample_id, again.scale) == (7, 0.5)
    assert (again.image == image).all()
    assert (pixels_of(next(table.itertuples())) == image).all()
    for changed, words in (
        (table.assign(scale=0.0), "scale"),
        (table.assign(height=9), "other pixels"),
        (table[["scale"]], "no column"),
    ):
        with pytest.raises(ValueError, match=words):
            pictures_of(changed)


def test_the_figure_frames_the_exit_and_names_the_classes_in_it() -> None:
    one, none = Boxes(np.array([[1.0, 2, 5, 6]]), np.array([0])), Boxes(np.zeros((0, 4)), np.zeros(0, int))
    ignored = Boxes(np.array([[1.0, 2, 5, 6], [0, 0, 3, 3]]), np.array([2, -1]))
    row = Detected(np.zeros((8, 8, 1), np.uint8), ignored, [none, one], 1)
    figure = detected([row], ["block 3", "block 12"], CLASSES)
    assert [axes.get_title() for axes in figure.axes] == ["labels", "block 3", "block 12"]
    drawn = [sum(isinstance(patch, Rectangle) for patch in axes.patches) for axes in figure.axes]
    assert drawn == [2, 0, 2]  # the box, and the frame
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["shirt", "dress", "ignored"]

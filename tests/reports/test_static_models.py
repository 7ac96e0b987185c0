"""Published results of static models: shown beside runs on ImageNet-1k only, marked, and never typed into a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.blocks import Shown, Text
from reports.sections.static_models import smaller_sentences, static_models
from reports.study import Study
from reports.tidy_tables import CONTENTS
from reports.web.page import page
from results.judge.literature import read_numbers, read_static_models
from results.store.folder import Store
from results.tables.loading import load_runs
from results.tables.points import points
from results.tables.run import Run
from results.tables.static_models import MARK
from results.tables.static_models import static_models as table_of
from tests.results.judge.paper_scale import promoted

REFERENCE = Path(__file__).parents[2] / "results" / "reference"


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    store = Store(REFERENCE)
    names = ("static-vit_nano_patch4_28-fashion-mnist-none-s0", "lgvit-vit_nano_patch4_28-fashion-mnist-paper-s0")
    return load_runs(store, [run_id for run_id in store.run_ids() if run_id.startswith(names)])[0]


def test_rows_appear_only_beside_runs_on_imagenet(runs: list[Run]) -> None:
    assert table_of(runs) is None
    assert table_of(promoted(runs, 1)) is None  # the paper's model on CIFAR-100
    rows = table_of(promoted(runs, 1, dataset="imagenet-1k"))
    assert rows is not None
    assert set(rows["status"]) == {MARK}
    assert rows["source"].str.contains("aa4b5850").all()
    assert "static-models" in CONTENTS
    assert static_models(Study("t", runs, {})) == []


def test_a_sentence_is_computed_from_the_rows(runs: list[Run]) -> None:
    rows = table_of(promoted(runs, 1, dataset="imagenet-1k"))
    assert rows is not None
    (sentence,) = smaller_sentences(rows, "vit_base_patch16_224")
    assert "vit_base_patch16_224.augreg_in21k_ft_in1k to vit_small_patch16_224.augreg_in21k_ft_in1k" in sentence
    assert "3.1 points" in sentence
    assert "3.8× fewer MACs and 3.2× less time" in sentence
    assert MARK in sentence
    changed = rows.assign(top1=rows["top1"].where(rows["backbone"] != "vit_small_patch16_224", 80.0))
    assert "4.5 points" in smaller_sentences(changed, "vit_base_patch16_224")[0]
    assert "2.2 points" in smaller_sentences(rows, "deit_base_distilled_patch16_224")[0]
    assert all("MACs" not in text for text in smaller_sentences(rows, "swin_base_patch4_window7_224"))
    assert smaller_sentences(rows, "vit_tiny_patch16_224") == []


def test_the_pdf_and_the_page_show_them(runs: list[Run]) -> None:
    large = promoted(runs, 1, dataset="imagenet-1k")
    rows = table_of(large)
    assert rows is not None
    study = Study("t", large, {"points": points(large), "static-models": rows})
    text, shown = static_models(study)
    assert isinstance(text, Text)
    assert "3.1 points" in text.text
    assert isinstance(shown, Shown)
    assert len(shown.table.rows) == len(rows)
    assert MARK in shown.caption
    html = page(study)
    assert MARK in html
    assert '<td data-name="GMACs">17.58</td>' in html


def test_the_file_is_consistent() -> None:
    models = {model.model: model for model in read_static_models().models}
    for model in models.values():
        if model.smaller is not None:
            small = models[model.smaller]
            assert small.top1 < model.top1
            assert small.gmacs is None or model.gmacs is None or small.gmacs < model.gmacs
    assert read_numbers()  # the file is none of the numbers that judge runs

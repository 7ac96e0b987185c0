"""The Python module for notebooks."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.errors import UserError
from benchmark.notebook import build, load_results, load_run
from tests.conftest import ROOT
from tests.trained_runs import RUN, write_trained_run


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("notebook") / "results"
    write_trained_run(folder)
    return folder


def test_a_run_gives_its_tables_scores_and_predictions(results: Path) -> None:
    run = load_run("lgvit-vit", results)
    assert run.record.run_id == RUN
    assert {"confidence", "entropy", "margin"} == set(run.curves["policy"])
    assert {"accuracy", "low", "high", "mac_speedup"} <= set(run.points)
    scores = run.scores("test")
    assert scores.logits.shape == (3, 60, 10)
    image = np.zeros((28, 28), dtype=np.uint8)
    assert run.predict([image], threshold=1)["exit"].tolist() == [3]
    assert run.predict([image, image])["name"].nunique() == 1
    assert list(run.predict([]).columns) == ["label", "name", "confidence", "exit", "block", "macs"]
    with pytest.raises(UserError, match="unknown split 'train'"):
        run.scores("train")


def test_the_notebook_in_docs_runs(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / "docs")
    monkeypatch.setattr(sys, "path", [*sys.path])
    cells = json.loads((ROOT / "docs" / "notebook.ipynb").read_text(encoding="utf-8"))["cells"]
    namespace: dict[str, object] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), namespace)
            namespace["RESULTS"] = results
    assert namespace["RUN"] == "lgvit"


def test_a_folder_gives_its_operating_points(results: Path) -> None:
    table = load_results(results)
    assert set(table["run_id"]) == {RUN}
    assert table.attrs["problems"] == []


def test_a_model_is_built_for_training_elsewhere() -> None:
    model = build("vit_nano_patch4_28", exits=(4, 8), heads=["linear", "gah"], num_classes=7)
    logits = model(torch.zeros(2, 1, 28, 28))
    assert logits.shape == (3, 2, 7)
    logits.sum().backward()


@pytest.mark.parametrize(("arguments", "word"), [
    (("vit_nano_patch4_27", (4,)), "vit_nano_patch4_"),
    (("vit_nano_patch4_28", (8, 4)), "ascending"),
    (("vit_nano_patch4_28", (4, 12)), "between 1 and 11"),
    (("vit_nano_patch4_28", ()), "between 1 and 11"),
    (("vit_nano_patch4_28", (4, 8), ["linear"]), "1 heads for 2 exits"),
    (("vit_nano_patch4_28", (4,), "liner"), "linear"),
])  # fmt: skip
def test_mistakes_are_one_sentence(arguments: tuple[object, ...], word: str, results: Path) -> None:
    with pytest.raises(UserError, match=word):
        build(*arguments)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=RUN):
        load_run("vgvit", results)

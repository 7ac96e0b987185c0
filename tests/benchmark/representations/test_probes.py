"""The stage `probes` on the backbone of a real run, and what reports make of it."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmark import registry
from benchmark.errors import UserError
from benchmark.execution.config import ExecutionConfig
from benchmark.representations import logistic
from benchmark.representations.grid_probes import probe_grid
from benchmark.representations.probes import probe_backbone
from benchmark.representations.subject import Subject
from benchmark.training.heads import make_head
from methods.api import Component
from methods.tasks import get_task
from methods.tokens import Tokens
from reports.abstract import abstract
from reports.captioned import marks
from reports.findings import details
from reports.study import Study
from reports.summary_text import summary_text
from reports.tidy_tables import tidy_tables
from results.store.folder import Store
from results.store.probes import LastQuarter, distillation_of, without_probes
from results.store.sharing import share
from results.tables.convergence import READS
from results.tables.loading import load_runs
from tests.conftest import SmokeRun

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def probed(smoke: SmokeRun, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A copy of the smoke runs, probed as the last step of a grid does it."""
    folder = tmp_path_factory.mktemp("probes") / "results"
    shutil.copytree(smoke.results, folder)
    store = Store(folder)
    missing = without_probes(store, [name for name in store.run_ids() if not name.startswith("static")])
    assert len(missing) == 4
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logistic, "ITERATIONS", 10)  # `test_logistic.py` tests the fits
        probe_grid(missing, ExecutionConfig(results=folder, device="cpu"), lines.append)
    assert len(lines) == 1  # all runs are on one backbone, and their heads have the same loss
    assert "1 of 1" in lines[0]
    return store


def test_probes_that_do_not_fit_in_memory_leave_the_grid_its_report(
    smoke: SmokeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(*args: object) -> None:
        raise torch.OutOfMemoryError("out of memory, tried to allocate 60 GiB")

    monkeypatch.setattr("benchmark.representations.grid_probes.probe_backbone", too_large)
    store = Store(smoke.results)
    records = without_probes(store, [name for name in store.run_ids() if not name.startswith("static")])
    lines: list[str] = []
    probe_grid(records, ExecutionConfig(results=smoke.results, device="cpu"), lines.append)
    assert lines[-1] == "no probes of vit_nano_patch4_28, seed 0: out of memory, tried to allocate 60 GiB"


def test_all_runs_on_the_backbone_share_the_probes(probed: Store) -> None:
    runs, problems = load_runs(probed, probed.run_ids())
    assert problems == []
    assert without_probes(probed, [run.record.run_id for run in runs if run.has_exits]) == []
    (probes,) = {run.probes[0].model_dump_json(): run.probes[0] for run in runs}.values()
    exits = runs[-1].record.spec.train.exits
    assert {(probe.block, probe.inputs) for probe in probes.probes} == {
        (block, inputs) for block in exits for inputs in ("class token", "patch mean", "both")
    }
    final = next(run.record.static_accuracy.val for run in runs)
    assert probes.last_quarter is not None
    assert probes.last_quarter.after == pytest.approx(final)
    manifest = json.loads((probed.stage(probes.backbone) / "val.json").read_text())
    assert probes.last_quarter.before == manifest["val_accuracy"]
    (stage,) = probed.stages("probes")
    record = runs[-1].record
    distillation = distillation_of(record)
    assert distillation is not None
    assert probes.distillation == distillation
    assert probe_backbone(Subject(probed, record, CPU, None), exits, distillation)[0] == stage  # it exists


def test_the_abstract_ranks_no_methods_whose_heads_have_not_converged(probed: Store) -> None:
    runs, _ = load_runs(probed, probed.run_ids())
    study = Study("t", runs, tidy := tidy_tables(runs, []))
    assert "head not converged" in set(tidy["failures"]["signature"])  # smoke trains its heads for one epoch
    # Else the abstract says only that the backbone is weak.
    strong = Study("t", runs, tidy | {"failures": tidy["failures"].iloc[:0]})
    text = " ".join(abstract(strong))
    assert "not ranked" in text
    assert "ahead of" not in text
    assert "differ" not in text
    assert "not ranked" not in " ".join(abstract(Study("t", [run.changed(probes=()) for run in runs], strong.tidy)))
    assert study.tidy["convergence"]["converged"].dtype == bool


def test_what_has_not_converged_is_said_beside_the_numbers(probed: Store) -> None:
    runs, _ = load_runs(probed, probed.run_ids())
    tidy = tidy_tables(runs, [])
    tidy["failures"] = tidy["failures"].iloc[:0]  # else the abstract says only that the backbone is weak
    for after, is_late in ((0.5, False), (0.6, True)):
        gain = {"last_quarter": LastQuarter(epochs=8, before_epoch=6, before=0.5, after=after)}
        measured = [run.changed(probes=tuple(one.model_copy(update=gain) for one in run.probes)) for run in runs]
        study = Study("t", measured, tidy)
        sentences = abstract(study)
        assert len(sentences) <= 5
        assert ("the backbone has not converged" in " ".join(sentences)) == is_late
    without = Study("t", [run.changed(probes=()) for run in runs], tidy)
    for shown, said in ((study, True), (without, False)):
        texts = [details(shown.main[0], shown.display)[0], marks(shown.main[0], shown.display), summary_text(shown)]
        assert [bool(re.search(r"not\s+converged", text, re.IGNORECASE)) for text in texts] == [said] * 3


def test_shared_records_keep_the_check_without_weights(probed: Store, tmp_path: Path) -> None:
    share(probed, probed.run_ids(), tmp_path)
    copy = Store(tmp_path)
    assert copy.stages("probes") == probed.stages("probes")
    assert not list(tmp_path.rglob("*.safetensors"))
    runs, problems = load_runs(copy, copy.run_ids())
    assert problems == []
    assert all(run.probes for run in runs)


def test_other_images_are_refused(probed: Store) -> None:
    record = probed.done_record(probed.run_ids()[0])
    other = record.model_copy(update={"data": record.data.model_copy(update={"content": {"train": "pixels:0"}})})
    with pytest.raises(UserError, match=record.run_id):
        probe_backbone(Subject(probed, other, CPU, None), [1])


@pytest.mark.parametrize(("name", "inputs"), READS.items())
@torch.no_grad()
def test_heads_read_the_tokens_whose_probe_they_are_compared_with(name: str, inputs: str) -> None:
    card = registry.card("backbone", "vit_nano_patch4_28")
    torch.manual_seed(0)
    head = make_head(Component(name), 4, card, 10, get_task("classification")).eval()
    head.bind(card.load()(card.architecture, 10).eval())  # whose final norm some heads read
    tokens = Tokens(torch.randn(2, 1 + card.grids[3] ** 2, card.dims[3]), card.grids[3], 1)
    reads = set()
    for kind, part in (("class token", slice(0, 1)), ("patch mean", slice(1, None))):
        values = tokens.values.clone()
        values[:, part] = torch.randn_like(values[:, part])
        one, other = (head.after(read, torch.zeros(2, 10))[0] for read in (tokens, replace(tokens, values=values)))
        if not torch.equal(one, other):
            reads.add(kind)
    assert reads == ({"class token", "patch mean"} if inputs == "both" else {inputs})

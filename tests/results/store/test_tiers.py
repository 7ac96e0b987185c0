"""Tiers of shared runs: records, scores and weights, each usable from the shared folder alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from benchmark.cli.predict import command as predict
from benchmark.cli.report import command as report
from benchmark.cli.sweep import command as sweep
from benchmark.errors import UserError
from benchmark.evaluation.stored_runs import load_run_scores
from benchmark.measure.finished import load_model
from benchmark.notebook import load_run, read_scores
from results.store.folder import Store
from results.store.tiers import share_scores, tiers
from tests.detection_runs import write_detection
from tests.segmentation_runs import write_segmentation
from tests.trained_runs import RUN, write_trained_run


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "results"
    write_trained_run(folder)
    return folder


def shared(results: Path, out: Path, *options: str) -> Result:
    arguments = ["--results", str(results), "--out", str(out), "--format", "records", *options]
    done = CliRunner().invoke(report, arguments)
    assert done.exit_code == 0, done.output
    return done


def test_scores_are_read_from_a_shared_folder(results: Path, tmp_path: Path) -> None:
    out = tmp_path / "release"
    done = shared(results, out, "--with-scores", "fp16")
    assert "scores: " in done.output
    assert "--with-weights" in done.output  # the tier that is not included, with its size
    assert not (out / "stages").exists()
    (path,) = out.glob("scores/*/test.safetensors")
    original, copy = load_run(RUN, results).scores("test"), load_run(RUN, out).scores("test")
    assert torch.equal(copy.labels, original.labels)
    assert torch.equal(copy.sample_id, original.sample_id)
    assert torch.allclose(copy.logits.softmax(-1), original.logits.softmax(-1), atol=1e-3)
    assert torch.equal(read_scores(path).logits, copy.logits)
    swept = CliRunner().invoke(sweep, ["--results", str(out), "--policy", "margin"])
    assert swept.exit_code == 0, swept.output
    sizes = {tier.name: tier for tier in tiers(Store(results), [RUN], out, ["scores"])}
    assert sizes["scores"].bytes == sum(file.stat().st_size for file in out.glob("scores/*/*"))
    assert not sizes["weights"].included
    assert sizes["weights"].bytes > sizes["scores"].bytes


def test_weights_are_used_from_a_shared_folder(results: Path, tmp_path: Path) -> None:
    out, image = tmp_path / "release", tmp_path / "image.png"
    shared(results, out, "--with-weights")
    Image.new("L", (28, 28), 90).save(image)
    runs = [
        CliRunner().invoke(predict, [RUN, str(image), "--results", str(folder), "--format", "json", "--device", "cpu"])
        for folder in (results, out)
    ]
    assert [run.exit_code for run in runs] == [0, 0], runs[1].output
    assert runs[0].output == runs[1].output


def test_tiers_need_records(results: Path, tmp_path: Path) -> None:
    arguments = ["--results", str(results), "--out", str(tmp_path / "out"), "--format", "csv", "--with-weights"]
    done = CliRunner().invoke(report, arguments)
    assert "--with-weights" in str(done.exception)
    assert "--format records" in str(done.exception)


def test_scores_that_are_missing_are_named(results: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    shared(results, first)
    done = shared(first, second, "--with-scores", "fp16")
    assert RUN in done.output
    assert "scores are not included" in done.output
    # What needs the scores or the weights names the command that makes them.
    store = Store(first)
    record = store.done_record(RUN)
    swept = CliRunner().invoke(sweep, ["--results", str(first), "--policy", "entropy"]).exception
    with pytest.raises(UserError) as scores:
        load_run_scores(store, record)
    with pytest.raises(UserError) as model:
        load_model(store, record, torch.device("cpu"))
    for error in (swept, scores.value, model.value):
        assert isinstance(error, UserError)
        (message,) = error.messages
        assert f"python -m benchmark reproduce {RUN} --results {first}" in message
        assert message.count(f"{RUN}: ") == 1


@pytest.mark.parametrize(
    ("write", "stored"),
    [(write_segmentation, "segmentation stores counts of pixels"), (write_detection, "detection stores boxes")],
)
def test_scores_of_other_tasks_are_not_offered(
    write: Callable[..., Store], stored: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = write(tmp_path, seeds=(0,), methods=("lgvit",))
    names = [tier.name for tier in tiers(store, store.run_ids(), tmp_path / "shared", [])]
    assert names == ["records", "weights"]
    monkeypatch.setattr("results.store.tiers.scores_stage", lambda record: "scores-0")  # invented runs have none
    problems = share_scores(store, store.run_ids(), tmp_path / "shared")
    assert len(problems) == len(store.run_ids())
    assert all(stored in problem for problem in problems)

"""The command `deploy`: thresholds for budgets, chosen on val, and the file that `predict` accepts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from benchmark import provenance
from benchmark.cli.deploy import command
from benchmark.cli.predict import command as predict_command
from benchmark.deployment.budget import Budget
from benchmark.deployment.choice import choose_deployment
from benchmark.deployment.deployed import read_deployed
from benchmark.deployment.measured_times import TimingSetup
from benchmark.errors import UserError
from benchmark.evaluation.evaluate import prepare
from benchmark.evaluation.stored_runs import load_run_scores
from benchmark.evaluation.sweep import decide
from methods.policies import get_policy
from results.provenance import Machine
from results.record import DoneRecord
from results.spec import Configured
from results.store.folder import Store, StoreError
from results.store.latency import FILE, read_latencies
from tests.results.builders import latency, stage_provenance
from tests.trained_runs import RUN, write_trained_run

TIMING = TimingSetup(torch.device("cpu"))


def deploy(results: Path, *arguments: object) -> Result:
    return CliRunner().invoke(command, [*map(str, arguments), "--results", str(results)])


@pytest.mark.parametrize("policy", ["confidence", "entropy"])
def test_a_share_of_macs_is_kept_on_val_and_measured_on_test(
    results: Path, record: DoneRecord, policy: str, tmp_path: Path
) -> None:
    out = tmp_path / "model.json"
    done = deploy(results, RUN, "--budget", 0.6, "--policy", policy, "--out", out)
    assert done.exit_code == 0, done.output
    deployed = read_deployed(out)
    assert deployed.policy.name == policy
    assert 0.4 < deployed.val_macs / record.costs.baseline <= 0.6
    scores = load_run_scores(Store(results), record)["test"]
    exits, predictions = get_policy(policy, threshold=deployed.setting).choose(scores.logits)
    test = deployed.test
    assert test.accuracy.mean == pytest.approx((predictions == scores.labels).double().mean().item())
    assert test.mean_macs.mean == pytest.approx(np.mean([record.costs.cumulative[k] for k in exits]))
    assert test.drop.mean == pytest.approx(record.static_accuracy.test - test.accuracy.mean)
    assert test.accuracy.low <= test.accuracy.mean <= test.accuracy.high
    assert test.mean_macs.low < test.mean_macs.mean < test.mean_macs.high
    content = json.loads(out.read_text())
    assert len(content["classes"]) == 10
    assert content["input"] == {
        "size": 28, "channels": 1, "stored_size": 28, "stored_channels": 1, "mean": [0.286], "std": [0.353]
    }  # fmt: skip


def test_images_reach_a_policy_that_adapts_in_the_order_of_its_option(tmp_path: Path) -> None:
    selection = Configured(name="running-quantile", set={"order": 3, "prior": 1})
    record, store = write_trained_run(tmp_path, samples=200, policies=(selection,)), Store(tmp_path)
    scores = load_run_scores(store, record)
    deployed = choose_deployment(store, record.run_id, Budget.parse("0.6"))
    policy, _ = prepare(selection, scores["val"], record.costs)
    (exits,) = decide(policy, scores["test"], np.array([deployed.setting])).exit_taken
    assert deployed.test.exit_shares == pytest.approx(np.bincount(exits, minlength=len(record.exits)) / len(exits))
    setattr(policy, policy.swept, deployed.setting)
    as_stored, _ = policy.choose(scores["test"].logits)
    assert not np.array_equal(as_stored, exits)


def test_a_drop_gives_the_records_point(results: Path, record: DoneRecord) -> None:
    deployed = choose_deployment(Store(results), RUN, Budget.parse("1pt"))
    point = next(point for point in record.points if point.name == "confidence/accuracy-drop-0.01")
    assert deployed.setting == point.settings[0].threshold
    assert point.test is not None
    assert deployed.test.accuracy.mean == pytest.approx(point.test.accuracy)


def test_milliseconds_choose_among_measured_points(results: Path) -> None:
    store, here = Store(results), provenance.machine("cpu")
    with pytest.raises(UserError, match=r"not timed.* python -m benchmark deploy .* --budget 5ms"):
        choose_deployment(store, RUN, Budget.parse("5ms"), timing=TIMING)

    def write(number: int, threshold: float, milliseconds: float, machine: Machine, precision: str = "fp32") -> None:
        timed = latency(milliseconds, run_id=RUN, threshold=threshold, machine=machine, precision=precision)
        with store.write_stage(f"latency-{number:016x}", {}, stage_provenance()) as folder:
            (folder / FILE).write_text(timed.model_dump_json())

    # Times of other hardware, of other threads and of another precision are not those of this machine.
    write(0, 0.0, 1.0, here.model_copy(update={"cpu": "EPYC"}))
    write(1, 0.3, 1.0, here.model_copy(update={"threads": here.threads + 1}))
    write(2, 0.6, 1.0, here, "bf16")
    with pytest.raises(UserError, match=rf"not timed on this machine.*EPYC.* {here.threads + 1} threads") as error:
        choose_deployment(store, RUN, Budget.parse("5ms"), timing=TIMING)
    assert "bf16" in str(error.value)
    for number, (threshold, milliseconds) in enumerate([(0.0, 2.0), (0.3, 4.0), (1.0, 9.0)]):
        write(number + 3, threshold, milliseconds, here)
    deployed = choose_deployment(store, RUN, Budget.parse("5ms"), timing=TIMING)
    assert (deployed.setting, deployed.milliseconds) in {(0.0, 2.0), (0.3, 4.0)}
    assert deployed.measured_on == here.name
    with pytest.raises(UserError, match="the smallest is 2 ms"):
        choose_deployment(store, RUN, Budget.parse("1ms"), timing=TIMING)


def test_a_time_that_was_not_measured_is_measured(
    results: Path, record: DoneRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmark.deployment.measured_times.IMAGES", 4)
    monkeypatch.setattr("benchmark.deployment.measured_times.WARMUP", 1)
    out = tmp_path / "model.json"
    timed = latency(1.0, run_id=RUN, point="margin/fixed")
    with Store(results).write_stage(f"latency-{99:016x}", {}, stage_provenance()) as folder:
        (folder / FILE).write_text(timed.model_dump_json())
    arguments = (RUN, "--budget", "1000ms", "--policy", "margin", "--device", "cpu", "--out", out)
    done = deploy(results, *arguments)
    assert done.exit_code == 0, done.output
    assert "timing margin/" in done.stderr
    assert "EPYC" in done.stderr  # times of another machine are there, and are not used
    deployed = read_deployed(out)
    points = [p for p in record.points if p.policy == "margin" and len(p.settings) == 1]
    measured = [
        times
        for times in read_latencies(Store(results))[RUN]
        if times.point.startswith("margin/") and times.machine.cpu != timed.machine.cpu
    ]
    assert {times.threshold for times in measured} == {point.settings[0].threshold for point in points}
    assert deployed.milliseconds == next(t.timings[0].dynamic.mean for t in measured if t.threshold == deployed.setting)
    again = deploy(results, *arguments)
    assert "timing" not in again.stderr
    assert read_deployed(out) == deployed


def test_predict_takes_a_time(results: Path, tmp_path: Path) -> None:
    """After the test before, the run has measured times."""
    image = tmp_path / "image.png"
    Image.new("L", (28, 28), 90).save(image)
    arguments = [RUN, str(image), "--results", str(results), "--device", "cpu", "--max-ms"]
    deployed = choose_deployment(Store(results), RUN, Budget.parse("5ms"), timing=TIMING)
    done = CliRunner().invoke(predict_command, [*arguments, "5"])
    assert done.exit_code == 0, done.output
    assert f"confidence/threshold-{deployed.setting:g}" in done.output
    assert "the smallest is 2 ms" in str(CliRunner().invoke(predict_command, [*arguments, "1"]).exception)


def test_predict_takes_the_file(results: Path, tmp_path: Path) -> None:
    out, image = tmp_path / "model.json", tmp_path / "image.png"
    Image.fromarray(np.arange(28 * 28, dtype=np.uint8).reshape(28, 28)).save(image)
    assert deploy(results, RUN, "--budget", "0.6", "--policy", "entropy", "--out", out).exit_code == 0
    arguments = ["--deployed", str(out), str(image), "--format", "json", "--results", str(results), "--device", "cpu"]
    done = CliRunner().invoke(predict_command, arguments)
    assert done.exit_code == 0, done.output
    content = json.loads(done.stdout)
    assert content["point"] == f"entropy/threshold-{read_deployed(out).setting:g}"
    (tmp_path / "runs").mkdir()
    elsewhere = CliRunner().invoke(predict_command, [*arguments[:-3], str(tmp_path), "--device", "cpu"]).exception
    assert isinstance(elsewhere, UserError)
    assert all(word in str(elsewhere) for word in (str(out), RUN, "--results"))
    out.write_text("{}")
    error = CliRunner().invoke(predict_command, arguments).exception
    assert isinstance(error, UserError)
    assert "python -m benchmark deploy" in str(error)


@pytest.mark.parametrize(("arguments", "words"), [
    ((RUN, "--budget", "half"), ("half", "1pt", "5ms")),
    ((RUN, "--budget", "0"), ("--budget 0",)),
    ((RUN, "--budget", "50"), ("--budget 50",)),
    ((RUN, "--budget", "0.01"), ("--budget 0.01", "of the MACs")),
    ((RUN, "--budget", "0.5", "--policy", "entropi"), ("entropi", "entropy", "grid")),
    (("vanilla", "--budget", "0.5"), ("vanilla", RUN)),
    ((RUN, "--budget", "0.6", "--out", "notes.txt"), ("--out", "notes.txt")),
])  # fmt: skip
def test_mistakes_are_one_sentence(
    arguments: tuple[str, ...], words: tuple[str, ...], results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("mine")
    error = deploy(results, *arguments).exception
    assert isinstance(error, UserError | StoreError)
    assert all(word in str(error) for word in words), str(error)
    assert Path("notes.txt").read_text() == "mine"

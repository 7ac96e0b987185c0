"""The server scenario: the queue serves every request in order, and the answers are those of the offline policy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from benchmark.cli.latency import command
from benchmark.errors import UserError
from benchmark.evaluation.scores import ExitScores
from benchmark.measure.audit import audit
from benchmark.measure.queue import poisson_arrivals, serve
from benchmark.measure.server import ExitServer
from methods.policies import get_policy
from results.store.folder import Store
from results.store.server import FILE, SERVERS, ServedLoad, ServerLatency
from tests.benchmark.measure.test_dynamic import images_for, small_model
from tests.methods.test_detection import model_of, scenes
from tests.trained_runs import write_trained_run

BACKBONE = "vit_nano_patch4_28"


def test_arrivals_are_seeded_and_have_the_rate() -> None:
    arrivals = poisson_arrivals(4000, 50, seed=1)
    assert (np.diff(arrivals) > 0).all()
    assert np.diff(arrivals).mean() == pytest.approx(1 / 50, rel=0.05)
    assert np.diff(arrivals).std() == pytest.approx(1 / 50, rel=0.1)  # exponential
    np.testing.assert_array_equal(arrivals, poisson_arrivals(4000, 50, seed=1))


def test_one_server_without_exits_batches_what_waits() -> None:
    batches: list[list[int]] = []

    def execute(_: int, requests: list[int]) -> tuple[float, list[bool]]:
        batches.append(requests)
        return 1.0, [True] * len(requests)

    departures = serve(np.array([0.0, 0.1, 0.2, 0.3, 5.0]), 1, 2, execute, merge=False)
    assert batches == [[0], [1, 2], [3], [4]]
    assert departures.tolist() == [1.0, 2.0, 2.0, 3.0, 6.0]


@pytest.mark.parametrize(("merge", "expected"), [
    (False, [(0, [0, 1]), (1, [1]), (0, [2, 3]), (1, [3])]),
    (True, [(0, [0, 1]), (0, [2, 3]), (1, [1, 3])]),
])  # fmt: skip
def test_survivors_continue_alone_or_wait_for_each_other(merge: bool, expected: list[tuple[int, list[int]]]) -> None:
    executed: list[tuple[int, list[int]]] = []

    def execute(depth: int, requests: list[int]) -> tuple[float, list[bool]]:
        executed.append((depth, requests))
        return 1.0, [depth == 1 or request % 2 == 0 for request in requests]

    departures = serve(np.zeros(4), 2, 2, execute, merge=merge)
    assert executed == expected
    assert np.isfinite(departures).all()


def test_a_queue_below_its_capacity_has_the_known_mean_wait() -> None:
    """One request at a time, service time s, load r: the mean wait is r s / (2 (1 - r)) (Pollaczek and Khinchine)."""
    arrivals = poisson_arrivals(40_000, 0.5, seed=0)
    departures = serve(arrivals, 1, 1, lambda _, requests: (1.0, [True] * len(requests)), merge=False)
    assert (departures - arrivals).mean() - 1 == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize(("name", "setting"), [("confidence", 0.5), ("patience", 2.0), ("entropy", 0.7)])
@pytest.mark.parametrize("merge", [False, True])
def test_merged_or_not_the_answers_are_those_of_the_offline_policy(name: str, setting: float, merge: bool) -> None:
    model, images = small_model(BACKBONE), images_for(BACKBONE, 12)
    policy = get_policy(name)
    setattr(policy, policy.swept, setting)
    with torch.no_grad():
        exits, predictions = policy.choose(model(images))
    order = torch.from_numpy(np.random.default_rng(0).integers(0, 12, 40))
    server = ExitServer(_Checked(model, policy, images), order)  # type: ignore[arg-type]
    sizes = []

    def execute(depth: int, requests: list[int]) -> tuple[float, list[bool]]:
        sizes.append((depth, len(requests)))
        return 0.01, server.execute(depth, requests)[1]

    serve(poisson_arrivals(40, 300, 0), server.depths, 4, execute, merge=merge)
    answers = server.answers()
    assert (answers.exits == exits[order]).float().mean() >= 0.95  # rounding depends on the batch
    same = answers.exits == exits[order]
    assert torch.equal(answers.predictions[same], predictions[order][same])
    assert server.parked == {}


def test_the_boxes_of_every_request_are_read_in_the_time_that_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    model, (images, _) = model_of("lph", "linear").eval(), scenes(6)
    with torch.no_grad():
        first = model.task.evidence(model(images)[0], None)[:, 0]
    read, answers = [], model.task.answers
    monkeypatch.setattr(type(model.task), "answers", lambda task, output: read.append(len(output)) or answers(output))
    policy = get_policy("box-confidence", threshold=float(first.median()))
    server = ExitServer(_Checked(model, policy, images), torch.arange(6))  # type: ignore[arg-type]
    serve(np.zeros(6), server.depths, 3, server.execute, merge=True)
    assert len(server.exits.unique()) > 1
    assert sum(read) == 6


class _Checked:
    """The part of a `CheckedModel` that a server reads."""

    def __init__(self, model: torch.nn.Module, policy: object, pixels: torch.Tensor) -> None:
        self.model, self.policy, self.pixels = model, policy, pixels


def test_the_largest_load_within_a_limit() -> None:
    rows = [
        ServedLoad(server="exits", load=load, requests_per_second=1, p50=1, p99=p99, mean_batch=1, busy=0.5)
        for load, p99 in ((0.5, 3.0), (0.75, 9.0), (1.0, 4.0))
    ]
    result = ServerLatency.model_construct(rows=tuple(rows), limit_ms=5.0)
    assert result.largest_load("exits") == 0.5
    assert result.largest_load("backbone") is None


def test_the_command_serves_a_run_once(tmp_path: Path) -> None:
    write_trained_run(tmp_path, samples=30)
    arguments = [
        "--run", "lgvit", "--results", str(tmp_path), "--scenario", "server", "--images", "30", "--requests", "20",
        "--load", "0.5", "--load", "1", "--warmup", "1", "--batch-size", "4", "--threads", "1", "--seed", "5",
    ]  # fmt: skip
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0, done.output
    store = Store(tmp_path)
    (stage,) = store.stages("server")
    result = ServerLatency.model_validate_json(store.artifact(stage, FILE).read_bytes())
    assert [(row.load, row.server) for row in result.rows] == [(load, name) for load in (0.5, 1.0) for name in SERVERS]
    assert all(row.p50 <= row.p99 for row in result.rows)
    assert (result.execution, result.seed, result.audit.answers) == ("executed batches, simulated arrivals", 5, 10)
    assert result.attention == ("flash_attention_for_cpu",)
    assert "simulated arrivals" in done.output
    again = CliRunner().invoke(command, arguments)
    assert "already" in again.output
    assert store.stages("server") == [stage]


def test_scores_of_another_model_are_an_error() -> None:
    """`ExitScores` of other logits: the answers of the server are not theirs."""

    model, images = small_model(BACKBONE), images_for(BACKBONE, 12)
    policy = get_policy("confidence", threshold=0.5)
    server = ExitServer(_Checked(model, policy, images), torch.arange(12))  # type: ignore[arg-type]
    serve(np.zeros(12), server.depths, 4, server.execute, merge=True)
    with torch.no_grad():
        others = model(images).roll(1, dims=1)
    stored = ExitScores(others, torch.zeros(12, dtype=torch.int64), torch.arange(12))
    with pytest.raises(UserError, match="offline"):
        audit(server.answers(), policy, stored, 1e-3, "a-run")

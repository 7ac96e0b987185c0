"""Sweeps over stored scores: the command, its numbers against a slow computation, and its messages about bad input."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from benchmark.cli.sweep import command as sweep_command
from benchmark.evaluation import sweep as sweep_module
from benchmark.evaluation.scores import ExitScores
from benchmark.evaluation.stored_sweeps import evaluate_policies
from benchmark.evaluation.sweep import decide
from methods.api import CLASSIFICATION
from methods.policies import POLICIES, get_policy
from results.spec import Configured
from results.store.folder import Store
from tests.conftest import Command, SmokeRun
from tests.methods.test_policies import FAST
from tests.trained_runs import write_trained_run


def random_scores(samples: int) -> ExitScores:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(5, (samples,), generator=generator)
    logits = 2 * torch.randn(4, samples, 5, generator=generator)
    logits[:, torch.arange(samples), labels] += torch.arange(4)[:, None]
    return ExitScores(logits, labels, torch.arange(samples), torch.rand(3, samples, generator=generator))


@pytest.mark.parametrize("name", POLICIES)
def test_a_sweep_equals_choose_for_every_setting(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_module, "CHUNK", 70)  # several chunks, the last one smaller
    scores = random_scores(300)
    policy = get_policy(name, **FAST.get(name, {})).fit(scores.logits, scores.labels)
    settings = policy.with_context(scores.labels, scores.errors).default_grid(scores.logits)[::7]
    swept = decide(policy, scores, settings).sweep()
    for t, setting in enumerate(settings):
        if name != "oracle":
            setattr(policy, policy.swept, float(setting))
        exits, answers = policy.with_context(scores.labels, scores.errors).choose(scores.logits)
        assert swept.accuracy[t] == pytest.approx((answers == scores.labels).double().mean().item())
        np.testing.assert_allclose(swept.shares[t], torch.bincount(exits, minlength=4) / 300)
    np.testing.assert_allclose(swept.mean([1, 2, 3, 4]), swept.shares @ [1, 2, 3, 4])


def test_sweep_gives_the_points_of_the_record(smoke: SmokeRun, benchmark_command: Command, tmp_path: Path) -> None:
    out = tmp_path / "sweep.csv"
    done = benchmark_command(
        "sweep", "--results", smoke.results, "--policy", "confidence", "--drop", 0.02, "--budget", 0.5, "--budget", 0.75,
        "--out", out,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(out)
    assert len(table) == 4 * 3
    store = Store(smoke.results)
    for _, row in table.iterrows():
        points = {(point.kind, point.target): point for point in store.record(row["run_id"]).points}
        test = points[row["point"], row["target"]].test
        if test is None:
            assert np.isnan(row["accuracy"])
        else:
            assert row["accuracy"] == pytest.approx(test.accuracy)


@pytest.mark.slow
def test_one_grid_with_all_policies(smoke: SmokeRun, benchmark_command: Command, tmp_path: Path) -> None:
    out = tmp_path / "all.csv"
    done = benchmark_command("sweep", "--grid", "smoke", "--results", smoke.results, "--out", out)
    assert done.returncode == 0, done.stderr
    fitting = {name: card for name, card in POLICIES.items() if CLASSIFICATION in card.tasks}
    left_out = {name for name, card in fitting.items() if card.reads_gates or card.trains_networks}
    assert set(pd.read_csv(out)["policy"]) == set(fitting) - left_out
    refused = benchmark_command("sweep", "--grid", "smoke", "--results", smoke.results, "--policy", "learned-gate")
    assert refused.returncode == 2
    assert "--policy learned-gate" in refused.stderr


def test_the_best_policy(tmp_path: Path) -> None:
    record = write_trained_run(tmp_path, samples=60)
    out = tmp_path / "best.csv"
    arguments = ["--results", str(tmp_path), "--best", "--budget", "0.6", "--out", str(out)]
    done = CliRunner().invoke(sweep_command, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    table = pd.read_csv(out)
    assert len(table) > 5
    assert not {"oracle", "random"} & set(table["policy"])
    assert table["accuracy"].is_monotonic_decreasing
    # The accuracy is that of the point at equal MACs.
    rows = evaluate_policies(
        Store(tmp_path), record, [Configured(name=name) for name in table["policy"]], (), (0.6,), skip_unsupported=True
    )
    np.testing.assert_allclose(table["accuracy"], [row["accuracy"] for row in rows])


@pytest.mark.parametrize(("arguments", "parts"), [
    (("--policy", "entrop", "--policy", "pcee:patience=0"), ["'entropy'", "patience", "between 1"]),
    (("--policy", "confidence:treshold=0.8"), ["'threshold'"]),
    (("--policy", "confidence:threshold=high"), ["'threshold'", "number"]),
    (("--budget", "0"), ["--budget"]),
    (("--drop", "5"), ["--drop"]),
    (("--best", "--drop", "0.01"), ["--best", "--budget"]),
    (("--best", "--policy", "confidence:threshold=0.8"), ["--best", "confidence(threshold=0.8)"]),
    (("--best", "--policy", "running-quantile"), ["--best", "running-quantile"]),
])  # fmt: skip
def test_bad_input_is_explained_before_the_work(
    arguments: tuple[str, ...], parts: list[str], smoke: SmokeRun, benchmark_command: Command
) -> None:
    done = benchmark_command("sweep", "--results", smoke.results, *arguments)
    assert done.returncode == 2
    assert all(part in done.stderr for part in parts)
    assert "Traceback" not in done.stderr


def test_without_runs_the_message_names_the_command(tmp_path: Path, benchmark_command: Command) -> None:
    done = benchmark_command("sweep", "--results", tmp_path, "--policy", "confidence")
    assert done.returncode == 2
    assert "python -m benchmark run --grid" in done.stderr


def test_damaged_scores_are_named(smoke: SmokeRun, tmp_path: Path, benchmark_command: Command) -> None:
    shutil.copytree(smoke.results, tmp_path / "results")
    for path in (tmp_path / "results").glob("stages/scores-*/val.safetensors"):
        tensors = load_file(path)
        tensors["logits"][0, 3, 2] = float("nan")
        save_file(tensors, path)
    done = benchmark_command("sweep", "--results", tmp_path / "results", "--policy", "confidence")
    assert done.returncode == 2
    assert "val.safetensors" in done.stderr


def test_an_order_of_arrival_is_undone_in_the_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """The samples arrive in a random order, and every table has them in the stored one."""
    monkeypatch.setattr(sweep_module, "CHUNK", 70)
    scores = random_scores(300)
    policy = get_policy("running-quantile", budget=0.6, prior=1, rate=3, order=5).fit(scores.logits)
    order = policy.arrival_order(300)
    assert order is not None
    moved, _ = policy.choose(scores.logits[:, order])
    exits = torch.from_numpy(decide(policy, scores, np.array([0.6])).exit_taken[0]).long()
    assert torch.equal(exits[order], moved)
    assert not torch.equal(exits, policy.choose(scores.logits)[0])
    swept = decide(policy, scores, np.array([0.6])).sweep()
    np.testing.assert_allclose(swept.shares[0], torch.bincount(exits, minlength=4) / 300)


def test_nan_in_scores_is_an_error() -> None:
    scores = random_scores(20)
    scores.logits[1, 4, 0] = float("nan")
    with pytest.raises(ValueError, match="exit 1, sample 4"):
        decide(get_policy("confidence"), scores, np.array([0.5]))

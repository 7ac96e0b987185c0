"""`bench dynamic`: fixed exit shares, the time of each part, and its output."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmark import registry
from benchmark.measure.dynamic import run_dynamic
from benchmark.measure.dynamic_speed import (
    RELEASED_SHARES,
    ScheduledExits,
    TimingSetup,
    geometric_shares,
    measure_shares,
    random_model,
    scheduled,
    timed_parts,
)
from tests.conftest import Command

CARD = registry.card("backbone", "vit_nano_patch4_28")


def test_a_schedule_rounds_the_shares_to_whole_samples() -> None:
    counts = torch.bincount(scheduled(np.array(RELEASED_SHARES), 10_000), minlength=9)
    assert counts.tolist() == list(RELEASED_SHARES)
    few = torch.bincount(scheduled(np.array(RELEASED_SHARES), 320), minlength=9)
    assert few.sum() == 320
    assert np.abs(few.numpy() - 320 * np.array(RELEASED_SHARES) / 10_000).max() < 1
    assert not torch.equal(scheduled(np.array(RELEASED_SHARES), 320), scheduled(np.array(RELEASED_SHARES), 320, seed=1))


def test_geometric_shares() -> None:
    np.testing.assert_allclose(geometric_shares(0.5, 4), [0.5, 0.25, 0.125, 0.125])
    np.testing.assert_allclose(geometric_shares(0.0, 3), [0, 0, 1])


def test_samples_leave_by_the_schedule_from_batch_to_batch() -> None:
    model, _ = random_model("vanilla", CARD)
    schedule = torch.tensor([8, 0, 3, 3, 7, 0])
    policy = ScheduledExits(schedule)
    images = torch.randn(4, 1, 28, 28)
    assert run_dynamic(model, policy, images).exits.tolist() == [8, 0, 3, 3]
    assert run_dynamic(model, policy, images).exits.tolist() == [7, 0, 8, 0]  # the schedule starts again


def test_the_parts_sum_to_the_time_and_the_model_is_unchanged() -> None:
    model, costs = random_model("lgvit", CARD)
    images = torch.randn(8, 1, 28, 28)
    with torch.no_grad():
        before = model(images)
    ticks = iter(range(10_000))
    spent: dict[str, float] = {}
    policy = ScheduledExits(torch.full((8,), 8))
    with timed_parts(model, lambda: float(next(ticks)), spent):
        run_dynamic(model, policy, images)
    # The clock advances by one per reading: one tick per call of the stem, 12 blocks, 8 heads and one classifier.
    assert spent == {"stem and blocks": 13.0, "heads": 8.0, "final classifier": 1.0}
    with torch.no_grad():
        assert torch.equal(model(images), before)
    assert "forward" not in vars(model.exit_heads.heads[0])
    assert "block" not in vars(model.backbone)

    timing, parts = measure_shares(
        model, costs, np.array(RELEASED_SHARES), TimingSetup(CARD, 20, 2, 1, torch.device("cpu"))
    )
    assert [part.name for part in parts] == ["stem and blocks", "heads", "final classifier", "routing"]
    assert all(part.milliseconds > 0 for part in parts)
    assert parts[-1].excess == parts[-1].milliseconds  # routing has no MACs
    mean = np.bincount(scheduled(np.array(RELEASED_SHARES), 40), minlength=9) / 40
    assert timing.mac_speedup == pytest.approx(costs.baseline / (mean @ np.array(costs.cumulative)))


@pytest.mark.slow
def test_the_bench_shows_the_realised_speed_up_and_the_overheads(benchmark_command: Command) -> None:
    done = benchmark_command(
        "bench", "dynamic", "--backbone", "vit_nano_patch4_28", "--batch-size", 4, "--batches", 2, "--warmup", 1,
        "--threads", 1, "--map",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.split())
    for part in (
        "heads of lgvit:",
        "heads of vanilla:",
        "target 0.95",
        "stem and blocks",
        "heads",
        "final classifier",
        "routing",
        "10% 30% 50% 80%",
    ):
        assert part in text
    wrong = benchmark_command("bench", "dynamic", "--device", "cuda:7")
    assert wrong.returncode == 2
    assert "--device cuda:7: not usable here" in wrong.stderr

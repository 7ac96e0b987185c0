"""The audit of timed runs: answers up to rounding pass, others end the measurement, and the draw is seeded."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console

from benchmark.cli.latency_view import show_audit
from benchmark.errors import UserError
from benchmark.evaluation.scores import ExitScores
from benchmark.measure.audit import AT_LEAST, SEED, TimedAnswers, audit
from benchmark.measure.latency import time_batches
from methods.api import DETECTION, SEGMENTATION
from methods.policies import get_policy
from methods.policies.box_signals import BoxConfidence
from methods.policies.map_signals import SIGNALS, MapConfidence
from methods.tasks import get_task
from tests.invented_runs import costs_of
from tests.methods.test_segmentation import model_of

EXITS, SAMPLES, CLASSES = 4, 2000, 5
POLICIES = {"confidence": 0.6, "entropy": 0.5, "patience": 2.0, "margin": 0.3}


@pytest.fixture
def stored() -> ExitScores:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(EXITS, SAMPLES, CLASSES, generator=generator)
    labels = torch.randint(CLASSES, (SAMPLES,), generator=generator)
    return ExitScores(logits, labels, torch.arange(SAMPLES) + 7)


def answers_of(stored: ExitScores, policy: str) -> TimedAnswers:
    exits, predictions = get_policy(policy, **{_swept(policy): POLICIES[policy]}).choose(stored.logits)
    return TimedAnswers(torch.arange(SAMPLES), exits, predictions)


def _swept(policy: str) -> str:
    return get_policy(policy).swept


@pytest.mark.parametrize("name", POLICIES)
def test_offline_decisions_pass_and_others_do_not(stored: ExitScores, name: str) -> None:
    policy, answers = get_policy(name, **{_swept(name): POLICIES[name]}), answers_of(stored, name)
    passed = audit(answers, policy, stored, 1e-3, "a-run")
    assert (passed.answers, passed.rounding) == (SAMPLES // 100, 0)
    moved = TimedAnswers(answers.samples, (answers.exits + 1) % EXITS, answers.predictions)
    with pytest.raises(UserError, match=r"a-run.*seed 3") as raised:
        audit(moved, policy, stored, 1e-3, "a-run", seed=3)
    assert "discarded" in str(raised.value)
    other_class = TimedAnswers(answers.samples, answers.exits, (answers.predictions + 1) % CLASSES)
    with pytest.raises(UserError):
        audit(other_class, policy, stored, 1e-3, "a-run")


def test_a_difference_within_rounding_passes(stored: ExitScores) -> None:
    policy = get_policy("confidence", threshold=0.6)
    moved = stored.logits + 1e-3 * torch.randn(stored.logits.shape, generator=torch.Generator().manual_seed(1))
    exits, predictions = policy.choose(moved)
    offline, _ = policy.choose(stored.logits)
    rows = (exits != offline).nonzero()[:, 0]
    assert len(rows)
    answers = TimedAnswers(rows, exits[rows], predictions[rows])
    result = audit(answers, policy, stored, 1e-3, "a-run")
    assert result.rounding == result.answers == min(len(rows), AT_LEAST)


def test_a_value_that_jumps_explains_another_exit() -> None:
    """Agreement with the exit before: one box at the least score comes or goes, and all of the boxes are other ones."""
    signals = torch.zeros(3, 20, 4)
    signals[..., :3] = torch.tensor([0.2, 0.3, 0.9])
    signals[1, :, 3] = 1.0
    stored = ExitScores(signals, torch.zeros(20, dtype=torch.int64), torch.arange(20))
    detection = get_task(DETECTION)
    by_agreement = BoxConfidence(score="agreement", threshold=0.5)
    by_score = BoxConfidence(score="top-mean", threshold=0.2)
    assert by_agreement.choose(signals)[0].tolist() == [1] * 20

    def later(images: int) -> TimedAnswers:
        """Some images leave at the exit after the offline one."""
        exits = torch.ones(20, dtype=torch.int64)
        exits[np.random.default_rng(SEED).choice(20, AT_LEAST, replace=False)[:images]] = 2  # of those that are drawn
        return TimedAnswers(torch.arange(20), exits, exits)

    assert audit(later(3), by_agreement, stored, 1e-3, "a-run", detection).rounding == 3
    with pytest.raises(UserError, match="4 of 10 answers"):  # rounding moves no such share
        audit(later(4), by_agreement, stored, 1e-3, "a-run", detection)
    with pytest.raises(UserError):
        audit(later(1), by_agreement, stored, 1e-3, "a-run")
    with pytest.raises(UserError):
        audit(later(1), by_score, stored, 1e-3, "a-run", detection)


def test_few_answers_are_all_drawn(stored: ExitScores) -> None:
    answers = answers_of(stored, "confidence")
    few = TimedAnswers(answers.samples[:4], answers.exits[:4], answers.predictions[:4])
    assert audit(few, get_policy("confidence", threshold=0.6), stored, 1e-3, "a-run").answers == 4


def one_exit(images: int = 10) -> tuple[ExitScores, TimedAnswers]:
    """What a model without image exits stores, as where tokens leave, and the same answers from a timed run."""
    maps = torch.randint(0, 5, (1, images, 8, 8), generator=torch.Generator().manual_seed(2))
    stored = ExitScores(
        torch.zeros(1, images, len(SIGNALS)), torch.zeros(images, dtype=torch.int64), torch.arange(images) + 7,
        maps=maps.to(torch.uint8),
    )  # fmt: skip
    none = torch.zeros(images, dtype=torch.int64)
    return stored, TimedAnswers(torch.arange(images), none, none, maps[0])


def test_maps_of_a_model_with_one_exit_are_compared_patch_by_patch() -> None:
    stored, answers = one_exit()
    policy, task = MapConfidence(threshold=0.5), get_task(SEGMENTATION)
    passed = audit(answers, policy, stored, 1e-3, "a-run", task)
    assert (passed.answers, passed.rounding) == (AT_LEAST, 0)
    assert answers.beside is not None
    tied = answers.beside.clone()
    tied[3, 0, :6] += 1  # 6 of 640 patches, less than 1 %
    assert audit(replace(answers, beside=tied), policy, stored, 1e-3, "a-run", task).rounding == 1
    tied[5, 0, 0] += 1
    with pytest.raises(UserError, match=r"a-run: 1\.1% of the patches of 10 answers .* in sample 10; .* discarded"):
        audit(replace(answers, beside=tied), policy, stored, 1e-3, "a-run", task)
    swapped = replace(answers, beside=answers.beside.roll(1, 0))  # each answer is that of another image
    with pytest.raises(UserError):
        audit(swapped, policy, stored, 0.1, "a-run", task)


def test_timed_maps_are_those_of_the_exit_of_each_image() -> None:
    model, images = model_of("lph", "linear", "gah"), torch.randn(24, 1, 28, 28)
    with torch.no_grad():
        outputs = model(images)
    signals = torch.stack(
        [model.task.evidence(output, outputs[k - 1] if k else None) for k, output in enumerate(outputs)]
    )
    stored = ExitScores(
        signals, torch.zeros(24, dtype=torch.int64), torch.arange(24), maps=outputs.argmax(2).to(torch.uint8)
    )
    policy = MapConfidence(score="mean")
    settings = policy.default_grid(signals)
    policy.threshold = float(settings[len(settings) // 2])
    _, answers = time_batches(model, model.backbone, policy, images, costs_of((3, 6, 9), 12), batch_size=8, warmup=0)
    assert len(set(answers.exits.tolist())) > 1
    assert audit(answers, policy, stored, 1e-3, "a-run", model.task).answers == AT_LEAST
    assert answers.beside is not None
    other_exit = replace(stored, maps=stored.maps[[1, 2, 3, 0]])  # type: ignore[index]
    with pytest.raises(UserError, match="of the patches"):
        audit(answers, policy, other_exit, 1e-3, "a-run", model.task)


def test_where_nothing_can_be_compared_no_answer_counts_as_audited() -> None:
    stored, answers = one_exit()
    boxes = replace(answers, beside=torch.zeros(10, 100, 6))
    result = audit(boxes, BoxConfidence(threshold=0.5), replace(stored, maps=None), 1e-3, "a-run", get_task(DETECTION))
    assert (result.answers, result.rounding) == (0, 0)
    shown = io.StringIO()
    show_audit(Console(file=shown, width=200), result)
    assert shown.getvalue().startswith("audit: none")

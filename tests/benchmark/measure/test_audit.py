"""The audit of timed runs: answers up to rounding pass, others end the measurement, and the draw is seeded."""

from __future__ import annotations

import pytest
import torch

from benchmark.errors import UserError
from benchmark.evaluation.scores import ExitScores
from benchmark.measure.audit import AT_LEAST, TimedAnswers, audit
from methods.api import DETECTION
from methods.policies import get_policy
from methods.policies.box_signals import BoxConfidence
from methods.tasks import get_task

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
    later = TimedAnswers(torch.arange(20), torch.full((20,), 2), torch.full((20,), 2))
    detection = get_task(DETECTION)
    by_agreement = BoxConfidence(score="agreement", threshold=0.5)
    by_score = BoxConfidence(score="top-mean", threshold=0.2)
    assert by_agreement.choose(signals)[0].tolist() == [1] * 20
    assert audit(later, by_agreement, stored, 1e-3, "a-run", detection).rounding == AT_LEAST
    with pytest.raises(UserError):
        audit(later, by_agreement, stored, 1e-3, "a-run")
    with pytest.raises(UserError):
        audit(later, by_score, stored, 1e-3, "a-run", detection)


def test_few_answers_are_all_drawn(stored: ExitScores) -> None:
    answers = answers_of(stored, "confidence")
    few = TimedAnswers(answers.samples[:4], answers.exits[:4], answers.predictions[:4])
    assert audit(few, get_policy("confidence", threshold=0.6), stored, 1e-3, "a-run").answers == 4

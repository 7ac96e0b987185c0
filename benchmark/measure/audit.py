"""Audit of timed runs, after the accuracy test of MLPerf Inference's compliance tests (TEST01).

A timed run could be fast because it computes something else. Some of its answers are drawn at random and compared with the
decisions of the offline policy on the stored scores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmark.errors import UserError
from benchmark.evaluation.scores import ExitScores
from methods.api import CLASSIFICATION
from methods.policies.policy import ExitPolicy
from methods.tasks import get_task
from methods.tasks.task import Task
from results.store.latency import Audit

SHARE, AT_LEAST = 0.01, 10
"""Share of the answers that are drawn, and their smallest number."""
PATCHES = 0.01
"""Largest share of patches whose class may differ: their outputs are not stored, so that no rounding can be shown for each."""
JUMPED = 1 / 3
"""Largest share of answers that may differ where the policy reads a value that jumps over its whole range, such as agreement of
boxes. Rounding moves fewer: of 400 images of a trained detector at most 9 % in bf16, 1 % in fp16 and none in fp32."""
PERTURBATIONS = 256
SEED = 0


@dataclass(frozen=True)
class TimedAnswers:
    """The answers of a timed run.

    Attributes:
        samples: position of each answer's sample in the stored scores, int64 [N].
        exits: exit of each answer, 0-based over the K exits, int64 [N].
        predictions: classes, int64 [N].
        beside: what `benchmark.measure.dynamic.Routed.answers` holds for them, [N, ...]; None where it was not kept.
    """

    samples: Tensor
    exits: Tensor
    predictions: Tensor
    beside: Tensor | None = None

    @classmethod
    def joined(cls, parts: list[TimedAnswers]) -> TimedAnswers:
        samples, exits, predictions = (
            torch.cat([getattr(part, field) for part in parts]) for field in ("samples", "exits", "predictions")
        )
        beside = [part.beside for part in parts if part.beside is not None]
        return cls(samples, exits, predictions, torch.cat(beside) if len(beside) == len(parts) else None)


def audit(
    answers: TimedAnswers,
    policy: ExitPolicy,
    stored: ExitScores,
    tolerance: float,
    run_id: str,
    task: Task | None = None,
    seed: int = SEED,
) -> Audit:
    """Compare a seeded 1 % of the answers, at least 10, with the offline decisions.

    An answer may differ if logits that differ from the stored ones by at most the tolerance lead to it: the last bits of a
    logit depend on the batch size. Some values jump farther, and one that jumps over its whole range explains any exit: where
    the policy reads it, at most `JUMPED` of the answers may differ. Of maps, a share of the patches may have another class.

    Args:
        answers: of the timed run.
        policy: the policy of the timed run.
        stored: stored scores.
        tolerance: of a logit, relative to the largest absolute logit.
        run_id: for the message.
        task: of the run; None for classification. Where an answer is more than a class, exits are compared, and the maps of
            answers that have one; with neither several exits nor maps, there is nothing to compare.
        seed: of the draw.

    Raises:
        UserError: an answer differs from the offline decision by more than rounding.
    """
    task = task or get_task(CLASSIFICATION)
    maps = None if stored.maps is None else answers.beside
    if task.answers_beside and maps is None and len(stored.logits) == 1:
        return Audit(seed=seed, answers=0, rounding=0)
    total = len(answers.samples)
    count = min(total, max(AT_LEAST, math.ceil(SHARE * total)))
    drawn = np.sort(np.random.default_rng(seed).choice(total, count, replace=False))
    samples, exits, predictions = (
        values.cpu()[drawn] for values in (answers.samples, answers.exits, answers.predictions)
    )
    part = stored.part(samples)
    offline_exits, offline_predictions = policy.with_context(part.labels, part.errors).choose(part.logits)
    if task.answers_beside:
        predictions = offline_predictions = torch.zeros_like(predictions)
    different = ((exits != offline_exits) | (predictions != offline_predictions)).nonzero()[:, 0].tolist()
    scale = tolerance * float(stored.logits.abs().max())
    wrong = [
        i
        for i in different
        if not _is_rounding(policy, part, i, (int(exits[i]), int(predictions[i])), scale, tolerance, task)
    ]
    if len(different) > JUMPED * count and any(task.jumping_signals.get(i, 0.0) >= 1 for i in policy.reads or ()):
        wrong = different
    if wrong:
        first = wrong[0]
        timed, offline = (
            f"at exit {int(at[first]) + 1}" + f" with class {int(classes[first])}" * (not task.answers_beside)
            for at, classes in ((exits, predictions), (offline_exits, offline_predictions))
        )
        raise UserError(
            f"run {run_id}: {len(wrong)} of {count} answers drawn from the timed run (seed {seed}) are not the offline "
            f"decisions: sample {int(part.sample_id[first])} left {timed}, offline {offline}; the times are discarded"
        )
    rounded = set(different)
    if maps is not None and part.maps is not None:
        others = other_patches(maps.cpu()[drawn], part, exits)
        if others.mean() > max(PATCHES, tolerance):
            raise UserError(
                f"run {run_id}: {float(others.mean()):.1%} of the patches of {count} answers drawn from the timed run (seed "
                f"{seed}) have another class than in the stored answers, most of them in sample "
                f"{int(part.sample_id[others.argmax()])}; the times are discarded"
            )
        rounded |= set(others.nonzero()[:, 0].tolist())
    return Audit(seed=seed, answers=count, rounding=len(rounded))


def other_patches(maps: Tensor, stored: ExitScores, exits: Tensor) -> Tensor:
    """The share of patches with another class than in the stored map of the exit taken, float64 [N].

    Args:
        maps: classes of the patches, int64 (N, g, g).
        stored: scores of the same N samples, with maps.
        exits: of each sample, [N].
    """
    assert stored.maps is not None
    return (maps.cpu() != stored.maps[exits.cpu(), torch.arange(len(maps))]).flatten(1).double().mean(1)


def _is_rounding(
    policy: ExitPolicy,
    part: ExitScores,
    sample: int,
    answer: tuple[int, int],
    scale: float,
    tolerance: float,
    task: Task,
) -> bool:
    """Whether one of `PERTURBATIONS` random changes of a sample's logits leads to the answer.

    They change by at most ``scale``; those that jump by nothing or their largest jump, up or down.
    """
    generator = torch.Generator().manual_seed(sample)
    logits = part.logits[:, [sample] * PERTURBATIONS]
    logits = logits + scale * (2 * torch.rand(logits.shape, generator=generator) - 1)
    for position, jump in task.jumping_signals.items():
        logits[..., position] += jump * torch.randint(-1, 2, logits.shape[:2], generator=generator)
    errors = None
    if part.errors is not None:
        errors = part.errors[:, [sample] * PERTURBATIONS]
        errors = errors + tolerance * (2 * torch.rand(errors.shape, generator=generator) - 1)
    exits, predictions = policy.with_context(part.labels[[sample] * PERTURBATIONS], errors).choose(logits)
    return bool(((exits == answer[0]) & ((predictions == answer[1]) | task.answers_beside)).any())

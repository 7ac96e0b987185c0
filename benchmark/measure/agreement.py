"""Comparison of dynamic inference with the offline policy on the stored scores of the same samples.

The last bits of a matrix product depend on the batch size. Logits therefore agree only within a tolerance, and a sample whose
score is within this tolerance of the threshold may take another exit. To detect other differences, the offline policy is also
applied to the logits of dynamic inference; these decisions must be equal.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmark.evaluation.scores import ExitScores
from benchmark.measure.audit import PATCHES, other_patches
from benchmark.measure.dynamic import Routed, run_dynamic
from methods.api import CLASSIFICATION
from methods.model import MultiExitModel
from methods.policies.policy import ExitPolicy
from methods.tasks import get_task
from methods.tasks.task import Task

# Largest difference of float32 logits, relative to the largest absolute logit.
TOLERANCE = 1e-5
# The same between two devices or precisions, which round differently, by precision.
DEVICE_TOLERANCES = {"fp32": 1e-3, "bf16": 0.1, "fp16": 0.02}
CHECKED_BATCH = 250


@dataclass(frozen=True)
class Agreement:
    """The agreement of dynamic inference with the stored scores.

    Attributes:
        samples: N.
        moved: samples with another exit or class than with the stored scores. A task whose answers are more than a class has
            exits alone.
        unexplained: samples with another exit or class than the offline policy on the same logits; not 0 means an error in the
            code.
        logit_error: largest difference of a logit that both computed, relative to the largest absolute logit; without signals
            that jump (`methods.tasks.task.Task.jumping_signals`).
        patches: share of the patches with another class than in the stored maps, where tokens leave; None elsewhere. It decides
            there in place of ``logit_error``: every signal jumps where rounding moves one token across its threshold.
    """

    samples: int
    moved: int
    unexplained: int
    logit_error: float
    patches: float | None = None

    def within(self, tolerance: float = TOLERANCE) -> bool:
        if self.patches is not None:
            return self.unexplained == 0 and self.patches <= max(PATCHES, tolerance)
        return self.unexplained == 0 and self.logit_error <= tolerance


def agreement(
    routed: Routed,
    offline: Tensor,
    policy: ExitPolicy,
    labels: Any = None,
    errors: Tensor | None = None,
    task: Task | None = None,
) -> Agreement:
    """Compare the decisions and logits of one batch.

    Args:
        routed: the result of dynamic inference, with its logits.
        offline: logits of the same samples in the same order, all exits evaluated, [K, N, C].
        policy: the policy of dynamic inference, as it was before the batch.
        labels: [N], passed on to `with_context`; policies that can run in dynamic inference do not use them.
        errors: the learned gates' error probabilities of the same samples, [K - 1, N]; None without gates.
        task: of the model; None for classification. Its jumping signals are not compared, and neither is the class where its
            answers are more than that.

    Raises:
        ValueError: `routed` has no logits.
    """
    if not routed.evaluated:
        raise ValueError("agreement requires the logits of dynamic inference: run it with keep_logits=True")
    task = task or get_task(CLASSIFICATION)
    replayed = offline.clone().float()
    replayed_errors = None if errors is None else errors.clone().float()
    last = len(replayed) - 1
    # If all samples exited early, the deeper exits did not run. If the final classifier ran, its logits are the last entry.
    numbers = list(range(len(routed.evaluated)))
    if bool((routed.exits == last).any()):
        numbers[-1] = last
    error = 0.0
    for k, evaluated in zip(numbers, routed.evaluated, strict=True):
        rows, logits = evaluated.rows.cpu(), evaluated.logits.cpu()
        difference = (logits - replayed[k, rows]).abs()
        difference[:, list(task.jumping_signals)] = 0.0
        error = max(error, float(difference.max()))
        replayed[k, rows] = logits
        if replayed_errors is not None and evaluated.errors is not None:
            replayed_errors[k, rows] = evaluated.errors.cpu()
    offline_exits, offline_predictions = policy.with_context(labels, errors).choose(offline.float())
    replayed_exits, replayed_predictions = policy.with_context(labels, replayed_errors).choose(replayed)
    exits, predictions = routed.exits.cpu(), routed.predictions.cpu()
    moved, unexplained = exits != offline_exits, exits != replayed_exits
    if not task.answers_beside:
        moved |= predictions != offline_predictions
        unexplained |= predictions != replayed_predictions
    return Agreement(
        samples=len(exits),
        moved=int(moved.sum()),
        unexplained=int(unexplained.sum()),
        logit_error=error / float(offline.abs().max()),
    )


def dynamic_agreement(model: MultiExitModel, policy: ExitPolicy, images: Tensor, stored: ExitScores) -> Agreement:
    """Run dynamic inference on images, batch by batch, and compare it with their stored scores.

    Args:
        model: the model in evaluation mode, on the device and in the precision of the images.
        policy: the policy with its threshold set.
        images: (N, channels, H, W).
        stored: stored scores, whose first N samples are the images.
    """
    batches, others = [], []
    for start in range(0, len(images), CHECKED_BATCH):
        before = copy.deepcopy(policy)  # dynamic inference may move the thresholds
        routed = run_dynamic(model, policy, images[start : start + CHECKED_BATCH], keep_logits=True)
        part = stored.part(slice(start, start + len(routed.exits)))
        batches.append(agreement(routed, part.logits, before, errors=part.errors, task=model.task))
        if part.tokens is not None and routed.answers is not None:
            others.append(other_patches(routed.answers, part, routed.exits))
    return Agreement(
        samples=sum(batch.samples for batch in batches),
        moved=sum(batch.moved for batch in batches),
        unexplained=sum(batch.unexplained for batch in batches),
        logit_error=max(batch.logit_error for batch in batches),
        patches=float(torch.cat(others).mean()) if others else None,
    )

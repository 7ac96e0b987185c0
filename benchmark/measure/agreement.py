"""Dynamic inference against the offline sweep on the same samples: where do they differ, and is it rounding?

A matrix product's last bit depends on the batch size, so logits agree to a tolerance only, and a sample whose score lies that
close to its threshold may leave elsewhere. Whether that is all is decided by replaying the offline policy on the logits that
dynamic inference itself computed: it must take exactly the same decisions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from benchmark.evaluation.scores import ExitScores
from benchmark.measure.dynamic import Routed, run_dynamic
from methods.model import MultiExitModel
from methods.policies.policy import ExitPolicy

TOLERANCE = 1e-5
"""Of a float32 logit, relative to the largest logit in absolute value."""
LOOSE = {"fp32": 1e-3, "bf16": 0.1, "fp16": 0.02}
"""What a logit may differ by, relative to the largest, from one of another device or precision: they round otherwise."""
CHECKED_BATCH = 250


@dataclass(frozen=True)
class Agreement:
    """
    Attributes:
        samples: N.
        moved: samples with another exit or class than offline, whose logits agree within the tolerance: their scores lie that
            close to a threshold.
        unexplained: samples whose decisions differ from those of the offline policy on the very same logits; a fault.
        logit_error: largest difference of a logit that both computed, relative to the largest logit.
    """

    samples: int
    moved: int
    unexplained: int
    logit_error: float

    def within(self, tolerance: float = TOLERANCE) -> bool:
        return self.unexplained == 0 and self.logit_error <= tolerance


def agreement(
    routed: Routed, offline: Tensor, policy: ExitPolicy, labels: Any = None, errors: Tensor | None = None
) -> Agreement:
    """
    Args:
        routed: with its logits kept.
        offline: logits of the same samples in the same order, all exits evaluated, [K, N, C].
        policy: that routed them.
        labels: unused by policies that may run inside inference; passed on to `with_context`.
        errors: what learned gates said of the same samples, [K - 1, N]; None without gates.

    Raises:
        ValueError: the logits were not kept.
    """
    if not routed.evaluated:
        raise ValueError("agreement needs the logits of dynamic inference: run it with keep_logits=True")
    replayed = offline.clone().float()
    replayed_errors = None if errors is None else errors.clone().float()
    last = len(replayed) - 1
    # Where an early exit emptied the batch, deeper ones did not run; the final head's logits come last if it ran.
    numbers = list(range(len(routed.evaluated)))
    if bool((routed.exits == last).any()):
        numbers[-1] = last
    error = 0.0
    for k, found in zip(numbers, routed.evaluated, strict=True):
        rows, logits = found.rows.cpu(), found.logits.cpu()
        error = max(error, float((logits - replayed[k, rows]).abs().max()))
        replayed[k, rows] = logits
        if replayed_errors is not None and found.errors is not None:
            replayed_errors[k, rows] = found.errors.cpu()
    exits, predictions = policy.with_context(labels, errors).choose(offline.float())
    same_exits, same_predictions = policy.with_context(labels, replayed_errors).choose(replayed)
    mine, answers = routed.exits.cpu(), routed.predictions.cpu()
    return Agreement(
        samples=len(mine),
        moved=int(((mine != exits) | (answers != predictions)).sum()),
        unexplained=int(((mine != same_exits) | (answers != same_predictions)).sum()),
        logit_error=error / float(offline.abs().max()),
    )


def dynamic_agreement(model: MultiExitModel, policy: ExitPolicy, images: Tensor, stored: ExitScores) -> Agreement:
    """True dynamic inference on the images, batch by batch, against the stored scores of the same images.

    Args:
        model: in evaluation mode, on the device and in the precision of the images.
        policy: with a setting.
        images: (N, channels, H, W).
        stored: of N images, or more behind them.
    """
    found = []
    for start in range(0, len(images), CHECKED_BATCH):
        routed = run_dynamic(model, policy, images[start : start + CHECKED_BATCH], keep_logits=True)
        part = stored.part(slice(start, start + len(routed.exits)))
        found.append(agreement(routed, part.logits, policy, errors=part.errors))
    return Agreement(
        samples=sum(part.samples for part in found),
        moved=sum(part.moved for part in found),
        unexplained=sum(part.unexplained for part in found),
        logit_error=max(part.logit_error for part in found),
    )

"""Applies all settings of a policy to stored scores, in chunks of samples."""

from __future__ import annotations

import numpy as np
import torch

from benchmark.evaluation.decisions import CHUNK, Decisions
from benchmark.evaluation.evidence import evidence_of
from benchmark.evaluation.scores import ExitScores
from methods.policies.policy import ExitPolicy, checked_logits


def decide(policy: ExitPolicy, scores: ExitScores, settings: np.ndarray) -> Decisions:
    """Apply every setting of a policy to a split.

    Args:
        policy: the policy, fitted on val if it learns from val.
        scores: scores of the split.
        settings: [T], in any order.

    Raises:
        ValueError: the scores have a wrong shape or contain NaN.
    """
    _, samples, _ = scores.logits.shape
    exit_taken = np.empty((len(settings), samples), dtype=np.int16)
    if policy.ordered:
        exit_taken[:] = _exits_in_order(policy, scores, settings).numpy()
    else:
        for start in range(0, samples, CHUNK):
            chunk = slice(start, start + CHUNK)
            errors = None if scores.errors is None else scores.errors[:, chunk]
            bound = policy.with_context(scores.labels[chunk], errors)
            exit_taken[:, chunk] = bound.sweep(bound.signal(checked_logits(scores.logits[:, chunk])), settings).numpy()
    return evidence_of(scores).decisions(policy, settings, exit_taken)


def without_exits(static: ExitScores, scores: ExitScores) -> Decisions:
    """The backbone without exits as one setting, on the samples of ``scores`` in their order.

    Args:
        static: scores of the backbone on the same samples, in any order.
        scores: of the run.
    """
    order = torch.argsort(static.sample_id)[torch.argsort(torch.argsort(scores.sample_id))]
    return evidence_of(static.part(order)).final_exit()


def _exits_in_order(policy: ExitPolicy, scores: ExitScores, settings: np.ndarray) -> torch.Tensor:
    """The exits of a whole split whose samples arrive in the order of an `ordered` policy, int64 [T, N]."""
    samples = len(scores.labels)
    logits = [scores.logits[:, start : start + CHUNK] for start in range(0, samples, CHUNK)]
    signal = torch.cat([policy.signal(checked_logits(part)) for part in logits], 1)
    order = policy.arrival_order(samples)
    order = torch.arange(samples) if order is None else order
    exits = policy.sweep(signal[:, order], settings)
    return exits[:, torch.argsort(order)]

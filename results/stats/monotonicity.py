"""Conditional monotonicity of anytime predictions (Jazbec et al., NeurIPS 2023, arXiv 2306.02652)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MARGINS = (0.01, 0.05, 0.1, 0.2, 0.5)
"""The margins of the paper."""


def share_that_falls(probability: np.ndarray, margins: Sequence[float] = MARGINS) -> list[float]:
    """The share of samples whose probability of the true class falls from any exit to a later one by more than a margin.

    Args:
        probability: of the true class at each exit, [K, N].
        margins: [M].

    Returns:
        one share per margin, [M].

    >>> share_that_falls(np.array([[0.9, 0.2], [0.6, 0.4], [0.7, 0.8]]), [0.1, 0.5])
    [0.5, 0.0]
    """
    largest_fall = (np.maximum.accumulate(probability) - probability).max(0)
    return [float((largest_fall > margin).mean()) for margin in margins]

"""Speed-ups by count of layers or MACs. Each is a ratio of means, never a mean of ratios."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def layer_speedup(shares: Sequence[float], blocks: Sequence[int], depth: int) -> float:
    """The paper's speed-up: depth over mean exit block. It ignores heads, stem and patch merging.

    Args:
        shares: share of samples that leave at each exit, length K, summing to 1.
        blocks: 1-based block of each exit, the last block for the final one; length K.
        depth: blocks of the backbone without exits; more than the last of ``blocks`` where the model is truncated.
    """
    return float(depth / np.dot(shares, blocks))


def official_swin_speedup(shares: Sequence[float], blocks: Sequence[int]) -> float:
    """The speed-up that the authors' Swin code prints: an early exit after block b counts as b - 1, the final one as the depth.

    For comparison with published Swin values only; it is larger than `layer_speedup`.
    """
    credited = [*(block - 1 for block in blocks[:-1]), blocks[-1]]
    return float(blocks[-1] / np.dot(shares, credited))


def mac_speedup(shares: Sequence[float], cumulative: Sequence[int], baseline: int) -> float:
    """MACs of the backbone without exits over mean MACs, every evaluated head counted.

    Args:
        shares: as above.
        cumulative: MACs of leaving at each exit, length K.
        baseline: MACs of the backbone without exits.
    """
    return float(baseline / np.dot(shares, np.asarray(cumulative, dtype=np.float64)))

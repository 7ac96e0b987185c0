"""Speed-ups in layers and in MACs, as ratios of means over samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def layer_speedup(shares: Sequence[float], blocks: Sequence[int], depth: int) -> float:
    """The paper's speed-up: depth over mean exit block. It ignores heads, stem and patch merging.

    Args:
        shares: share of samples that exit at each exit, length K, summing to 1.
        blocks: 1-based block of each exit, the last block for the final exit; length K.
        depth: number of blocks of the reference backbone; more than the last of ``blocks`` if the model is truncated.
    """
    return float(depth / np.dot(shares, blocks))


def official_swin_speedup(shares: Sequence[float], blocks: Sequence[int]) -> float:
    """The speed-up that the authors' Swin code prints: an early exit after block b counts as b - 1 blocks.

    It is larger than `layer_speedup` and used only for comparison with published values on Swin.
    """
    credited = [*(block - 1 for block in blocks[:-1]), blocks[-1]]
    mean = float(np.dot(shares, credited))
    return blocks[-1] / mean if mean else float("inf")


def mac_speedup(shares: Sequence[float], cumulative: Sequence[int], baseline: int) -> float:
    """MACs of the backbone without exits over mean MACs, every evaluated head counted.

    Args:
        shares: share of samples that exit at each exit, length K, summing to 1.
        cumulative: MACs of exiting at each exit, length K.
        baseline: MACs of the backbone without exits.
    """
    return float(baseline / np.dot(shares, np.asarray(cumulative, dtype=np.float64)))

"""Calibration of an exit's confidence."""

from __future__ import annotations

import numpy as np

BINS = 15


def expected_calibration_error(confidence: np.ndarray, correct: np.ndarray, *, bins: int = BINS) -> float:
    """ECE: the mean over samples of |accuracy - mean confidence| of the sample's bin, with bins of equal mass.

    Samples are sorted by confidence and split into ``bins`` groups whose sizes differ by at most one, except that samples of
    equal confidence share a bin, so the order of the samples has no effect. Equal mass, not width (Nixon et al., 2019): late
    exits put nearly all samples into the last of equal-width bins. In [0, 1]; biased upwards on few samples.

    Args:
        confidence: [N].
        correct: bools [N].
        bins: number of bins; never more than one per sample.
    """
    if not len(confidence):
        return float("nan")
    _, group, count = np.unique(confidence, return_inverse=True, return_counts=True)
    bins = min(bins, len(confidence))
    middle = np.cumsum(count) - count / 2  # rank of the middle of each group of equal confidences
    gap = np.bincount(group, correct.astype(np.float64) - confidence.astype(np.float64))
    of_bin = np.bincount((bins * middle / len(confidence)).astype(int), gap)
    return float(np.abs(of_bin).sum() / len(confidence))

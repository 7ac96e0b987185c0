"""Calibration of an exit's confidence."""

from __future__ import annotations

import numpy as np

BINS = 15


def expected_calibration_error(confidence: np.ndarray, correct: np.ndarray, *, bins: int = BINS) -> float:
    """ECE: the mean over samples of |accuracy - mean confidence| of the sample's bin, with bins of equal mass.

    Samples are sorted by confidence and split into ``bins`` groups whose sizes differ by at most one, except that samples of
    equal confidence share a bin, so the order of the samples has no effect. Bins have equal mass (Nixon et al., 2019) and not
    equal width, because late exits have high confidence on nearly all samples. The result is biased upwards on few samples.

    Args:
        confidence: [N].
        correct: bool [N].
        bins: number of bins; at most one per sample is used.

    Returns:
        the error in [0, 1]; NaN without samples.
    """
    if not len(confidence):
        return float("nan")
    _, group, count = np.unique(confidence, return_inverse=True, return_counts=True)
    bins = min(bins, len(confidence))
    middle = np.cumsum(count) - count / 2  # rank of the middle of each group of equal confidences
    gap = np.bincount(group, correct.astype(np.float64) - confidence.astype(np.float64))
    of_bin = np.bincount((bins * middle / len(confidence)).astype(int), gap)
    return float(np.abs(of_bin).sum() / len(confidence))

"""Calibration of an exit's confidence."""

from __future__ import annotations

import numpy as np

BINS = 15


def expected_calibration_error(confidence: np.ndarray, correct: np.ndarray, *, bins: int = BINS) -> float:
    """ECE: the mean over samples of |accuracy - mean confidence| of the sample's bin, with bins of equal mass.

    Samples are sorted by confidence and split into ``bins`` groups whose sizes differ by at most one. Equal mass, not width
    (Nixon et al., 2019): late exits put nearly all samples into the last of equal-width bins. In [0, 1]; biased upwards on few
    samples.

    Args:
        confidence: [N].
        correct: bools [N].
        bins: number of bins; never more than one per sample.
    """
    if not len(confidence):
        return float("nan")
    order = np.argsort(confidence, kind="stable")
    gap = (correct.astype(np.float64) - confidence.astype(np.float64))[order]
    parts = np.array_split(gap, min(bins, len(gap)))
    return float(sum(abs(part.sum()) for part in parts) / len(gap))

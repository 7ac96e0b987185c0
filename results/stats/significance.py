"""Paired test on the same samples, and correction for multiple tests."""

from __future__ import annotations

import numpy as np

GRID = 120
"""Differences are rounded to multiples of 1 / GRID; means over 1 to 6, 8 and 10 training seeds are such multiples."""
FINE = 20  # differences without known bounds are rounded to multiples of 1 / FINE of their root mean square


def sign_flip(differences: np.ndarray) -> float:
    """Two-sided p-value that a mean difference is zero, by the exact sign-flip test on the same samples.

    Under the null hypothesis each difference is positive or negative with probability 1/2. If all differences are -1, 0 or 1,
    this is McNemar's exact test. Otherwise the distribution of the sum is the Fourier transform of its characteristic function,
    prod cos(|d| t).

    Args:
        differences: differences of correctness, each in [-1, 1], [N]; rounded to multiples of 1 / `GRID`.
    """
    steps = np.rint(GRID * np.abs(differences)).astype(int)
    return _two_sided(steps, np.sign(differences))


def sign_flip_unbounded(differences: np.ndarray) -> float:
    """`sign_flip` for differences without known bounds, such as those of `results.stats.iou.pseudo_values`.

    Args:
        differences: [N]; their scale does not matter. They are rounded to multiples of their root mean square / `FINE`, which
            changes p by about a hundredth of itself.
    """
    unit = float(np.sqrt(np.mean(np.square(differences)))) / FINE
    return _two_sided(np.rint(np.abs(differences) / unit).astype(int), np.sign(differences)) if unit else 1.0


def _two_sided(steps: np.ndarray, signs: np.ndarray) -> float:
    """The test for differences that are whole multiples of a unit.

    Args:
        steps: absolute differences in units, [N].
        signs: of the differences, [N].
    """
    total = abs(int((signs * steps).sum()))
    return min(1.0, 2 * _tail(steps, total)) if total else 1.0


def _tail(steps: np.ndarray, total: int) -> float:
    """The probability that a sum of whole numbers with random signs is at least ``total``, which is at least 0."""
    sizes, counts = np.unique(steps[steps > 0], return_counts=True)
    if not len(sizes):
        return float(total == 0)
    if len(sizes) == 1:
        from scipy.special import bdtr  # orders of magnitude faster than scipy.stats.binomtest

        count, least = int(counts[0]), -(-total // int(sizes[0]))
        # The sum is positive - negative = count - 2 negative, in units of the size.
        return float(bdtr((count - least) // 2, count, 0.5)) if least <= count else 0.0
    # The transform is periodic in its length; the probability beyond 12 standard deviations is below 1e-30.
    reach = min(int(counts @ sizes), total + int(12 * np.sqrt(counts @ sizes**2)))
    length = 1 << (2 * reach + 1).bit_length()
    frequency = 2 * np.pi * np.arange(length // 2 + 1) / length
    characteristic = np.ones(len(frequency))
    for size, count in zip(sizes, counts, strict=True):
        characteristic *= np.cos(size * frequency) ** count
    probability = np.fft.irfft(characteristic, length)  # of the sums 0, 1, ..., and from the end -1, -2, ...
    return float(np.clip(probability[total : length // 2].sum(), 0.0, 1.0))


def one_sided(differences: np.ndarray) -> float:
    """P-value that a mean difference is not positive, by the exact sign-flip test on the same samples.

    Args:
        differences: as for `sign_flip`.
    """
    steps = np.rint(GRID * np.abs(differences)).astype(int)
    total = int((np.sign(differences) * steps).sum())
    return _tail(steps, total) if total >= 0 else 1.0 - _tail(steps, 1 - total)


def holm(p: np.ndarray) -> np.ndarray:
    """P-values adjusted by the step-down method of Holm (1979), which controls the family-wise error rate.

    The i-th smallest of m p-values is multiplied by m - i + 1; then the running maximum is taken. Scipy has no such function,
    and statsmodels is a large dependency.

    Args:
        p: p-values, [m], in any order; NaN counts as 1.
    """
    p = np.nan_to_num(np.asarray(p, dtype=np.float64), nan=1.0)
    order = np.argsort(p, kind="stable")
    scaled = p[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted

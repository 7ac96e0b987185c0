"""mIoU by hand, where common definitions give three different numbers, and its standard error against a bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results.metric import MIOU
from results.stats.iou import iou_by_class, mean_iou, pseudo_values

IGNORED = 255
LABELS = np.array([[[0, 0, 0, 0], [0, 0, 1, IGNORED]], [[2, 2, 2, 2], [0, 0, 0, 0]]])
ANSWERS = np.array([[[0, 0, 0, 0], [0, 1, 1, 1]], [[2, 2, 0, 0], [0, 0, 0, 0]]])


def counted(labels: np.ndarray, answers: np.ndarray, classes: int) -> np.ndarray:
    """The counts of each image, [N, C, 3]; ignored pixels are removed from labels and answers."""
    valid = labels != IGNORED
    rows = [
        [
            [
                (valid & hit & true).sum(axis=(1, 2)),
                (valid & hit & ~true).sum(axis=(1, 2)),
                (valid & ~hit & true).sum(axis=(1, 2)),
            ]
            for c in range(classes)
            for hit, true in [(answers == c, labels == c)]
        ]
    ]
    return np.array(rows)[0].transpose(2, 0, 1)


def test_counts_are_summed_over_images_and_absent_classes_are_left_out() -> None:
    counts = counted(LABELS, ANSWERS, 3)
    assert iou_by_class(counts.sum(axis=0)).tolist() == [0.75, 0.5, 0.5]
    assert mean_iou(counts.sum(axis=0)) == pytest.approx(0.583333, abs=1e-6)


def test_the_mean_over_images_and_absent_classes_as_zero_are_other_numbers() -> None:
    by_image = mean_iou(counted(LABELS, ANSWERS, 3))
    assert by_image.mean() == pytest.approx(0.625)
    as_zero = np.nan_to_num(iou_by_class(counted(LABELS, ANSWERS, 3))).mean(axis=1)
    assert as_zero.mean() == pytest.approx(0.416667, abs=1e-6)
    assert mean_iou(counted(LABELS, ANSWERS, 3).sum(axis=0)) not in (pytest.approx(0.625), pytest.approx(0.416667))


def test_a_class_that_occurs_nowhere_changes_nothing() -> None:
    three, five = (counted(LABELS, ANSWERS, classes) for classes in (3, 5))
    assert mean_iou(three.sum(axis=0)) == mean_iou(five.sum(axis=0))
    np.testing.assert_allclose(pseudo_values(three), pseudo_values(five))
    assert np.isnan(iou_by_class(five.sum(axis=0))[3:]).all()


def test_ignored_pixels_count_nowhere() -> None:
    other = np.where(LABELS == IGNORED, 0, ANSWERS)
    np.testing.assert_array_equal(counted(LABELS, ANSWERS, 3), counted(LABELS, other, 3))
    unlabelled = np.concatenate([LABELS, np.full_like(LABELS[:1], IGNORED)])
    counts = counted(unlabelled, np.concatenate([ANSWERS, ANSWERS[:1]]), 3)
    assert mean_iou(counts.sum(axis=0)) == pytest.approx(0.583333, abs=1e-6)
    assert np.isnan(mean_iou(counts[2]))
    assert pseudo_values(counts)[2] == pytest.approx(0.583333, abs=1e-6)


def scenes(images: int, seed: int) -> np.ndarray:
    """Counts of invented images of 400 pixels: some hold few of the eight classes, some are hard. [N, C, 3]."""
    rng = np.random.default_rng(seed)
    size = np.stack([rng.multinomial(400, rng.dirichlet(np.full(8, 0.4))) for _ in range(images)])
    hit = rng.binomial(size, rng.beta(4, 2, (images, 1)))
    return np.stack([hit, rng.poisson(20 * size / 400 + 1), size - hit], axis=-1)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31), st.integers(2, 40))
def test_the_mean_of_the_values_per_image_is_the_miou(seed: int, images: int) -> None:
    counts = scenes(images, seed)
    assert pseudo_values(counts).mean() == pytest.approx(float(mean_iou(counts.sum(axis=0))))
    np.testing.assert_allclose(pseudo_values(np.stack([counts, counts[::-1]]))[1], pseudo_values(counts)[::-1])


def test_the_standard_error_is_that_of_a_bootstrap_over_images() -> None:
    """Within 10 %: 2,000 replicates have a relative error of 1.6 %, and the values per image are linear in the weights."""
    rng = np.random.default_rng(0)
    first = scenes(300, 1)
    second = first.copy()
    second[..., 0] = rng.binomial(first[..., 0], 0.9)
    second[..., 2] += first[..., 0] - second[..., 0]
    drawn = rng.multinomial(300, np.full(300, 1 / 300), size=2000)
    by_resample = [mean_iou(np.einsum("rn,nck->rck", drawn, counts)) for counts in (first, second)]
    values = [pseudo_values(counts) for counts in (first, second)]
    for replicates, value in (
        (by_resample[0], values[0]),
        (by_resample[0] - by_resample[1], values[0] - values[1]),  # a paired difference
    ):
        assert value.std(ddof=1) / np.sqrt(300) == pytest.approx(replicates.std(ddof=1), rel=0.1)
    unpaired = np.hypot(*(value.std(ddof=1) for value in values)) / np.sqrt(300)
    assert unpaired > 2 * (by_resample[0] - by_resample[1]).std()  # images are shared: the paired error is much smaller


def test_intervals_and_p_values_of_differences_keep_their_error_rates() -> None:
    """Two methods that are equally good on average; each draw takes 200 images of a population of 20,000."""
    rng = np.random.default_rng(3)
    first = scenes(20_000, 4)
    second = first.copy()
    second[..., 0] = rng.binomial(first[..., 0] + first[..., 2], rng.beta(4, 2, (20_000, 1)))
    second[..., 2] = first[..., 0] + first[..., 2] - second[..., 0]
    truth = float(mean_iou(first.sum(axis=0)) - mean_iou(second.sum(axis=0)))
    covered, rejected, covered_alone = [], [], []
    for _ in range(400):
        drawn = rng.integers(0, 20_000, 200)
        one, other = pseudo_values(first[drawn]), pseudo_values(second[drawn])
        low, high = MIOU.paired_interval(one - other)
        covered.append(low <= truth <= high)
        rejected.append(MIOU.sign_flip(one - other) < 0.05)
        low, high = MIOU.interval(one)
        covered_alone.append(low <= mean_iou(first.sum(axis=0)) <= high)
    assert abs(truth) < 0.005
    assert 0.92 <= np.mean(covered) <= 0.98
    assert np.mean(rejected) <= 0.08
    assert 0.92 <= np.mean(covered_alone) <= 0.99


def test_for_one_class_the_values_are_the_correctness() -> None:
    """Images of one pixel, and one class that every answer may hit or miss: its IoU is the accuracy."""
    right = np.array([1, 0, 1, 1])
    counts = np.stack([right, np.zeros(4, int), 1 - right], axis=-1)[:, None]
    np.testing.assert_allclose(pseudo_values(counts), right)

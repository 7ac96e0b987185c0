"""AP equals the numbers of pycocotools, and its values per image give the standard error of a bootstrap over images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results.metric import AP
from results.stats import average_precision as average
from results.stats.average_precision import (
    average_precision,
    pooled_precision,
    precision_by_class,
    precision_of_draws,
    pseudo_values,
    recall,
)
from results.stats.box_matching import (
    LARGE,
    MEDIUM,
    SMALL,
    ClassMatches,
    FoundBoxes,
    Matches,
    TrueBoxes,
    match,
    match_in_areas,
)
from tests.results.stats.boxes import only, reference, scenes

SIZES = {"small": SMALL, "medium": MEDIUM, "large": LARGE}


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), ignored=st.sampled_from([0.0, 0.1, 0.5]), images=st.integers(4, 40))
def test_all_numbers_equal_those_of_pycocotools(seed: int, ignored: float, images: int) -> None:
    found, truth = scenes(seed, images=images, ignored=ignored)
    taken = np.random.default_rng(seed).integers(0, 2, images)
    expected = reference(found, truth, taken)
    matches = match(found, truth, 2)
    assert average_precision(matches, taken) == pytest.approx(expected["AP"], abs=1e-12)
    assert precision_by_class(matches, taken)[:, 0].mean() == pytest.approx(expected["AP50"], abs=1e-12)
    assert recall(matches, taken) == pytest.approx(expected["AR100"], abs=1e-12)
    for size, by_size in zip(SIZES, match_in_areas(found, truth, 2, list(SIZES.values())), strict=True):
        own = average_precision(by_size, taken)
        assert own == pytest.approx(expected[size], abs=1e-12) or (np.isnan(own) and expected[size] == -1)


@pytest.mark.parametrize("ignored", [0.0, 0.1, 1.0])
def test_ranges_of_the_area_together_equal_each_alone(ignored: float) -> None:
    found, truth = scenes(11, images=30, ignored=ignored)
    together = match_in_areas(found, truth, 2, list(SIZES.values()))
    alone = [match_in_areas(found, truth, 2, [area])[0] for area in SIZES.values()]
    for one, other in zip(together, alone, strict=True):
        assert (one.images, one.exits) == (other.images, other.exits)
        assert len(one.classes) == len(other.classes)
        for pair in zip(one.classes, other.classes, strict=True):
            np.testing.assert_equal(*(vars(matches) for matches in pair))


def test_one_box_by_hand() -> None:
    """A box with an IoU of 0.68 is right at 4 of the 10 thresholds; a false box with a higher score halves the precision."""
    truth = TrueBoxes(1, np.array([0]), np.array([[0.0, 0, 10, 10]]), np.array([3]), np.array([False]))
    boxes = np.array([[0, 0, 10, 6.8], [50, 50, 60, 60]])
    for score, expected in ((0.9, 0.4), (0.1, 0.2)):
        found = FoundBoxes(np.zeros(2, int), np.zeros(2, int), boxes, np.array([score, 0.5]), np.array([3, 3]))
        assert average_precision(match(found, truth, 1), np.zeros(1, int)) == pytest.approx(expected)


def test_images_without_boxes_and_without_answers_count() -> None:
    found, truth = scenes(0, images=10)
    nothing = FoundBoxes(*(values[:0] for values in vars(found).values()))
    assert average_precision(match(nothing, truth, 2), np.zeros(10, int)) == 0
    assert (pseudo_values(match(nothing, truth, 2), np.zeros(10, int)) == 0).all()
    unlabelled = TrueBoxes(10, *(values[:0] for values in (truth.image, truth.boxes, truth.label, truth.ignored)))
    assert np.isnan(average_precision(match(found, unlabelled, 2), np.zeros(10, int)))


@pytest.mark.parametrize("seed", range(3))
def test_values_leave_each_image_out(seed: int) -> None:
    images, rng = 14, np.random.default_rng(seed)
    found, truth = scenes(seed, images=images, classes=6)
    taken = rng.integers(0, 2, images)
    matches = match(found, truth, 2)
    whole, values = average_precision(matches, taken), pseudo_values(matches, taken)
    assert values.mean() == pytest.approx(whole, abs=1e-12)
    expected = []
    for n in range(images):
        rest = np.delete(np.arange(images), n)
        without = average_precision(match(*only(found, truth, rest), 2), taken[rest])
        expected.append(images * whole - (images - 1) * without)
    assert values == pytest.approx(np.array(expected) + whole - np.mean(expected), abs=1e-9)


def test_draws_are_scored_as_if_images_were_repeated() -> None:
    images, rng = 14, np.random.default_rng(5)
    found, truth = scenes(5, images=images, classes=6)
    taken = rng.integers(0, 2, images)
    times = rng.multinomial(images, np.full(images, 1 / images), size=5).T.astype(float)
    drawn = precision_of_draws(match(found, truth, 2), taken, times)
    for d in range(5):
        repeated = np.repeat(np.arange(images), times[:, d].astype(int))
        expected = average_precision(match(*only(found, truth, repeated), 2), taken[repeated])
        assert drawn[d] == pytest.approx(expected, abs=1e-12)


def test_weights_of_one_choose_exits_and_images() -> None:
    found, truth = scenes(6, images=20)
    matches, taken = match(found, truth, 2), np.random.default_rng(6).integers(0, 2, 20)
    weights = np.zeros((2, 20))
    weights[taken, np.arange(20)] = 1
    assert pooled_precision(matches, weights) == pytest.approx(average_precision(matches, taken))
    weights[:, 10:] = 0
    half = np.arange(10)
    expected = average_precision(match(*only(found, truth, half), 2), taken[half])
    assert pooled_precision(matches, weights) == pytest.approx(expected)


@pytest.mark.parametrize(("images", "classes"), [(150, 4), (300, 10)])
def test_values_give_the_standard_error_of_a_bootstrap_over_images(images: int, classes: int) -> None:
    rng = np.random.default_rng(7)
    matches = match(*scenes(7, images=images, classes=classes), 2)
    first, second = rng.integers(0, 2, images), np.ones(images, dtype=int)
    drawn = rng.multinomial(images, np.full(images, 1 / images), size=600).T.astype(float)
    replicates = [precision_of_draws(matches, taken, drawn) for taken in (first, second)]
    values = [pseudo_values(matches, taken) for taken in (first, second)]
    for by_draw, value in (
        (replicates[0], values[0]),
        (replicates[0] - replicates[1], values[0] - values[1]),  # a paired difference
    ):
        assert value.std(ddof=1) / np.sqrt(images) == pytest.approx(by_draw.std(ddof=1), rel=0.12)


@pytest.mark.parametrize(("images", "classes"), [(600, 4), (1000, 10)])
def test_large_classes_are_close_to_leaving_images_out(
    images: int, classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    matches = match(*scenes(9, images=images, classes=classes), 2)
    exits = [np.full(images, k) for k in range(2)]
    monkeypatch.setattr(average, "EXACT", 0)
    large = [pseudo_values(matches, taken) for taken in exits]
    monkeypatch.setattr(average, "EXACT", 10**12)
    exact = [pseudo_values(matches, taken) for taken in exits]
    assert not np.array_equal(large[0], exact[0])
    for own, other in ((large[0], exact[0]), (large[0] - large[1], exact[0] - exact[1])):
        assert own.mean() == pytest.approx(other.mean(), abs=1e-12)
        assert own.std() == pytest.approx(other.std(), rel=0.12)
        assert np.corrcoef(own, other)[0, 1] > 0.85


@pytest.mark.slow
def test_intervals_and_p_values_of_differences_keep_their_error_rates() -> None:
    """Two exits that are equally good on average; each draw takes 150 images of a population of 6,000."""
    rng, population = np.random.default_rng(8), 6_000
    matches = match(*scenes(8, images=population), 2)
    exits = [np.full(population, k) for k in range(2)]
    truth = average_precision(matches, exits[0]) - average_precision(matches, exits[1])
    covered, rejected = [], []
    for _ in range(300):
        drawn = part(matches, np.sort(rng.choice(population, 150, replace=False)))
        one, other = (pseudo_values(drawn, np.full(150, k)) for k in range(2))
        low, high = AP.paired_interval(one - other)
        covered.append(low <= truth <= high)
        rejected.append(AP.sign_flip(one - other) < 0.05)
    assert abs(truth) < 0.01
    assert 0.9 <= np.mean(covered) <= 0.99
    assert np.mean(rejected) <= 0.09


def part(matches: Matches, images: np.ndarray) -> Matches:
    """The matches of some images, ascending."""
    classes = []
    for one in matches.classes:
        rows = np.isin(one.image, images)
        image = np.searchsorted(images, one.image[rows])
        classes.append(
            ClassMatches(one.label, image, one.exit[rows], one.right[rows], one.counted[rows], one.positives[images])
        )
    return Matches(len(images), matches.exits, tuple(one for one in classes if one.positives.any()))

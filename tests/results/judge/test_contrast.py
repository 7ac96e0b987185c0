"""Differences of two methods: one correction for a family, the same verdict everywhere, and error rates by simulation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from results.judge.contrast import Contrast, contrast, corrected, judge_direction, of_differences
from results.judge.verdicts import Estimate
from results.store.folder import Store
from results.tables.loading import load_runs
from results.tables.points import comparisons
from tests.conftest import SmokeRun


def with_p(value: float, half: float, p: float) -> Contrast:
    return Contrast(Estimate(value, value - half, value + half, "test samples", p), np.array([value, 0]), 1, 1, p)


def family(*contrasts: Contrast) -> list[Contrast]:
    return list(corrected(dict(enumerate(contrasts))).values())


def draw(rng: np.random.Generator, seeds: int, images: int, gain: float = 0.0, loss: float = 0.0) -> Contrast:
    """A contrast of simulated seeds whose images differ by +1 with probability ``gain`` and by -1 with ``loss``."""
    shares = [gain, loss, 1 - gain - loss]
    return of_differences([rng.choice([1.0, -1.0, 0.0], images, p=shares) for _ in range(seeds)], seeds)


def test_above_several_methods_requires_each_after_holm() -> None:
    sure, open_, behind = with_p(0.02, 0.01, 0.001), with_p(0.005, 0.01, 0.3), with_p(-0.02, 0.01, 0.001)
    assert judge_direction(family(sure)) == "reproduced"
    assert judge_direction(family(sure, sure)) == "reproduced"
    assert judge_direction(family(sure, open_)) == "inconclusive"
    assert judge_direction(family(sure, behind)) == "not reproduced"
    # A p-value of .03 is significant alone, but not among five.
    barely = with_p(0.02, 0.019, 0.03)
    assert judge_direction(family(barely)) == "reproduced"
    assert {one.result for one in family(*[barely] * 5)} == {"not shown to differ"}
    assert [one.p for one in family(*[barely] * 5)] == pytest.approx([0.15] * 5)


def test_a_missing_seed_is_never_significant_and_strengthens_no_other() -> None:
    sure = with_p(0.02, 0.01, 0.001)
    missing = replace(sure, seeds=4, seeds_run=5)
    one, other = family(missing, sure)
    assert (one.result, one.p) == ("not shown to differ", 1)
    assert other.p == pytest.approx(0.002)  # two comparisons, as without the missing seed


def test_the_reverse_of_a_contrast() -> None:
    one = draw(np.random.default_rng(0), 5, 500, 0.1, 0.05)
    back = one.reversed()
    assert (back.estimate.value, back.estimate.low) == (-one.estimate.value, -one.estimate.high)
    assert (back.p, back.reversed().estimate) == (one.p, one.estimate)
    assert {one.result, back.result} in ({"ahead", "behind"}, {"not shown to differ"})


def test_simultaneous_intervals_are_wider_with_more_tests() -> None:
    for seeds in (1, 5):
        one = draw(np.random.default_rng(0), seeds, 500, 0.1, 0.1)
        assert one.simultaneous == pytest.approx((one.estimate.low, one.estimate.high))
        low, high = replace(one, tests=20).simultaneous
        assert low < one.estimate.low < one.estimate.high < high


def test_more_tests_detect_only_larger_differences() -> None:
    for seeds in (1, 5):
        one = draw(np.random.default_rng(0), seeds, 500, 0.1, 0.1)
        assert one.detectable < replace(one, tests=20).detectable
        assert one.detectable > one.estimate.half  # power asks for more than an interval that excludes zero


def test_a_lead_of_one_image_in_every_seed_is_no_lead() -> None:
    one = np.zeros(10_000)
    one[0] = 1
    equal = of_differences([one] * 5, 5)
    assert equal.estimate.kind == "test samples"  # equal seeds have no variance from which to judge
    assert equal.result == "not shown to differ"
    two = one.copy()
    two[1] = 1
    assert of_differences([one, one, one, one, two], 5).result == "not shown to differ"


@pytest.mark.parametrize("seeds", [1, 5])
def test_false_differences_are_rare_in_a_family(seeds: int) -> None:
    """Twelve comparisons without any difference: one of them is called significant in at most one of twenty families."""
    rng = np.random.default_rng(1)
    wrong = [
        {one.result for one in family(*(draw(rng, seeds, 400, 0.1, 0.1) for _ in range(12)))} != {"not shown to differ"}
        for _ in range(150)
    ]
    assert np.mean(wrong) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 150)


def test_true_differences_are_detected() -> None:
    rng = np.random.default_rng(2)
    verdicts = [judge_direction(family(*(draw(rng, 5, 1000, 0.05) for _ in range(4)))) for _ in range(50)]
    assert verdicts.count("reproduced") >= 48


def test_a_contrast_is_the_comparison_of_the_same_images(smoke: SmokeRun) -> None:
    store = Store(smoke.results)
    runs, _ = load_runs(store, store.run_ids())
    lgvit, vanilla = (next(run for run in runs if run.method == name) for name in ("lgvit", "vanilla"))
    point = "confidence/equal-macs-0.75"
    result = contrast({0: (lgvit, point)}, {0: (vanilla, point)})
    rows = comparisons([lgvit, vanilla])
    row = rows[(rows["kind"] == "equal-macs") & (rows["target"] == 0.75)].iloc[0]
    assert result is not None
    sign = 1 if row["first"] == "lgvit" else -1
    assert result.estimate.value == pytest.approx(sign * row["difference"])
    assert (result.detectable, result.estimate.p) == pytest.approx((row["detectable"], row["p"]))
    assert np.isclose(result.estimate.high - result.estimate.low, row["high"] - row["low"], rtol=1e-6)
    alone = contrast({0: (lgvit, point)}, {0: (lgvit, point)})
    assert alone is not None
    assert (alone.estimate.value, alone.result) == (0, "not shown to differ")
    assert contrast({0: (lgvit, point)}, {1: (vanilla, point)}) is None
    assert contrast({0: (lgvit, point)}, {0: (vanilla, None)}) is None

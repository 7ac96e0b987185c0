"""The rules on mechanisms, on made-up tables whose answers are known."""

from __future__ import annotations

from itertools import product

import pandas as pd
import pytest
from scipy.stats import spearmanr

from results.judge.mechanisms import (
    Answer,
    deep_semantics,
    distillation,
    exit_schemes,
    local_information,
    rank_correlation,
)

JITTER = (-0.002, -0.001, 0.0, 0.001, 0.002)
"""Of five seeds; its t interval over seeds has a half width of 0.00196."""


def exits(over_kernel_0: float, over_linear: float, seeds: int = 5, *, converged: bool = True) -> pd.DataFrame:
    """Exits after blocks 2 and 4 of 8, where LPH leads, and after block 6, where it trails by far."""
    gaps = {"lph-3": 0.0, "lph-0": over_kernel_0, "linear": over_linear}
    return pd.DataFrame(
        {
            "seed": seed, "head": head, "block": block, "converged": converged,
            "accuracy": 0.8 + block / 100 - (gap + JITTER[seed] * (head != "lph-3") if block <= 4 else -0.5 * (gap > 0)),
        }
        for seed, (head, gap), block in product(range(seeds), gaps.items(), (2, 4, 6))
    )  # fmt: skip


def outcome(answer: Answer) -> tuple[str, list[float]]:
    return answer.verdict, [round(effect.mean, 6) for effect in answer.effects]


@pytest.mark.parametrize(
    ("over_kernel_0", "over_linear", "verdict"),
    [
        (0.02, 0.03, "supported"),
        (0.0, 0.03, "not supported"),  # the gain over linear comes from something else than mixing patches
        (0.002, 0.03, "not supported"),  # above zero, and less than half a point
        (0.004, 0.03, "open"),
    ],
)
def test_local_information_needs_a_gain_over_both_heads_at_shallow_exits(
    over_kernel_0: float, over_linear: float, verdict: str
) -> None:
    assert outcome(local_information(exits(over_kernel_0, over_linear), 8)) == (verdict, [over_kernel_0, over_linear])


def test_few_seeds_unconverged_heads_and_missing_heads_leave_it_open() -> None:
    few = local_information(exits(0.02, 0.03, seeds=4), 8)
    assert (few.verdict, len(few.effects)) == ("open", 2)
    assert "4" in few.reason
    assert local_information(exits(0.02, 0.03, converged=False), 8).verdict == "open"
    unknown = local_information(exits(0.02, 0.03).assign(converged=None), 8)
    assert (unknown.verdict, len(unknown.effects)) == ("open", 2)
    assert "explain" in unknown.reason
    table = exits(0.02, 0.03)
    missing = local_information(table[table["head"] != "lph-0"], 8)
    assert (missing.verdict, missing.effects) == ("open", ())
    assert "homogeneous-local with kernel 0" in missing.reason
    (one, _) = local_information(exits(0.02, 0.03, seeds=1), 8).effects
    assert one.low != one.low  # NaN: one seed has no interval


def test_seeds_that_are_not_compared_do_not_decide_whether_heads_have_converged() -> None:
    table = exits(0.02, 0.03, seeds=5)
    alone = table[(table["seed"] == 0) & (table["head"] == "lph-3")]
    for state in (None, False):
        other = alone.assign(seed=5, converged=state)
        assert local_information(pd.concat([table, other]), 8) == local_information(table, 8)
    runs = pd.DataFrame(
        {
            "seed": seed,
            "heads": heads,
            "distilled": on,
            "accuracy": 0.8 + gain * on + JITTER[seed] * on,
            "converged": True,
        }
        for seed, (heads, gain), on in product(range(5), (("mixed", 0.03), ("homogeneous", 0)), (True, False))
    )
    runs.loc[runs["heads"] == "homogeneous", "accuracy"] = 0.7
    assert distillation(runs).verdict == "supported"
    assert distillation(pd.concat([runs, runs[:1].assign(seed=5, converged=False)])) == distillation(runs)


def blocks(probe_loss: float, mean_loss: float) -> pd.DataFrame:
    """Three blocks, of which the second is best on val; on test the first one is best, which must not matter."""
    return pd.DataFrame(
        {
            "seed": seed, "block": block,
            "probe_val": (0.5, 0.9, 0.8)[block - 1], "probe_test": (1.0, 0.8 + probe_loss + JITTER[seed], 0.8)[block - 1],
            "mean_val": (0.5, 0.9, 0.8)[block - 1], "mean_test": (1.0, 0.7 + mean_loss + JITTER[seed], 0.7)[block - 1],
        }
        for seed, block in product(range(5), (3, 1, 2))
    )  # fmt: skip


@pytest.mark.parametrize(
    ("probe_loss", "mean_loss", "verdict"),
    [(0.05, 0.02, "supported"), (0.05, 0.0, "not supported"), (0.05, 0.004, "open")],
)
def test_deep_semantics_compares_the_best_block_on_val_with_the_last(
    probe_loss: float, mean_loss: float, verdict: str
) -> None:
    assert outcome(deep_semantics(blocks(probe_loss, mean_loss))) == (verdict, [probe_loss, mean_loss])


def test_accuracy_that_rises_to_the_last_block_loses_no_semantics() -> None:
    rising = blocks(0.0, 0.0).assign(probe_val=lambda table: table["block"], mean_val=lambda table: table["block"])
    assert outcome(deep_semantics(rising)) == ("not supported", [0.0, 0.0])


@pytest.mark.parametrize(("gain", "verdict"), [(0.03, "supported"), (0.01, "not supported"), (0.014, "open")])
def test_distillation_is_an_interaction(gain: float, verdict: str) -> None:
    """Distillation adds a point with homogeneous heads."""
    cells = {
        ("mixed", True): 0.8 + gain,
        ("mixed", False): 0.8,
        ("homogeneous", True): 0.7,
        ("homogeneous", False): 0.69,
    }
    table = pd.DataFrame(
        {
            "seed": seed, "heads": heads, "distilled": on, "converged": True,
            "accuracy": value + JITTER[seed] * (heads == "mixed" and on),
        }
        for seed, ((heads, on), value) in product(range(5), cells.items())
    )  # fmt: skip
    assert outcome(distillation(table)) == (verdict, [round(gain - 0.01, 6)])
    assert distillation(table[table["heads"] == "mixed"]).effects == ()


def schemes(accuracies: list[list[float]]) -> pd.DataFrame:
    """Four schemes in each seed, in ascending order of CKA and in descending order of the probes."""
    return pd.DataFrame(
        {"seed": seed, "scheme": name, "accuracy": value, "cka": number, "probe_accuracy": -number, "converged": True}
        for seed, values in enumerate(accuracies)
        for number, (name, value) in enumerate(zip("abcd", values, strict=True))
    )


def test_exit_schemes_correlates_ranks_within_each_seed() -> None:
    rising = schemes([[0.1, 0.2, 0.3, 0.9]] * 3 + [[0.5, 0.6, 0.8, 0.7]] * 2)  # correlations 1 and 0.8
    assert outcome(exit_schemes(rising, "cka")) == ("supported", [0.92])
    assert outcome(exit_schemes(rising, "probe_accuracy")) == ("not supported", [-0.92])
    mixed = schemes([[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]] * 2 + [[0.1, 0.2, 0.3, 0.4]])
    assert exit_schemes(mixed, "cka").verdict == "open"
    three = exit_schemes(rising[rising["scheme"] != "d"], "cka")
    assert (three.verdict, three.effects) == ("open", ())
    further = pd.concat([rising, rising[:1].assign(seed=9)])  # a seed with one scheme, as another grid may have made
    assert outcome(exit_schemes(further, "cka")) == ("supported", [0.92])
    assert (three.margin, local_information(exits(0, 0)[:1], 8).margin) == (0.5, 0.005)
    with pytest.raises(ValueError, match="cka"):
        exit_schemes(rising, "ckaa")


def test_equal_values_have_no_interval_and_decide_only_at_the_ends() -> None:
    assert outcome(exit_schemes(schemes([[0.1, 0.2, 0.3, 0.4]] * 5), "cka")) == ("supported", [1.0])
    late = schemes([[0.1, 0.2, 0.3, 0.4]] * 5)
    assert exit_schemes(late.assign(converged=late["scheme"] != "a"), "cka").verdict == "open"
    assert exit_schemes(late.assign(converged=None), "cka").verdict == "open"
    constant = exit_schemes(schemes([[0.1, 0.2, 0.4, 0.3]] * 5), "cka")
    assert outcome(constant) == ("open", [0.8])
    assert "interval" in constant.reason


def test_the_rank_correlation_is_spearmans() -> None:
    first, second = [3.0, 1.0, 2.0, 2.0, 7.0], [1.0, 0.0, 5.0, 2.0, 2.0]
    assert rank_correlation(first, second) == pytest.approx(spearmanr(first, second).statistic)
    assert rank_correlation([1.0, 1.0], [1.0, 2.0]) == 0

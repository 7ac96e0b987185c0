"""Four rules on why early exits work, one function each. docs/statistics.md states them; they were fixed before the numbers,
but for the check of convergence.

`results.judge.mechanism_evidence` applies them to the runs of a folder. Every rule compares values of training seeds. A
statement is supported if the lower ends of all its intervals are above zero and all means are at least a margin, not supported
if an upper end is below the margin, and open otherwise, with fewer than `SEEDS` seeds, or if a compared head has not converged
or is not known to have. The margin is half a point of accuracy, or a rank correlation of 0.5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import pandas as pd

from results.judge.verdicts import SEEDS
from results.stats.statistics import LEVEL, ROUNDING, over_seeds

Verdict = Literal["supported", "not supported", "open"]
MARGIN = 0.005
"""Smallest difference of accuracies that counts."""
CORRELATION = 0.5
"""Smallest mean rank correlation that counts."""
SCHEMES = 4
"""Fewest exit schemes with which ranks are correlated."""
PREDICTORS = ("cka", "probe_accuracy")


@dataclass(frozen=True)
class Effect:
    """The mean of a quantity over training seeds with its t interval; the ends are NaN for a single seed."""

    name: str
    mean: float
    low: float
    high: float
    seeds: int


@dataclass(frozen=True)
class Answer:
    """What a rule finds.

    Attributes:
        rule: "a" to "d".
        statement: that is judged.
        verdict: supported, not supported or open.
        effects: the numbers that decide; empty without data.
        reason: why the answer is open, or what it needs; otherwise empty.
        margin: smallest effect that counts.
    """

    rule: str
    statement: str
    verdict: Verdict
    effects: tuple[Effect, ...]
    reason: str = ""
    margin: float = MARGIN


def local_information(exits: pd.DataFrame, depth: int) -> Answer:
    """Rule (a): shallow layers lack local information, which convolutions over patches add.

    If so, at exits in the first half of the blocks an LPH with a 3x3 kernel is more accurate than one with kernel 0, which
    mixes no patches, and than a linear classifier on the class token.

    Args:
        exits: columns seed, head (``lph-3``, ``lph-0``, ``linear``), block, accuracy (on test) and converged (None if that
            is not known).
        depth: number of blocks of the backbone.
    """
    heads = {"lph-3": "homogeneous-local", "lph-0": "homogeneous-local with kernel 0", "linear": "vanilla"}
    shallow = exits[(exits["block"] <= depth / 2) & exits["head"].isin(heads)]
    by_block = shallow.pivot_table("accuracy", ["seed", "block"], "head").dropna()
    statement = "shallow layers lack local information"
    if missing := [name for head, name in heads.items() if head not in set(shallow["head"])]:
        return no_data("a", statement, f"it needs exits in the first half of the blocks of {', '.join(missing)}")
    if by_block.empty:
        return no_data("a", statement, "no seed has all three heads after the same block")
    means = by_block.groupby(level="seed").mean()
    compared = shallow[pd.MultiIndex.from_frame(shallow[["seed", "block"]]).isin(by_block.index)]
    differences = {
        f"LPH, kernel 3 minus {label}": (means["lph-3"] - means[head]).tolist()
        for head, label in (("lph-0", "kernel 0"), ("linear", "linear"))
    }
    return _answer("a", statement, differences, MARGIN, converged=_all(compared["converged"]))


def deep_semantics(blocks: pd.DataFrame) -> Answer:
    """Rule (b): deep layers lose semantics.

    If so, a linear probe and the nearest class mean, both on class token and patch mean, are less accurate after the last block
    than after an earlier one. For each seed the best block is chosen on val and compared with the last one on test. If it is
    the last one in every seed, nothing is lost: equal values have no interval, and the statement is not supported.

    Args:
        blocks: columns seed, block, probe_val, probe_test, mean_val and mean_test; one row for every block of a seed.
    """
    if blocks.empty:
        return no_data(
            "b", "deep layers lose semantics", "it needs probes after every block: explain RUN for each seed"
        )
    losses: dict[str, list[float]] = {"linear probe": [], "nearest class mean": []}
    for _, of_seed in blocks.groupby("seed"):
        ordered = of_seed.sort_values("block").reset_index(drop=True)
        for name, column in zip(losses, ("probe", "mean"), strict=True):
            on_test = ordered[f"{column}_test"].to_numpy()
            losses[name].append(float(on_test[ordered[f"{column}_val"].to_numpy().argmax()] - on_test[-1]))
    named = {f"{name}, best block minus last block": values for name, values in losses.items()}
    last_is_best = any(not any(values) for values in losses.values())
    equal: Verdict = "not supported" if last_is_best else "open"
    return _answer("b", "deep layers lose semantics", named, MARGIN, equal=equal)


def distillation(runs: pd.DataFrame) -> Answer:
    """Rule (c): distillation helps the mixture of heads more than homogeneous heads.

    The interaction in a 2 x 2 table: gain by distillation with LGViT's heads minus the gain with homogeneous heads.

    Args:
        runs: columns seed, heads (``mixed``, ``homogeneous``), distilled, accuracy (on test at the common budget), converged.
    """
    statement = "distillation helps LGViT's mixture of heads more than homogeneous heads"
    cells = runs.pivot_table("accuracy", "seed", ["heads", "distilled"]).dropna()
    expected = [(heads, on) for heads in ("mixed", "homogeneous") for on in (True, False)]
    if any(cell not in cells for cell in expected):
        return no_data(
            "c", statement, "it needs lgvit and homogeneous-local, each also with kd_weight 0 and feature_terms false"
        )
    mixed, same = (cells[heads, True] - cells[heads, False] for heads in ("mixed", "homogeneous"))
    named = {"gain of mixed heads minus gain of homogeneous heads": (mixed - same).tolist()}
    compared = runs[runs["seed"].isin(cells.index)]
    return _answer("c", statement, named, MARGIN, converged=_all(compared["converged"]))


def exit_schemes(schemes: pd.DataFrame, predictor: str) -> Answer:
    """Rule (d): a measure of the representations at the chosen blocks predicts the ranking of exit schemes.

    Spearman's rank correlation over the schemes of each seed. If it is 1 in every seed, the statement is supported, and if it
    is -1, not supported: equal values have no interval. As two predictors are tried, the intervals are of 97.5 %. They are
    over training seeds, for these schemes, and say nothing about others.

    Args:
        schemes: columns seed, scheme, accuracy (on test at the common budget), cka and probe_accuracy (means over the chosen
            blocks; of the probes, on val), converged (all heads; None if unknown).
        predictor: one of `PREDICTORS`.

    Raises:
        ValueError: another predictor.
    """
    if predictor not in PREDICTORS:
        raise ValueError(f"the predictor is one of {', '.join(PREDICTORS)}, not {predictor!r}")
    label = {"cka": "CKA with the final tokens", "probe_accuracy": "the accuracy of linear probes"}[predictor]
    statement = f"{label} at the chosen blocks predicts the ranking of exit schemes"
    counts = schemes.groupby("seed")["scheme"].nunique()
    schemes = schemes[schemes["seed"].isin(counts.index[counts >= SCHEMES])]  # another grid may have made further seeds
    if schemes.empty:
        return no_data("d", statement, f"it needs lgvit with {SCHEMES} exit schemes of equally many exits in each seed")
    values = [
        rank_correlation(rows[predictor].tolist(), rows["accuracy"].tolist()) for _, rows in schemes.groupby("seed")
    ]
    level = 1 - (1 - LEVEL) / len(PREDICTORS)
    ends: dict[float, Verdict] = {1.0: "supported", -1.0: "not supported"}
    at_end = [verdict for end, verdict in ends.items() if np.allclose(values, end, atol=ROUNDING)]
    equal: Verdict = at_end[0] if at_end else "open"
    known = _all(schemes["converged"])
    named = {"rank correlation": values}
    return _answer("d", statement, named, CORRELATION, converged=known, equal=equal, level=level)


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's rank correlation, equal values with their mean rank; 0 if either has no two different values."""
    ranks = [pd.Series(np.asarray(values, dtype=np.float64)).rank() for values in (first, second)]
    if min(values.nunique() for values in ranks) < 2:
        return 0.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _answer(
    rule: str,
    statement: str,
    values: Mapping[str, list[float]],
    margin: float,
    *,
    converged: bool | None = True,
    equal: Verdict = "open",
    level: float = LEVEL,
) -> Answer:
    """Apply the common rule to the values of each effect, one per seed.

    Args:
        equal: the verdict where the seeds of an effect have equal values, which have no interval.
    """
    effects = tuple(_effect(name, of_seeds, level) for name, of_seeds in values.items() if of_seeds)
    decided = partial(Answer, rule, statement, margin=margin, effects=effects)
    if len(effects) < len(values):
        return no_data(rule, statement, "no seed has all values")
    seeds = min(effect.seeds for effect in effects)
    if seeds < SEEDS:
        return decided(verdict="open", reason=f"{seeds} of at least {SEEDS} training seeds")
    if converged is None:
        return decided(
            verdict="open", reason="it needs explain RUN for each seed, to know whether the heads have converged"
        )
    if not converged:
        return decided(verdict="open", reason="heads have not converged")
    if all(effect.low > 0 and effect.mean >= margin for effect in effects):
        return decided(verdict="supported")
    if any(effect.high < margin for effect in effects):
        return decided(verdict="not supported")
    if any(np.isnan(effect.low) for effect in effects):
        return decided(verdict=equal, reason="" if equal != "open" else "equal values of all seeds have no interval")
    return decided(verdict="open", reason="the intervals do not decide")


def _all(converged: pd.Series) -> bool | None:
    """Whether all heads have converged; None if that is not known of one, and no other has not."""
    states = set(converged)
    return False if False in states else None if converged.isna().any() else True


def _effect(name: str, values: list[float], level: float) -> Effect:
    low, high = over_seeds(values, level) if len(values) > 1 else (float("nan"), float("nan"))
    return Effect(name, float(np.mean(values)), low, high, len(values))


def no_data(rule: str, statement: str, reason: str) -> Answer:
    """An open answer without numbers."""
    return Answer(rule, statement, "open", (), reason, CORRELATION if rule == "d" else MARGIN)

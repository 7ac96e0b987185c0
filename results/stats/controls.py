"""Accuracy of perfect and of random routing with the same heads, to evaluate a policy separately from its heads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MAX_ENUMERATED_EXITS = 16  # with more exits, a linear program replaces the enumeration of all subsets of exits


@dataclass(frozen=True)
class FirstCorrect:
    """Accuracy and cost of the oracle that exits at the first exit whose prediction is correct.

    Attributes:
        accuracy: share of samples that at least one exit classifies correctly.
        mean_cost: mean cost; a sample that no exit classifies correctly exits at the first exit.
    """

    accuracy: float
    mean_cost: float


def first_correct(correct: np.ndarray, cost: np.ndarray) -> FirstCorrect:
    """The oracle that exits at the first correct exit.

    Args:
        correct: bool [K, N].
        cost: cost of exiting at each exit, [K].
    """
    return FirstCorrect(float(correct.any(axis=0).mean()), float(np.asarray(cost)[correct.argmax(axis=0)].mean()))


def random_at_shares(correct: np.ndarray, shares: np.ndarray) -> float:
    """Expected accuracy when samples are sent to the exits at random, with the same exit shares as a policy.

    It is the sum over exits of share times accuracy on all samples. A policy with at most this accuracy has no benefit from its
    choice of samples.

    Args:
        correct: bool [K, N].
        shares: share of samples that exit at each exit, [K], summing to 1.
    """
    return float(shares @ correct.mean(axis=1))


def oracle_at_shares(correct: np.ndarray, shares: np.ndarray) -> float:
    """The highest accuracy of any assignment of samples to exits with these exit shares.

    It is a maximum flow from correctness patterns to exits. By the max-flow min-cut theorem, it is the minimum over all sets of
    exits of the set's shares plus the share of samples that at least one exit outside the set classifies correctly.

    Args:
        correct: bool [K, N].
        shares: share of samples that exit at each exit, [K], summing to 1.
    """
    exits = len(correct)
    if exits > MAX_ENUMERATED_EXITS:
        return _oracle_by_program(correct, shares)
    patterns = np.left_shift(1, np.arange(exits)) @ correct
    within = np.bincount(patterns, minlength=1 << exits) / correct.shape[1]
    demand = np.zeros(1 << exits)
    sets = np.arange(1 << exits)
    for k in range(exits):  # sums over all subsets, one bit at a time
        has = sets >> k & 1 == 1
        within[has] += within[sets[has] ^ 1 << k]
        demand[has] += shares[k] / shares.sum()
    return float((demand + 1 - within).min())


def _oracle_by_program(correct: np.ndarray, shares: np.ndarray) -> float:
    """`oracle_at_shares` as a linear program, for many exits."""
    from scipy.optimize import linprog  # slow to import and rarely needed
    from scipy.sparse import eye as identity
    from scipy.sparse import kron, vstack

    patterns, counts = np.unique(correct.T, axis=0, return_counts=True)  # [P, K]
    supply, demand = counts / correct.shape[1], shares / shares.sum()
    (sources, exits) = patterns.shape
    ones = np.ones((1, exits))
    rows = kron(identity(sources), ones)  # every pattern is assigned in full
    columns = kron(np.ones((1, sources)), identity(exits))  # every exit gets its share
    solution = linprog(
        -patterns.astype(np.float64).ravel(),
        A_eq=vstack([rows, columns]).tocsr()[:-1],  # the last equation follows from the others
        b_eq=np.concatenate([supply, demand])[:-1],
        method="highs",
    )
    return float(-solution.fun)


@dataclass(frozen=True)
class Regret:
    """A policy compared with random and perfect routing at the same exit shares.

    Attributes:
        random: accuracy of random routing.
        oracle: accuracy of perfect routing.
        regret: oracle minus policy.
        gain: (policy - random) / (oracle - random); NaN if all routings have the same accuracy.
    """

    random: float
    oracle: float
    regret: float
    gain: float


def regret(accuracy: float, correct: np.ndarray, shares: np.ndarray) -> Regret:
    """Compare a policy with random and perfect routing.

    Args:
        accuracy: accuracy of the policy.
        correct: bool [K, N].
        shares: the policy's share of samples at each exit, [K].
    """
    chance, best = random_at_shares(correct, shares), oracle_at_shares(correct, shares)
    room = best - chance
    return Regret(chance, best, best - accuracy, (accuracy - chance) / room if room > 1e-9 else float("nan"))

"""What perfect and what random routing reach with the same heads: they tell the quality of a policy from that of its heads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MANY = 16
"""Exits; up to here all sets of them are looked at, beyond a linear program is solved."""


@dataclass(frozen=True)
class FirstCorrect:
    """The oracle that leaves at the first right exit.

    Attributes:
        accuracy: share of samples that some exit gets right.
        mean_cost: a sample that no exit gets right is counted at the first exit.
    """

    accuracy: float
    mean_cost: float


def first_correct(correct: np.ndarray, cost: np.ndarray) -> FirstCorrect:
    """
    Args:
        correct: bools [K, N].
        cost: of leaving at each exit, [K].
    """
    return FirstCorrect(float(correct.any(axis=0).mean()), float(np.asarray(cost)[correct.argmax(axis=0)].mean()))


def random_at_shares(correct: np.ndarray, shares: np.ndarray) -> float:
    """Expected accuracy when samples are sent to the exits at random, with the same exit shares as a policy.

    The expectation in closed form: sum over exits of share times all-sample accuracy. A policy that is not above it gains by
    its heads alone.

    Args:
        correct: bools [K, N].
        shares: of samples that leave at each exit, [K], summing to 1.
    """
    return float(shares @ correct.mean(axis=1))


def oracle_at_shares(correct: np.ndarray, shares: np.ndarray) -> float:
    """The best accuracy that any assignment of samples to exits reaches with these exit shares, labels known.

    A flow from patterns of right exits to exits. By max-flow min-cut it is the smallest, over all sets of exits, of the set's
    shares plus the samples that an exit outside of it answers right.

    Args:
        correct: bools [K, N].
        shares: [K], summing to 1.
    """
    exits = len(correct)
    if exits > MANY:
        return _oracle_by_program(correct, shares)
    patterns = np.left_shift(1, np.arange(exits)) @ correct
    within = np.bincount(patterns, minlength=1 << exits) / correct.shape[1]
    demand = np.zeros(1 << exits)
    sets = np.arange(1 << exits)
    for k in range(exits):  # sums over all subsets, a bit at a time
        has = sets >> k & 1 == 1
        within[has] += within[sets[has] ^ 1 << k]
        demand[has] += shares[k] / shares.sum()
    return float((demand + 1 - within).min())


def _oracle_by_program(correct: np.ndarray, shares: np.ndarray) -> float:
    """The same as a linear program, for exits whose subsets are too many."""
    from scipy.optimize import linprog
    from scipy.sparse import eye as identity
    from scipy.sparse import kron, vstack

    patterns, counts = np.unique(correct.T, axis=0, return_counts=True)  # [P, K]
    supply, demand = counts / correct.shape[1], shares / shares.sum()
    (sources, exits) = patterns.shape
    ones = np.ones((1, exits))
    rows = kron(identity(sources), ones)  # every pattern is sent somewhere
    columns = kron(np.ones((1, sources)), identity(exits))  # every exit gets its share
    found = linprog(
        -patterns.astype(np.float64).ravel(),
        A_eq=vstack([rows, columns]).tocsr()[:-1],  # the last equation follows from the others
        b_eq=np.concatenate([supply, demand])[:-1],
        method="highs",
    )
    return float(-found.fun)


@dataclass(frozen=True)
class Regret:
    """A policy between chance and perfection, at its own exit shares.

    Attributes:
        random: accuracy of random routing.
        oracle: accuracy of perfect routing.
        regret: oracle minus policy.
        gain: (policy - random) / (oracle - random); NaN where routing cannot matter.
    """

    random: float
    oracle: float
    regret: float
    gain: float


def regret(accuracy: float, correct: np.ndarray, shares: np.ndarray) -> Regret:
    """
    Args:
        accuracy: of the policy.
        correct: bools [K, N].
        shares: of samples that it lets leave at each exit, [K].
    """
    chance, best = random_at_shares(correct, shares), oracle_at_shares(correct, shares)
    room = best - chance
    return Regret(chance, best, best - accuracy, (accuracy - chance) / room if room > 1e-9 else float("nan"))

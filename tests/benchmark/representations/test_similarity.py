"""HSIC and CKA on made-up features with known answers."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from torch import Tensor

from benchmark.representations.similarity import MinibatchCKA, gram, unbiased_hsic


def noise(seed: int, images: int = 250, width: int = 5) -> Tensor:
    return torch.randn(images, width, generator=torch.Generator().manual_seed(seed)).double()


def cka(first: Tensor, second: Tensor, minibatch: int = 250) -> float:
    similarity = MinibatchCKA()
    for one, other in zip(first.split(minibatch), second.split(minibatch), strict=True):
        similarity.add(gram(one), gram(other))
    assert similarity.value is not None
    return similarity.value


def test_hsic_is_the_u_statistic_over_all_ordered_quadruples() -> None:
    """E[k(x_i, x_j) (l(y_i, y_j) + l(y_q, y_r) - 2 l(y_i, y_q))] over different i, j, q, r; features need not be centred."""
    first, second = noise(0, 6) + 3, noise(1, 6) - 2
    k, l = first @ first.T, second @ second.T  # noqa: E741
    terms = [k[i, j] * (l[i, j] + l[q, r] - 2 * l[i, q]) for i, j, q, r in permutations(range(6), 4)]
    assert float(unbiased_hsic(gram(first), gram(second))) == pytest.approx(float(torch.stack(terms).mean()))


def test_cka_ignores_rotation_shift_and_scale() -> None:
    features = noise(0)
    rotation = torch.linalg.qr(noise(1, 5))[0]
    assert cka(features, 7 * features @ rotation + 100) == pytest.approx(1)
    assert cka(features, features * torch.tensor([10.0, 1, 1, 1, 1])) < 0.9


def test_cka_of_independent_features_is_zero_in_expectation_also_when_they_are_wide() -> None:
    """The biased estimate of these would be 0.8."""
    assert abs(cka(noise(0, 1000, 1000), noise(1, 1000, 1000))) < 0.03


def test_small_minibatches_have_the_expectation_of_large_ones() -> None:
    first = noise(0, 4000)
    second = first + noise(1, 4000)
    assert cka(first, second, 20) == pytest.approx(cka(first, second, 1000), abs=0.02)


def test_without_variation_there_is_no_value() -> None:
    similarity = MinibatchCKA()
    assert similarity.value is None
    similarity.add(gram(torch.ones(8, 2)), gram(noise(0, 8)))
    assert similarity.value is None

"""Linear CKA between the features of a block and those of the last block, from sums over minibatches."""

from __future__ import annotations

import torch
from torch import Tensor

MINIBATCH = 250
"""Images per estimate of HSIC; Nguyen et al. use 256. A last piece below `FEWEST` images is left out."""
FEWEST = 4


def gram(features: Tensor) -> Tensor:
    """The linear Gram matrix (n, n) of features (n, D), in double precision.

    The features are centred first. HSIC does not depend on their mean, and large means cost precision.
    """
    centred = features.double() - features.double().mean(0)
    return centred @ centred.T


def unbiased_hsic(first: Tensor, second: Tensor) -> Tensor:
    """The unbiased estimate HSIC_1 of the Hilbert-Schmidt independence criterion (Song et al., JMLR 2012, equation 5).

    With the diagonals of K and L set to zero and n images:

        (tr(K L) + 1'K1 1'L1 / ((n - 1) (n - 2)) - 2 1'K L1 / (n - 2)) / (n (n - 3))

    Args:
        first: Gram matrix K, (n, n), n >= 4.
        second: Gram matrix L, (n, n).

    Returns:
        a scalar, whose expectation is 0 for independent features.
    """
    count = len(first)
    k, l = (matrix - torch.diag(matrix.diagonal()) for matrix in (first, second))  # noqa: E741
    rows_k, rows_l = k.sum(1), l.sum(1)
    products = (k * l).sum() + rows_k.sum() * rows_l.sum() / ((count - 1) * (count - 2))
    return (products - 2 / (count - 2) * (rows_k @ rows_l)) / (count * (count - 3))


class MinibatchCKA:
    """Linear CKA (Kornblith et al., "Similarity of neural network representations revisited", ICML 2019), by minibatches:

        CKA = mean HSIC_1(K, L) / sqrt(mean HSIC_1(K, K) mean HSIC_1(L, L))

    with means over minibatches (Nguyen, Raghu and Kornblith, "Do wide and deep networks learn the same things?", ICLR 2021,
    equation 3). The minibatches must be random: `add` gets images in random order. It is 1 for features that are equal up to
    rotation, shift and scale, and about 0 for independent ones; as HSIC_1 is unbiased, it can be slightly below 0.
    """

    def __init__(self) -> None:
        self._sums = [0.0, 0.0, 0.0]

    def add(self, first: Tensor, second: Tensor) -> None:
        """Add the minibatch with Gram matrices (n, n), n >= 4; its weight is n."""
        pairs = ((first, second), (first, first), (second, second))
        self._sums = [
            total + len(first) * float(unbiased_hsic(*pair)) for total, pair in zip(self._sums, pairs, strict=True)
        ]

    @property
    def value(self) -> float | None:
        """None without minibatches, or if one of the features does not vary."""
        across, first, second = self._sums
        return across / (first * second) ** 0.5 if first > 0 and second > 0 else None

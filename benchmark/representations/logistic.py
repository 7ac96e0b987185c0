"""Multinomial logistic regression, and the classifier by the nearest class mean. Both run on the device of their features.

The features are tensors of a backbone, often on a GPU. torch's L-BFGS fits them there, so no further library is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

STRENGTHS = (1e-2, 1e-3, 1e-4, 1e-5)
"""Strengths of the L2 penalty that are tried, from strong to weak; each fit starts from the one before. On seed 0 of the
reference study, 1e-6 changed no fit that was tried (blocks 4, 8 and 11): that with 1e-5 meets `TOLERANCE` there, too."""
ITERATIONS = 100
TOLERANCE = 1e-4
"""Largest entry of the gradient at which a fit ends."""


@dataclass(frozen=True)
class Probe:
    """A fitted linear probe.

    Attributes:
        strength: of the L2 penalty, the one with the best val accuracy.
        val_accuracy: in [0, 1].
        test_correct: whether it classifies each test sample correctly, bool (N,); the test labels choose nothing.
    """

    strength: float
    val_accuracy: float
    test_correct: Tensor

    @property
    def test_accuracy(self) -> float:
        return float(self.test_correct.double().mean())


@dataclass(frozen=True)
class Teacher:
    """What a distilled probe learns beside the labels.

    Attributes:
        weight: of the distillation term, in (0, 1].
        temperature: T.
        probabilities: the classes by the teacher at that temperature, on train, (N, classes).
    """

    weight: float
    temperature: float
    probabilities: Tensor


@dataclass(frozen=True)
class Split:
    """The features (N, D) and labels (N,) of a split."""

    features: Tensor
    labels: Tensor


def linear_probe(
    train: Split,
    val: Split,
    test: Split,
    classes: int,
    strengths: Sequence[float] = STRENGTHS,
    teacher: Teacher | None = None,
) -> Probe:
    """A linear probe (Alain and Bengio, "Understanding intermediate layers using linear classifier probes", arXiv 1610.01644).

    Logistic regression on features that are standardised by mean and standard deviation on train.

    Args:
        train: what it is fitted on.
        val: what chooses the strength of the L2 penalty.
        test: what it is applied to.
        classes: their number.
        strengths: that are tried.
        teacher: of a distilled probe.
    """
    mean, scale = train.features.mean(0), train.features.std(0).clamp_min(1e-6)
    standardised = [(split.features - mean) / scale for split in (train, val, test)]
    weights = torch.zeros(train.features.shape[1] + 1, classes, device=train.features.device)
    best: Probe | None = None
    for strength in strengths:
        weights = fit(standardised[0], train.labels, weights, strength, teacher)
        on_val, on_test = (
            logits(features, weights).argmax(1) == split.labels
            for features, split in zip(standardised[1:], (val, test), strict=True)
        )
        val_accuracy = float(on_val.double().mean())
        if best is None or val_accuracy > best.val_accuracy:
            best = Probe(strength, val_accuracy, on_test)
    assert best is not None
    return best


def fit(features: Tensor, labels: Tensor, start: Tensor, strength: float, teacher: Teacher | None = None) -> Tensor:
    """Minimise the mean cross-entropy plus ``strength`` / 2 times the sum of squared weights; the bias is not penalised.

    With a teacher, the cross-entropy CE becomes (1 - weight) CE + weight T^2 KL(teacher || probe), both at temperature T
    (Hinton et al., 2015, arXiv 1503.02531).

    Args:
        features: (N, D).
        labels: (N,).
        start: initial weights, (D + 1, classes); the bias is the last row.
        strength: of the penalty.
        teacher: of a distilled probe.

    Returns:
        the weights, (D + 1, classes).
    """
    weights = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [weights], max_iter=ITERATIONS, tolerance_grad=TOLERANCE, tolerance_change=1e-7, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        answers = logits(features, weights)
        loss = F.cross_entropy(answers, labels)
        if teacher is not None:  # the cross-entropy with the teacher differs from the divergence by a constant
            soft = F.cross_entropy(answers / teacher.temperature, teacher.probabilities)
            loss = (1 - teacher.weight) * loss + teacher.weight * teacher.temperature**2 * soft
        loss = loss + strength / 2 * weights[:-1].square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    return weights.detach()


def logits(features: Tensor, weights: Tensor) -> Tensor:
    return torch.addmm(weights[-1], features, weights[:-1])


def nearest_mean_accuracy(train: Split, split: Split, classes: int) -> float:
    """The accuracy of the classifier that answers the class with the nearest mean on train, by Euclidean distance.

    Neural collapse makes it agree with the network's own classifier (Papyan, Han and Donoho, "Prevalence of neural collapse
    during the terminal phase of deep learning training", PNAS 2020). A class without train images is never the answer.
    """
    counts = torch.bincount(train.labels, minlength=classes)
    sums = torch.zeros(classes, train.features.shape[1], device=train.features.device)
    means = sums.index_add_(0, train.labels, train.features) / counts.clamp_min(1)[:, None]
    distances = torch.cdist(split.features, means)
    distances[:, counts == 0] = torch.inf
    return accuracy(distances.argmin(1), split.labels)


def accuracy(predictions: Tensor, labels: Tensor) -> float:
    return float((predictions == labels).double().mean())

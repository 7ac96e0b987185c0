"""Linear probes and nearest class means on made-up features with known answers."""

from __future__ import annotations

import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor
from torch.nn import functional as F

from benchmark.representations.logistic import Split, Teacher, fit, linear_probe, logits, nearest_mean_accuracy
from methods.losses.terms import distillation


def clouds(samples: int, seed: int, spread: float = 0.1) -> Split:
    """Three classes around the corners of a triangle, with a third feature that is constant."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(samples) % 3
    corners = torch.tensor([[0.0, 0.0, 5.0], [1.0, 0.0, 5.0], [0.0, 1.0, 5.0]])
    noise = torch.randn(samples, 3, generator=generator) * torch.tensor([spread, spread, 0.0])
    return Split(corners[labels] + noise, labels)


def test_separable_classes_are_separated() -> None:
    probe = linear_probe(clouds(90, 0), clouds(30, 1), clouds(30, 2), 3)
    assert (probe.val_accuracy, probe.test_accuracy) == (1, 1)
    assert nearest_mean_accuracy(clouds(90, 0), clouds(30, 1), 3) == 1


def test_the_strength_is_chosen_on_val_alone() -> None:
    train, val, test = clouds(60, 0, 0.8), clouds(300, 1, 0.8), clouds(300, 2, 0.8)
    alone = {strength: linear_probe(train, val, test, 3, [strength]) for strength in (10.0, 0.01)}
    chosen = linear_probe(train, val, test, 3, list(alone))
    assert chosen.val_accuracy == max(probe.val_accuracy for probe in alone.values())
    flipped = Split(test.features, (test.labels + 1) % 3)
    assert linear_probe(train, val, flipped, 3, list(alone)).strength == chosen.strength


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_fit_is_the_minimum_that_scipy_reaches(weight: float) -> None:
    """With and without distillation, whose loss is that of the heads."""
    split, strength = clouds(60, 0, 0.5), 0.1
    taught = torch.randn(60, 3, generator=torch.Generator().manual_seed(1))

    def loss(flat: Tensor) -> Tensor:
        weights = flat.reshape(4, 3)
        answers = logits(split.features.double(), weights)
        taken = (1 - weight) * F.cross_entropy(answers, split.labels) + weight * distillation(
            answers, taught.double(), 2.0
        )
        return taken + strength / 2 * weights[:-1].square().sum()

    best = minimize(lambda x: float(loss(torch.from_numpy(x))), torch.zeros(12).double().numpy(), method="BFGS")
    teacher = Teacher(weight, 2.0, (taught / 2).softmax(1)) if weight else None
    weights = fit(split.features, split.labels, torch.zeros(4, 3), strength, teacher)
    assert float(loss(weights.double().flatten())) == pytest.approx(best.fun, abs=1e-4)


def test_a_class_without_train_images_is_never_the_nearest() -> None:
    train = Split(torch.tensor([[1.0], [3.0]]), torch.tensor([0, 1]))
    origin = Split(torch.tensor([[0.0]]), torch.tensor([2]))  # the mean of a class without images must not be 0
    assert nearest_mean_accuracy(train, origin, 3) == 0

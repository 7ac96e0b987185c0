"""Wrong parameters and scores of policies are errors that name them; arrays and a single exit are accepted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from methods.policies import POLICIES, get_policy
from tests.methods.test_policies import PARAMETERS, choose, fitted


@pytest.mark.parametrize(("name", "parameters", "parts"), [
    ("confidnce", {}, ["'confidnce'", "'confidence'"]),
    ("confidence", {"treshold": 0.5}, ["'treshold'", "'threshold'"]),
    ("confidence", {"threshold": 80}, ["threshold", "80"]),
    ("confidence", {"threshold": "high"}, ["'threshold'", "number"]),
    ("margin", {"threshold": -0.1}, ["margin", "threshold", "-0.1"]),
    ("entropy", {"threshold": -1}, ["threshold", "-1"]),
    ("entropy", {"threshold": float("nan")}, ["threshold", "nan"]),
    ("patience", {"patience": 0}, ["patience", "between 1"]),
    ("patience", {"patience": 2, "counting": "berxit"}, ["'counting'", "'pabee'", "'lgvit'"]),
    ("pcee", {"patience": 0}, ["pcee", "patience", "between 1"]),
    ("sdn", {"threshold": 2}, ["sdn", "threshold", "not 2"]),
    ("beem", {"threshold": -1}, ["threshold", "-1"]),
    ("bin-accuracy", {"target": 90}, ["target", "90"]),
    ("budgeted", {"budget": 0}, ["budget", "not 0"]),
    ("ztw-geometric", {"steps": 0}, ["steps", "between 1"]),
    ("ztw-arithmetic", {"threshold": 3}, ["threshold", "not 3"]),
    ("eenet", {"budget": -1}, ["budget", "not -1"]),
    ("eenet", {"epochs": 0}, ["epochs", "between 1"]),
    ("eenet", {"assigner": "relu"}, ["'assigner'", "'sigmoid'", "'linear'"]),
    ("running-quantile", {"budget": 0}, ["budget", "not 0"]),
    ("running-quantile", {"prior": 0}, ["prior", "between 1", "not 0"]),
    ("running-quantile", {"rate": -1}, ["rate", "not -1"]),
    ("crc", {"risk": 0}, ["risk", "not 0"]),
    ("ltt", {"risk": 0.1, "delta": 1}, ["delta", "not 1"]),
    ("random", {"probability": 2}, ["probability", "not 2"]),
])  # fmt: skip
def test_wrong_parameters_are_errors(name: str, parameters: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        get_policy(name, **parameters)
    assert all(part in str(error.value) for part in parts)


@pytest.mark.parametrize(("logits", "parts"), [
    (torch.zeros(3, 4), ["torch.float32", "3 x 4"]),
    (torch.zeros(3, 0, 4), ["3 x 0 x 4"]),
    (torch.zeros(3, 4, 5, dtype=torch.int64), ["torch.int64"]),
    (torch.tensor([[[0.0, 1.0]], [[float("nan"), 1.0]]]), ["exit 1", "sample 0"]),
])  # fmt: skip
def test_wrong_scores_are_errors(logits: Tensor, parts: list[str]) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        get_policy("confidence", threshold=0.5).choose(logits)
    assert all(part in str(error.value) for part in parts)


@pytest.mark.parametrize("name", [name for name in POLICIES if POLICIES[name].load().learns])
def test_a_policy_with_parameters_must_be_fitted(name: str) -> None:
    policy = get_policy(name, **PARAMETERS[name][0])
    with pytest.raises(ValueError, match="fit"):
        policy.choose(torch.randn(3, 4, 5))


def test_a_policy_without_a_threshold_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"Confidence .*threshold"):
        get_policy("confidence").choose(torch.zeros(2, 1, 3))


def test_policies_accept_arrays_and_a_single_exit() -> None:
    logits = np.random.default_rng(0).normal(size=(3, 10, 4)).astype(np.float32)
    policy = get_policy("confidence", threshold=0.5)
    for actual, expected in zip(policy.choose(logits), policy.choose(torch.from_numpy(logits)), strict=True):
        assert torch.equal(actual, expected)
    for name, cases in PARAMETERS.items():
        alone = torch.randn(1, 6, 4)
        if name in ("bin-accuracy", "budgeted", "running-quantile", "eenet", "crc", "ltt"):
            continue  # nothing to learn without an early exit
        exits, predictions = choose(fitted(name, cases[0], alone, 0), alone)
        assert (exits == 0).all()
        assert torch.equal(predictions, alone[0].argmax(-1))


@pytest.mark.parametrize("name", ["bin-accuracy", "confidence-scaled", "ztw-geometric", "eenet"])
@pytest.mark.parametrize("labels", [
    torch.zeros(6), torch.zeros(6, dtype=torch.bool), torch.tensor([0, 1, 2, 3, 0, 14]), torch.tensor([0, 1, 2, 3, 0, -1]),
    torch.zeros(5, dtype=torch.int64),
])  # fmt: skip
def test_wrong_labels_are_errors(name: str, labels: Tensor) -> None:
    with pytest.raises(ValueError, match="labels are"):
        get_policy(name).fit(torch.randn(3, 6, 4), labels)


@pytest.mark.parametrize("name", ["confidence", "entropy", "patience"])
def test_infinite_scores_are_errors_in_every_step(name: str) -> None:
    logits = torch.zeros(3, 6, 4)
    logits[1, 2, 0] = float("inf")
    policy = get_policy(name)
    for use in (policy.fit, policy.default_grid):
        with pytest.raises(ValueError, match="exit 1, sample 2"):
            use(logits)

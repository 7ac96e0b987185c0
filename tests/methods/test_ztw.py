"""Zero Time Waste: the ensembles and the cascading head against vectors computed by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.measure.price import price
from methods.heads.ztw import ZTWHead
from methods.model import ExitHeads
from methods.policies import get_policy
from methods.tokens import Tokens
from methods.ztw import ZTW

F64 = torch.float64
LOGITS = torch.tensor([[[2.0, 0, 0]], [[0, 1, 0]], [[5, 0, 0]]], dtype=F64)


@pytest.mark.parametrize(("kind", "weights", "bias", "logits", "probabilities"), [
    ("geometric", [0, 0], [0, 0, 0], [-0.895495, -1.395495, -1.895495], [0.506480, 0.307196, 0.186324]),
    ("geometric", [math.log(2), 0], [0, 0.1, 0], [-1.015267, -2.415267, -3.015267], [0.723624, 0.178444, 0.097932]),
    ("arithmetic", [0, 0], [0, 0, 0], None, [0.399786, 0.336525, 0.263690]),
    ("arithmetic", [math.log(2), 0], [0, 0.1, 0], None, [0.456320, 0.310278, 0.233401]),
])  # fmt: skip
def test_ensembles_by_hand(
    kind: str, weights: list[float], bias: list[float], logits: list[float] | None, probabilities: list[float]
) -> None:
    policy: Any = get_policy(f"ztw-{kind}")
    policy._log_weights = torch.tensor([[0, 0], weights], dtype=F64)
    policy._bias = torch.tensor([[0, 0, 0], bias], dtype=F64)
    answers = policy.answers(LOGITS)
    np.testing.assert_allclose(answers[1, 0].softmax(-1), probabilities, atol=1e-6)
    if logits is not None:
        np.testing.assert_allclose(answers[1, 0], logits, atol=1e-6)
    torch.testing.assert_close(answers[2], LOGITS[2].float())  # the final exit has no ensemble


@pytest.mark.parametrize("kind", ["geometric", "arithmetic"])
def test_the_fit_lowers_the_loss_and_is_repeatable(kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(4, (400,), generator=generator)
    logits = 3 * torch.randn(5, 400, 4, generator=generator)
    logits[:, torch.arange(400), labels] += 2

    def loss(answers: torch.Tensor) -> float:
        return float(torch.nn.functional.cross_entropy(answers[:-1].flatten(0, 1), labels.repeat(4)))

    first, again = (get_policy(f"ztw-{kind}", steps=300).fit(logits, labels) for _ in range(2))
    start = get_policy(f"ztw-{kind}", steps=1, lr=1e-9).fit(logits, labels)
    assert torch.equal(first.answers(logits), again.answers(logits))
    assert loss(first.answers(logits)) < loss(start.answers(logits)) - 0.01
    assert loss(first.answers(logits)) < loss(logits)


def test_the_previous_logits_are_normalised() -> None:
    head = ZTWHead(8, 4, 7, 1)
    assert head.norm is not None
    normalised = head.norm(torch.tensor([2.0, 0, 0, -2]))
    torch.testing.assert_close(normalised, torch.tensor([1.414210, 0, 0, -1.414210]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("class_tokens", [0, 1, 2])
@pytest.mark.parametrize("detach", [True, False])
def test_the_cascade_reads_the_exit_before(class_tokens: int, detach: bool) -> None:
    torch.manual_seed(0)
    options: Any = {"detach": detach, "layers": 2, "hidden": 5}
    heads = ExitHeads((1, 2), [ZTWHead(8, 4, 3, class_tokens, cascade=cascade, **options) for cascade in (False, True)])
    values = torch.randn(2, 3, 3, 8) if class_tokens == 0 else torch.randn(2, class_tokens + 9, 8)
    tokens = {block: Tokens(values, 3, class_tokens) for block in heads.exits}
    outputs = heads(tokens)
    changed = heads({**tokens, 1: Tokens(values + 1, 3, class_tokens)})
    assert not torch.equal(outputs.logits[1], changed.logits[1])
    outputs.logits[1].sum().backward()
    gradients = [parameter.grad is not None for parameter in heads.heads[0].parameters()]
    assert all(gradients) if not detach else not any(gradients)
    with pytest.raises(ValueError, match="first exit"):
        heads.heads[1](tokens[2])


@pytest.mark.parametrize(("classes", "first", "later"), [(100, 76_800, 86_800), (1000, 768_000, 1_768_000)])
def test_macs_of_the_heads(classes: int, first: int, later: int) -> None:
    cost = price("vit_base_patch16_224", ZTW(), (2, 3, 4), classes)
    assert cost.heads[:3] == (first, later, later)

"""Products of experts and caching: vectors computed by hand, and what the paper promises of caching."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from methods.policies import get_policy
from results.stats.monotonicity import share_that_falls
from tests.methods.test_policies import online

LOGITS = torch.tensor([[2.0, 1.0, -1.0], [1.0, 3.0, -1.0], [0.5, 2.0, 1.0]], dtype=torch.float64)[:, None]


@pytest.mark.parametrize(("name", "weights", "expected"), [
    ("poe-relu", "equal", [[0.666667, 0.333333, 0], [0.4, 0.6, 0], [0.142857, 0.857143, 0]]),
    ("poe-relu", "depth", [[0.557507, 0.442493, 0], [0.377221, 0.622779, 0], [0.131512, 0.868488, 0]]),
    (
        "poe-softmax", "equal",
        [[0.705385, 0.259496, 0.035119], [0.268455, 0.729736, 0.001809], [0.075794, 0.923364, 0.000842]],
    ),
])  # fmt: skip
def test_products_by_hand(name: str, weights: str, expected: list[list[float]]) -> None:
    policy = get_policy(name, weights=weights).fit(LOGITS)
    np.testing.assert_allclose(policy.answers(LOGITS)[:, 0].softmax(-1), expected, atol=1e-6)


def test_a_product_without_classes_falls_back_to_the_exits_own_softmax() -> None:
    logits = torch.tensor([[[1.0, -1.0]], [[-1.0, 1.0]]])
    answers = get_policy("poe-relu").answers(logits)
    torch.testing.assert_close(answers[0].softmax(-1), torch.tensor([[1.0, 0.0]]))
    torch.testing.assert_close(answers[1].softmax(-1), logits[1].softmax(-1))
    assert get_policy("poe-relu", threshold=1.0).choose(logits)[1].tolist() == [1]


def test_products_of_large_logits_do_not_overflow() -> None:
    logits = torch.full((40, 2, 3), 1e30)
    logits[..., 0] *= 2
    assert torch.isfinite(get_policy("poe-relu").answers(logits)[:, :, 0]).all()


def test_weights_by_depth_require_the_number_of_exits() -> None:
    with pytest.raises(ValueError, match="fit"):
        get_policy("poe-softmax", weights="depth", threshold=0.5).choose(LOGITS)


def test_caching_answers_with_the_most_confident_exit() -> None:
    """The second exit is less confident than the first, the third is more confident; of equals, the later one counts."""
    logits = torch.tensor([[[0.0, 2.0, 0.0]], [[0.0, 0.0, 1.0]], [[3.0, 0.0, 0.0]], [[0.0, 0.0, 3.0]]])
    policy = get_policy("caching", threshold=1.0)
    assert policy.answers(logits)[:, 0].argmax(-1).tolist() == [1, 1, 0, 2]
    assert policy.choose(logits[:2])[1].tolist() == online(policy, logits[:2])[1].tolist() == [1]


def test_caching_takes_the_early_exits_of_confidence() -> None:
    logits = 2 * torch.randn(5, 500, 6, generator=torch.Generator().manual_seed(0))
    for threshold in (0.2, 0.6, 0.9):
        exits, _ = get_policy("caching", threshold=threshold).choose(logits)
        assert torch.equal(exits, get_policy("confidence", threshold=threshold).choose(logits)[0])


def test_caching_never_falls_in_confidence_and_the_share_that_falls_is_counted() -> None:
    logits = 2 * torch.randn(5, 500, 6, generator=torch.Generator().manual_seed(1))
    largest = get_policy("caching").answers(logits).softmax(-1).amax(-1).numpy()
    assert share_that_falls(largest, [1e-6]) == [0.0]
    own = logits.softmax(-1).amax(-1).numpy()
    falls = share_that_falls(own)
    assert falls == sorted(falls, reverse=True)
    assert falls[0] > 0.5
    # A fall from any earlier exit counts, not only from the one before.
    assert share_that_falls(np.array([[0.9], [0.85], [0.75]]), [0.1, 0.2]) == [1.0, 0.0]

"""Boosted heads by hand, and gradients in equilibrium."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from benchmark.measure.price import price
from benchmark.registry import card, configured
from methods.heads.boosted import BoostedHead
from methods.model import ExitHeads, backbone_pass
from methods.tokens import Tokens

LOGITS = torch.tensor([[2.0, 1, -1], [1, 3, -1], [0.5, 2, 1]])


class Fixed(nn.Module):
    """A head with fixed logits."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits[None].clone())

    def forward(self, tokens: Tokens) -> tuple[torch.Tensor, torch.Tensor]:
        return self.logits, self.logits


def boosted(position: int) -> Any:
    head: Any = BoostedHead(8, 3, 3, 1, head="mlp", options={}, head_version=1, first=position == 0)
    head.inner = Fixed(LOGITS[position])
    return head


def test_sums_by_hand_without_gradients_into_earlier_exits() -> None:
    heads = ExitHeads((1, 2, 3), [boosted(k) for k in range(3)])
    tokens = Tokens(torch.zeros(1, 10, 8), 3, 1)
    outputs = heads(dict.fromkeys(heads.exits, tokens)).logits
    expected = torch.tensor([[2, 1, -1], [2, 3.5, -1.5], [1.5, 3.75, 0.25]])
    torch.testing.assert_close(torch.cat(outputs), expected)
    torch.testing.assert_close(
        outputs[1][0].softmax(-1), torch.tensor([0.181426, 0.813095, 0.005479]), atol=1e-6, rtol=0
    )
    torch.testing.assert_close(
        outputs[2][0].softmax(-1), torch.tensor([0.092814, 0.880594, 0.026592]), atol=1e-6, rtol=0
    )
    outputs[2].sum().backward()
    assert [head.inner.logits.grad is not None for head in heads.heads] == [False, False, True]


def test_the_gradient_at_a_block_is_the_mean_over_the_exits_after_it() -> None:
    backbone_card = card("backbone", "vit_nano_patch4_28")
    torch.manual_seed(0)
    backbone = backbone_card.load()(backbone_card.architecture, 5)
    images, exits = torch.randn(2, 1, 28, 28), (3, 6, 9)
    reference = backbone_pass(backbone, images, exits)

    def gradient(block: int, exit_index: int | None, *, equilibrium: bool) -> torch.Tensor:
        """The gradient of one exit's loss, or of the sum over all, with respect to the weights of a block."""
        passed = backbone_pass(backbone, images, exits, equilibrium=equilibrium)
        losses = [*(passed.tokens[number].values.square().mean() for number in exits), passed.logits.square().mean()]
        loss = sum(losses) if exit_index is None else losses[exit_index]
        return torch.autograd.grad(loss, backbone.model.blocks[block - 1].mlp.fc1.weight)[0]

    for block, later in ((2, (0, 1, 2, 3)), (5, (1, 2, 3)), (8, (2, 3)), (11, (3,))):
        each = [gradient(block, k, equilibrium=False) for k in later]
        torch.testing.assert_close(gradient(block, None, equilibrium=True), sum(each) / len(each), rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(backbone_pass(backbone, images, exits, equilibrium=True).logits, reference.logits)


def test_boosting_costs_no_macs_and_keeps_the_heads_of_its_base() -> None:
    exits = (4, 6, 8, 10)
    for base in ("vanilla", "lgvit"):
        plain, sums = (
            price("vit_nano_patch4_28", configured("method", name, options), exits, 10)
            for name, options in ((base, {}), ("boosted", {"base": base}))
        )
        assert plain.heads == sums.heads
        assert plain.parameters == sums.parameters


@pytest.mark.parametrize(("options", "parts"), [
    ({"base": "lgvitt"}, ["'lgvitt'", "'lgvit'"]), ({"weight": -1}, ["weight", "-1"]),
])  # fmt: skip
def test_wrong_options_are_errors(options: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        configured("method", "boosted", options)
    assert all(part in str(error.value) for part in parts)


def test_a_head_that_shares_parts_with_other_exits_is_refused() -> None:
    with pytest.raises(ValueError, match="linear"):
        BoostedHead(8, 3, 3, 1, head="linear", options={"shared_pooler": True}, head_version=1, first=False)

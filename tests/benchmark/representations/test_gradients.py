"""Cosines of gradients on made-up tensors and on a small jointly trained model."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from benchmark import registry
from benchmark.representations.gradient_agreement import cosine, gradient_cosines, gradient_refusal
from methods.heads.head import ExitHead
from methods.model import ExitHeads, MultiExitModel
from methods.tokens import Tokens
from results.record import StageRef
from tests.results.builders import done_record, run_spec


def test_only_parameters_with_both_gradients_count() -> None:
    right, up = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    assert cosine([right, right], [2 * right, None]) == 1
    assert cosine([right, up], [-right, -up]) == pytest.approx(-1)
    assert cosine([right, None], [up, right]) == 0
    assert cosine([right, right], [right, up]) == pytest.approx(0.5)
    assert cosine([0 * right], [right]) == 0


def test_an_exit_that_is_the_final_classifier_agrees_with_it_and_its_opposite_conflicts() -> None:
    card = registry.card("backbone", "vit_nano_patch4_28")
    torch.manual_seed(0)
    backbone = card.load()({**card.architecture, "depth": 2}, 2)

    class Copy(ExitHead):
        """The final classifier, on the tokens after the last block, times a sign."""

        sign = 1.0

        def forward(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
            return self.sign * backbone.classify(tokens), tokens.values

    heads = [Copy(card.dims[0], 2, card.grids[0], 1) for _ in range(2)]
    heads[1].sign = -1.0
    model = MultiExitModel(backbone, ExitHeads((2, 2), heads)).eval()
    agree, conflict = gradient_cosines(model, torch.randn(1, 1, 28, 28), torch.tensor([1]))
    assert agree == pytest.approx(1, abs=1e-5)
    assert conflict == pytest.approx(-1, abs=1e-5)  # of two classes, the opposite one wants the opposite logits


@pytest.mark.parametrize(
    ("stages", "exits", "refused"),
    [
        (("finetune", "exits"), (1,), True),
        (("joint",), (1,), False),
        (("finetune", "joint"), (1,), False),
        (("joint", "exits"), (1,), True),
        (("finetune",), (), True),
    ],
)
def test_gradients_are_compared_where_heads_and_backbone_train_together(
    stages: tuple[str, ...], exits: tuple[int, ...], refused: bool
) -> None:
    references = tuple(
        StageRef(stage=kind, key="0" * 16, code={}, seconds=1, shared_pass=1, artifacts=()) for kind in stages
    )
    record = done_record(spec=run_spec(exits=exits), stages=references)
    assert bool(gradient_refusal(record)) == refused
    assert record.run_id in (gradient_refusal(record) or record.run_id)

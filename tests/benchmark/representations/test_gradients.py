"""Cosines of gradients on made-up tensors, on a small model, and on a jointly trained run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import Tensor

from benchmark import registry
from benchmark.execution.config import ExecutionConfig
from benchmark.execution.task import run_plan
from benchmark.grid.load import grid_of
from benchmark.progress import Reporter
from benchmark.representations.gradient_agreement import (
    MINIBATCH,
    cosine,
    gradient_cosines,
    gradient_refusal,
    measure_gradients,
    minibatches,
)
from benchmark.representations.subject import Subject
from benchmark.stages.plan import make_plan
from datasets.loading import Batch
from methods.heads.head import ExitHead
from methods.model import ExitHeads, MultiExitModel
from methods.tokens import Tokens
from results.record import StageRef
from results.store.folder import Store
from tests.grids import bundled, tiny_grid
from tests.results.builders import done_record, run_spec


def test_only_parameters_with_both_gradients_count() -> None:
    right, up = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    assert cosine([right, right], [2 * right, None]) == 1
    assert cosine([right, up], [-right, -up]) == pytest.approx(-1)
    assert cosine([right, None], [up, right]) == 0
    assert cosine([right, right], [right, up]) == pytest.approx(0.5)
    assert cosine([0 * right], [right]) == 0


@pytest.mark.parametrize("size", [40, 100])
def test_minibatches_have_their_size_whatever_that_of_the_batches(size: int) -> None:
    """Images of 224 pixels are loaded 40 at a time, small ones 500."""
    numbers = torch.arange(200)
    batches = [Batch(part[:, None].float(), part, part) for part in numbers.split(size)]
    images, labels = zip(*minibatches(batches), strict=True)
    assert [len(piece) for piece in images] == [MINIBATCH, MINIBATCH, MINIBATCH, 200 - 3 * MINIBATCH]
    assert torch.equal(torch.cat(images)[:, 0].long(), numbers)
    assert torch.equal(torch.cat(labels), numbers)


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


def test_a_jointly_trained_run_is_measured_on_its_own_images_and_weights(tmp_path: Path) -> None:
    joint = {"name": "lgvit", "set": {"regime": "joint"}}
    grid = grid_of(
        tiny_grid(methods=[joint], datasets=[bundled(train=80)], recipes={"joint": {"epochs": 1}}),
        tmp_path / "grid.yaml",
    )
    store = Store(tmp_path / "results")
    store.prepare()
    config = ExecutionConfig(results=store.root, session="s", device="cpu", threads=1, loader_processes=0)
    run_plan(make_plan(grid, store), config, Reporter(Console(quiet=True)))
    record = store.done_record(store.run_ids()[0])
    subject = Subject(store, record, torch.device("cpu"), None)
    name, measured = measure_gradients(subject)
    assert store.stages("gradients") == [name]
    cosines = {row.block: row.value for row in measured.rows if row.measure == "gradient-cosine"}
    conflicts = {row.block: row.value for row in measured.rows if row.measure == "gradient-conflicts"}
    assert set(cosines) == set(conflicts) == {3, 7}
    # Two minibatches, so half of them may conflict.
    for block, value in cosines.items():
        assert -1 <= value <= 1
        assert conflicts[block] in (0, 0.5, 1)
        assert value < 0 if conflicts[block] == 1 else value > 0 if conflicts[block] == 0 else True
    assert cosines[7] > cosines[3]  # the deeper exit shares more with the final one

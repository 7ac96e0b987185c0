"""The learning rate is a function of the step; biases, norms and positions have no weight decay."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmark.registry import table
from benchmark.seeds import seed_for
from benchmark.training.optimizer import learning_rate, make_optimizer
from results.spec import Recipe


@given(st.sampled_from(["cosine", "linear", "constant"]), st.floats(0, 0.9), st.integers(2, 500))
def test_the_learning_rate_warms_up_and_decays(schedule: str, warmup: float, total: int) -> None:
    recipe = Recipe(epochs=1, lr=0.1, warmup=warmup, schedule=schedule)  # type: ignore[arg-type]
    rates = [learning_rate(recipe, step, total) for step in range(total)]
    assert all(0 < rate <= 0.1 + 1e-12 for rate in rates)
    peak = rates.index(max(rates))
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


def test_known_rates() -> None:
    cosine = Recipe(epochs=1, lr=1.0)
    assert [learning_rate(cosine, step, 4) for step in (0, 2, 4)] == pytest.approx([1.0, 0.5, 0.0])
    warm = Recipe(epochs=1, lr=1.0, warmup=0.5, schedule="linear")
    assert [learning_rate(warm, step, 8) for step in (0, 3, 4, 6)] == pytest.approx([0.2, 0.8, 1.0, 0.5])


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_norms_biases_positions_and_class_tokens_do_not_decay(optimizer: Any) -> None:
    card = table("backbone")["vit_nano_patch4_28"]
    backbone = card.load()(card.architecture, 10)
    decayed, undecayed = make_optimizer(backbone, Recipe(epochs=1, lr=0.1, optimizer=optimizer)).param_groups
    ids = {id(parameter): name for name, parameter in backbone.named_parameters()}
    spared = {ids[id(parameter)] for parameter in undecayed["params"]}
    assert undecayed["weight_decay"] == 0
    assert decayed["weight_decay"] == 0.05
    assert {"model.pos_embed", "model.cls_token", "model.norm.weight", "model.head.bias"} <= spared
    assert all(parameter.ndim > 1 for parameter in decayed["params"])
    assert len(spared) + len(decayed["params"]) == len(ids)


def test_muon_moves_a_matrix_by_equal_singular_values_and_a_bias_as_adam_does() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(8, 8)
    before = {name: parameter.detach().clone() for name, parameter in layer.named_parameters()}
    optimizer = make_optimizer(layer, Recipe(epochs=1, lr=0.1, weight_decay=0, optimizer="muon"))
    layer.weight.grad, layer.bias.grad = torch.randn(8, 8), torch.randn(8)
    optimizer.step()
    step = torch.linalg.svdvals(before["weight"] - layer.weight.detach()) / (0.1 * 0.2 * 8**0.5)
    assert 0.5 < step.min() <= step.max() < 1.5  # five iterations bring singular values near 1
    torch.testing.assert_close((before["bias"] - layer.bias).abs(), torch.full((8,), 0.1), atol=1e-4, rtol=0)


def test_a_recipe_keeps_its_key_unless_it_names_another_optimizer_than_adamw() -> None:
    recipe = Recipe(epochs=1, lr=0.1)
    assert "optimizer" not in recipe.model_dump()
    muon = recipe.model_copy(update={"optimizer": "muon"})
    assert Recipe.model_validate(muon.model_dump()) == muon
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


def test_seeds_depend_on_every_part_and_on_nothing_else() -> None:
    seeds = [
        seed_for("a"),
        seed_for("b"),
        seed_for("a", 0),
        seed_for("a", "0"),
        seed_for("a", 0, 1),
        seed_for("a", 1, 0),
    ]
    assert len(set(seeds)) == len(seeds)
    torch.manual_seed(1)
    assert seed_for("a", 0) == seeds[2]
    assert all(0 <= seed < 2**63 for seed in seeds)

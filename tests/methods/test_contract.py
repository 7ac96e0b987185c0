"""The contract of everything registered: each method trains on each backbone, and only what should move moves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmark.grid import load_grid
from benchmark.measure.cost import cost_table
from benchmark.pipeline.exits import build_heads, exits_learner, frozen_pass
from benchmark.pipeline.finetune import build_backbone
from benchmark.pipeline.inputs import Inputs, read_inputs
from benchmark.pipeline.score import score_split
from benchmark.pipeline.stages import Stage, run_stages
from benchmark.registry import table
from benchmark.spec import RunSpec
from methods.model import MultiExitModel

CPU = torch.device("cpu")


def run_of(method: str, backbone: str, folder: Path) -> RunSpec:
    """A small run of one method on one backbone."""
    grid = folder / "grid.yaml"
    grid.write_text(
        f"""
name: contract
backbones: [{backbone}]
datasets: [{{name: fashion-mnist-mini, set: {{train: 40, val: 20, test: 30}}}}]
methods: [{method}]
exits: [{{name: uniform, set: {{count: 3}}}}]
recipes: {{exits: {{epochs: 1, batch_size: 20}}}}
"""
    )
    (run,) = load_grid(grid).runs
    return run


PAIRS = [(method, backbone) for method in table("method") for backbone in table("backbone")]


@pytest.mark.parametrize(("method", "backbone"), PAIRS)
def test_a_method_keeps_the_contract(method: str, backbone: str, tmp_path: Path) -> None:
    run = run_of(method, backbone, tmp_path)
    inputs = read_inputs(run.train, None)
    frozen = build_backbone(run.train).eval().requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in frozen.state_dict().items()}
    stage = run_stages(run).exits
    heads = build_heads(run.train)
    if stage is not None:
        heads = trained_for_two_steps(stage, inputs, frozen)

    assert all(torch.equal(tensor, before[name]) for name, tensor in frozen.state_dict().items())
    model = MultiExitModel(frozen, heads).eval()
    exits = len(run.train.exits) + 1
    scores = score_split(model, inputs, "test", CPU)
    assert scores.logits.shape == (exits, 30, 10)
    assert torch.isfinite(scores.logits).all()

    costs = cost_table(model, table("backbone")[backbone])
    assert len(costs.heads) == len(costs.cumulative) == exits
    assert costs.cumulative[-1] == costs.stem + sum(costs.blocks) + sum(costs.heads)
    assert costs.baseline == costs.stem + sum(costs.blocks) + costs.heads[-1]
    assert all(head > 0 for head in costs.heads)
    assert costs.parameters == sum(p.numel() for p in model.parameters())


def trained_for_two_steps(stage: Stage, inputs: Inputs, frozen: torch.nn.Module) -> torch.nn.Module:
    learner = exits_learner(stage, inputs, CPU)
    start = {name: tensor.clone() for name, tensor in learner.module.named_parameters()}
    run_frozen = frozen_pass(frozen, [stage])  # type: ignore[arg-type]
    for batch in inputs.training(learner.recipe, "exits", 0, 0, 0):
        learner.update(batch, run_frozen(batch))
    assert learner.step == 2
    for name, parameter in learner.module.named_parameters():
        assert parameter.grad is not None, f"{name} got no gradient"
        assert not torch.equal(parameter, start[name]), f"{name} did not move"
    assert all(parameter.grad is None for parameter in frozen.parameters())
    assert learner.history[0]["total"] > 0
    return learner.module.eval()


def test_lgvits_heads_are_the_authors_for_2_4_and_8_exits() -> None:
    lgvit = table("method")["lgvit"].load()()
    shown = {
        count: " ".join(
            f"R{choice.options['stride']}" if choice.name == "gah" else "A" if choice.options["kernel"] else "B"
            for choice in lgvit.heads(count)
        )
        for count in (2, 4, 8)
    }
    assert shown == {2: "A R2", 4: "A B R2 R3", 8: "A A B B R2 R2 R3 R3"}


def test_lph_goes_to_the_lower_half() -> None:
    lgvit = table("method")["lgvit"].load()()
    for count in range(1, 12):
        names = [choice.name for choice in lgvit.heads(count)]
        assert names == ["lph"] * ((count + 1) // 2) + ["gah"] * (count // 2)


def test_the_switch_for_the_feature_terms_changes_the_loss_alone() -> None:
    lgvit = table("method")["lgvit"].load()
    plain, featured = lgvit(), replace(lgvit(), feature_terms=True)
    assert plain.heads(8) == featured.heads(8)
    assert plain.stages()[0].loss.options["heterogeneous_weight"] == 0
    assert featured.stages()[0].loss.options["heterogeneous_weight"] == 0.01


def test_methods_share_the_head_that_they_share(tmp_path: Path) -> None:
    """A head's first weights depend on its block and kind, not on the method around it."""
    lgvit = build_heads(run_of("lgvit", "vit_nano_patch4_28", tmp_path).train)
    local = build_heads(run_of("homogeneous-local", "vit_nano_patch4_28", tmp_path).train)
    for first, second in zip(lgvit.heads[0].parameters(), local.heads[0].parameters(), strict=True):
        assert torch.equal(first, second)

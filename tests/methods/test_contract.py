"""The contract of everything registered: each method trains on each backbone, and only the intended parameters change."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from benchmark.errors import UserError
from benchmark.evaluation.scores import score_split
from benchmark.grid.load import find_grid, load_grid
from benchmark.measure.price import price
from benchmark.registry import table
from benchmark.seeds import seed_for
from benchmark.stages.graph import method_of, run_stages
from benchmark.stages.stage import Stage
from benchmark.training.backbone import build_backbone
from benchmark.training.exits import exits_learner, frozen_pass
from benchmark.training.finetune import finetune_learner
from benchmark.training.heads import build_heads
from benchmark.training.inputs import Inputs, read_inputs
from benchmark.training.joint import joint_learner
from benchmark.training.loop import Learner
from benchmark.training.reduced import reduced
from methods.api import Component
from methods.backbones.backbone import BlockBackbone
from methods.model import ExitHeads, MultiExitModel
from methods.official_config import LGVIT
from results.record import CostTable
from results.spec import RunSpec

CPU = torch.device("cpu")
REGIMES = ["joint", "alternating", "mixed", "alternating-frozen"]
# One backbone per family; `tests/methods/test_backbones.py` tests all.
FAMILIES = [
    "vit_nano_patch4_28",
    "deit_nano_distilled_patch4_28",
    "swin_nano_patch2_window7_28",
    "vit_nano_patch4_28_idle_token",
]


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
recipes:
  finetune: {{epochs: 1, batch_size: 20}}
  joint: {{epochs: 1, batch_size: 20}}
  exits: {{epochs: 1, batch_size: 20}}
"""
    )
    (run,) = load_grid(grid).runs
    return run


@pytest.mark.parametrize("backbone", FAMILIES)
@pytest.mark.parametrize("method", table("method"))
@pytest.mark.slow
def test_a_method_keeps_the_contract(method: str, backbone: str, tmp_path: Path) -> None:
    if method in ("tome", "evit", "two-resolutions", "lower-resolution") and backbone.startswith("swin"):
        with pytest.raises(UserError, match=rf"{method}.*'swin'"):
            run_of(method, backbone, tmp_path)
    elif method == "token-exit":  # for segmentation; see `tests/benchmark/test_token_exit_run.py`
        with pytest.raises(UserError, match=r"no form for classification|'swin' needs its grid"):
            run_of(method, backbone, tmp_path)
    else:
        check_contract(run_of(method, backbone, tmp_path))


@pytest.mark.parametrize("backbone", FAMILIES[:3])
@pytest.mark.parametrize("regime", REGIMES)
def test_every_regime_keeps_the_contract(regime: str, backbone: str, tmp_path: Path) -> None:
    check_contract(run_of(f"{{name: lgvit, set: {{regime: {regime}}}}}", backbone, tmp_path))


@pytest.mark.parametrize(("method", "regime", "backbone"), [
    ("ztw", "frozen", FAMILIES[1]), ("berxit", "alternating", FAMILIES[0]), ("boosted", "joint", FAMILIES[0]),
])  # fmt: skip
def test_exits_above_merged_tokens_keep_the_contract(method: str, regime: str, backbone: str, tmp_path: Path) -> None:
    check_contract(run_of(f"{{name: {method}, set: {{merge: 4, regime: {regime}}}}}", backbone, tmp_path))


@pytest.mark.parametrize("backbone", FAMILIES[:3])
def test_lgvits_heads_with_gates_keep_the_contract(backbone: str, tmp_path: Path) -> None:
    check_contract(run_of("{name: jei-dnn, set: {base: lgvit}}", backbone, tmp_path))


def check_contract(run: RunSpec) -> None:
    """Two optimizer steps of every training stage, then scores and costs."""
    inputs = read_inputs(run.train, None)
    stages = run_stages(run)
    last = stages.training[-1]
    backbone: BlockBackbone = build_backbone(last.run.train, last.blocks)
    heads = ExitHeads((), ())
    for stage in stages.training:
        if stage.kind == "finetune":
            backbone = _finetuned(stage, inputs)
        elif stage.kind == "joint":
            learner = joint_learner(stage, backbone, inputs, CPU)
            two_steps(learner, inputs, stage)
            heads = learner.module.exit_heads  # type: ignore[assignment]
        else:
            frozen = reduced(backbone, stage.reduction).eval().requires_grad_(False)
            frozen.zero_grad()
            before = {name: tensor.clone() for name, tensor in frozen.state_dict().items()}
            learner = exits_learner(stage, heads if heads.exits else None, inputs, CPU)
            two_steps(learner, inputs, stage, frozen)
            assert all(torch.equal(tensor, before[name]) for name, tensor in frozen.state_dict().items())
            assert all(parameter.grad is None for parameter in frozen.parameters())
            heads = learner.module  # type: ignore[assignment]

    if run.train.exits and not heads.exits:  # no stage trains them, because they have no weights
        heads = build_heads(run.train)
        assert not list(heads.parameters())
    model = MultiExitModel(reduced(backbone, stages.scores.reduction), heads).eval()
    exits = len(run.train.exits) + 1
    scores = score_split(model, inputs, "test", CPU)
    assert scores.logits.shape == (exits, 30, 10)
    assert torch.isfinite(scores.logits).all()

    costs = _costs(run)
    assert len(costs.heads) == len(costs.cumulative) == exits
    assert costs.cumulative[-1] == costs.stem + sum(costs.blocks) + sum(costs.heads)
    reduction = method_of(run.train).token_reduction(table("backbone")[run.train.backbone])
    if len(costs.blocks) == costs.depth and run.train.replacement is None and reduction is None:
        assert costs.baseline == costs.stem + sum(costs.blocks) + costs.heads[-1]
    else:
        assert costs.baseline > costs.cumulative[0]
    assert all(head > 0 for head in costs.heads)
    assert costs.parameters == sum(p.numel() for p in model.parameters())


def _finetuned(stage: Stage, inputs: Inputs) -> BlockBackbone:
    """The backbone after two steps of fine-tuning, which are made once for the methods that share the stage."""
    if stage.key not in _FINETUNED:
        learner = finetune_learner(stage, inputs, None, CPU)
        two_steps(learner, inputs, stage)
        learner.module.zero_grad()
        _FINETUNED[stage.key] = learner.module  # type: ignore[assignment]
    return copy.deepcopy(_FINETUNED[stage.key])


_FINETUNED: dict[str, BlockBackbone] = {}


def _costs(run: RunSpec) -> CostTable:
    """The cost table of a run. Methods with the same heads and the same backbone have the same model, which is counted once."""
    card, method = table("backbone")[run.train.backbone], method_of(run.train)
    parts = (method.blocks(card), method.replacement_backbone(card), method.token_reduction(card))
    model = (card, *parts, method.heads(run.train.exits, card))
    if (key := repr(model)) not in _COSTS:
        _COSTS[key] = price(run.train.backbone, method, run.train.exits, 10)
    return _COSTS[key]


_COSTS: dict[str, CostTable] = {}


def two_steps(learner: Learner, inputs: Inputs, stage: Stage, frozen: BlockBackbone | None = None) -> None:
    """Two optimizer steps: every trainable parameter gets gradients and changes."""
    start = {name: tensor.clone() for name, tensor in learner.module.named_parameters()}
    run_frozen = frozen_pass(frozen, [stage]) if frozen is not None else lambda batch: None
    with_gradient: set[str] = set()
    for batch in inputs.training(learner.recipe, stage.kind, 0, 0, 0):
        if learner.step == 2:
            break
        torch.manual_seed(seed_for("frozen", learner.seed, learner.step, 0))
        learner.backward(batch, run_frozen(batch), 0, 1.0)
        with_gradient |= {name for name, parameter in learner.module.named_parameters() if parameter.grad is not None}
        learner.update()
    assert learner.step == 2
    for name, parameter in learner.module.named_parameters():
        assert name in with_gradient, f"{name} got no gradient"
        assert not torch.equal(parameter, start[name]), f"{name} did not change"


VIT, SWIN = table("backbone")["vit_base_patch16_224"], table("backbone")["swin_base_patch4_window7_224"]


def test_pabees_exits_have_one_pooler_and_berxits_one_gate(tmp_path: Path) -> None:
    pabee = build_heads(run_of("pabee", "vit_nano_patch4_28", tmp_path).train)
    assert len({id(head.pooler) for head in pabee.in_order}) == 1  # type: ignore[attr-defined]
    assert len({id(head.linears) for head in pabee.in_order}) == 3  # type: ignore[attr-defined]
    swin = run_of("berxit", "swin_nano_patch2_window7_28", tmp_path).train
    gates = {head.dim: head.gate for head in build_heads(swin).in_order}  # type: ignore[attr-defined]
    for head in build_heads(swin).in_order:
        assert head.gate.in_features == head.dim  # type: ignore[attr-defined]
    assert len({id(head.gate) for head in build_heads(swin).in_order}) == len(gates) == 2  # type: ignore[attr-defined]


def test_a_shared_module_is_counted_per_exit_and_its_parameters_once() -> None:
    pooled, alone, gated = (
        price("vit_nano_patch4_28", table("method")[name].load()(), (2, 5, 8), 10)
        for name in ("pabee", "vanilla", "berxit")
    )
    assert pooled.cumulative == alone.cumulative
    assert alone.heads_parameters - pooled.heads_parameters == 2 * (32 * 32 + 32)
    assert [more - less for more, less in zip(gated.heads, alone.heads, strict=True)] == [32, 32, 32, 0]
    assert gated.heads_parameters - alone.heads_parameters == 32 + 1


@pytest.mark.parametrize(("method", "vit", "swin"), [
    ("lgvit", range(4, 12), (4, 7, 10, 13, 16, 19, 22, 23)),
    ("sdn", (2, 4, 5, 7, 9, 11), (4, 7, 11, 14, 18, 22)),
    ("pabee", range(1, 12), range(1, 24)),
    ("pcee-port", range(1, 12), (4, 7, 10, 13, 16, 19, 22, 23)),
    ("vit-ee", (6,), (12,)),
    ("branchynet", (1, 4), (1, 8)),
    ("ztw", range(2, 12), range(2, 24)),
    ("jei-dnn", range(1, 12), range(1, 24)),
    ("token-exit", (6, 8), (8, 16)),
])  # fmt: skip
def test_published_exits(method: str, vit: Iterable[int], swin: Iterable[int]) -> None:
    instance = table("method")[method].load()()
    assert instance.published_exits(VIT) == tuple(vit)
    assert instance.published_exits(SWIN) == tuple(swin)


@pytest.mark.parametrize("method", table("method"))
def test_a_methods_own_policy_can_read_its_heads(method: str) -> None:
    instance = table("method")[method].load()()
    policy = table("policy")[instance.policy().name]
    heads = instance.heads((3, 6), VIT)
    assert not heads or policy.reads_gates == any(head.options.get("gate", False) for head in heads)


def layout(method: str, exits: tuple[int, ...], swin: bool = False) -> str:
    """One letter per head: A and B for LPHs with and without depthwise convolution, R and the stride for GAHs."""
    return letters(table("method")[method].load()().heads(exits, SWIN if swin else VIT))


def letters(heads: Iterable[Component]) -> str:
    return " ".join(
        f"R{head.options['stride']}" if head.name == "gah" else "A" if head.options["kernel"] else "B" for head in heads
    )


@pytest.mark.parametrize("method", ["lgvit", "lgvit-official"])
def test_lgvits_heads_equal_the_authors_for_2_4_6_and_8_exits(method: str) -> None:
    layouts = {count: layout(method, tuple(range(12 - count, 12))) for count in (2, 4, 6, 8)}
    assert layouts == {2: "A R2", 4: "A B R2 R3", 6: "A B R2 R2 R3 R3", 8: "A A B B R2 R2 R3 R3"}
    for count, imported in LGVIT.items():
        assert layouts[count] == letters(imported), "the heads of imported checkpoints differ"
    assert layout(method, (4, 7, 10, 13, 16, 19, 22, 23), swin=True) == "A A B B R1 R1 R2 R2"


def test_the_family_is_read_from_the_card_and_not_from_the_tokens() -> None:
    """A ViT without class tokens is not treated as a Swin."""
    pooled = replace(VIT, prefix_tokens=0)
    for method in ("lgvit", "lgvit-official", "vit-ee", "pabee-port"):
        instance = table("method")[method].load()()
        assert instance.published_exits(pooled) == instance.published_exits(VIT)
        assert instance.heads((3, 6), pooled) == instance.heads((3, 6), VIT)
        assert instance.stages(pooled) == instance.stages(VIT)


@pytest.mark.parametrize("grid", ["paper-cifar100", "paper-food101", "paper-imagenet"])
def test_every_method_with_exits_trains_for_equally_many_epochs(grid: str) -> None:
    for run in load_grid(find_grid(grid)).runs:
        epochs = sum(stage.recipe.epochs for stage in run_stages(run).training if stage.recipe)
        assert epochs == (100 if run.train.exits else 50), run.train.method.label


def test_lph_is_in_the_shallow_half() -> None:
    for count in set(range(1, 12)) - {6}:  # the authors give 6 exits 2 LPHs
        kinds = ["R" if name[0] == "R" else "L" for name in layout("lgvit", tuple(range(1, count + 1))).split()]
        assert kinds == ["L"] * ((count + 1) // 2) + ["R"] * (count // 2)


def test_the_official_method_is_lgvit_with_other_options() -> None:
    """Both are one class: LGViT with all options of the official method has the same stages."""
    lgvit, official = (table("method")[name].load() for name in ("lgvit", "lgvit-official"))
    changed = {field.name: getattr(official(), field.name) for field in fields(official)}
    assert lgvit(**changed).stages(VIT) == official().stages(VIT)
    assert {name for name, value in changed.items() if getattr(lgvit(), name) != value} == {
        "regime", "joint_weights", "teacher_norm", "reduction", "kd_divisor", "feature_divisor",
        "detach_group_teacher", "heads_always", "frozen_mode", "alternate_by",
    }  # fmt: skip


def test_official_swin_has_plain_distillation_weighted_by_depth() -> None:
    (_, stage) = table("method")["lgvit-official"].load()().stages(SWIN)
    plain = {"heterogeneous_weight": 0.0, "homogeneous_weight": 0.0, "exit_weights": "depth", "teacher_norm": "plain"}
    assert plain.items() <= dict(stage.loss.options).items()


def test_methods_with_equal_heads_share_them(tmp_path: Path) -> None:
    """A head's initial weights depend on its block and kind, not on its method."""
    lgvit = build_heads(run_of("lgvit", "vit_nano_patch4_28", tmp_path).train)
    local = build_heads(run_of("homogeneous-local", "vit_nano_patch4_28", tmp_path).train)
    for first, second in zip(lgvit.heads[0].parameters(), local.heads[0].parameters(), strict=True):
        assert torch.equal(first, second)


def test_all_regimes_train_for_the_same_number_of_epochs(tmp_path: Path) -> None:
    """Regimes with one stage add the epochs of the second."""
    epochs = {}
    for method in ("lgvit", "lgvit-official", *(f"{{name: lgvit, set: {{regime: {r}}}}}" for r in REGIMES)):
        stages = run_stages(run_of(method, "vit_nano_patch4_28", tmp_path)).training
        epochs[method] = sum(stage.recipe.epochs for stage in stages if stage.recipe is not None)
    longer = run_stages(run_of("{name: static, set: {longer: true}}", "vit_nano_patch4_28", tmp_path)).training
    assert set(epochs.values()) == {2} == {stage.recipe.epochs for stage in longer if stage.recipe is not None}


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_a_frozen_backbone_drops_paths_only_in_training_mode(mode: str, tmp_path: Path) -> None:
    """Swin-B has drop-path, which the official code keeps active in the frozen teacher (D31)."""
    run = run_of(f"{{name: lgvit, set: {{frozen_mode: {mode}}}}}", "swin_nano_patch2_window7_28", tmp_path)
    card = table("backbone")["swin_nano_patch2_window7_28"]
    torch.manual_seed(0)
    backbone = card.load()({**card.architecture, "drop_path_rate": 0.5}, 10).train().requires_grad_(False)
    (stage,) = [stage for stage in run_stages(run).training if stage.kind == "exits"]
    run_frozen = frozen_pass(backbone, [stage])
    batch = next(iter(read_inputs(run.train, None).scoring("test")))
    passes = [run_frozen(batch).logits for _ in range(2)]
    assert torch.equal(*passes) is (mode == "eval")
    assert not any(logits.requires_grad for logits in passes)

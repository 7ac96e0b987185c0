"""The cost table equals the reference integers and torch's own counter."""

from __future__ import annotations

import functools
import json
from itertools import accumulate

import pytest
import torch
from click.testing import CliRunner
from timm.layers import set_fused_attn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmark.cli.costs import command as costs_command
from benchmark.cli.costs import conventions
from benchmark.measure import price as price_module
from benchmark.measure.cost import UncountedOperatorError, cost_table
from benchmark.measure.price import price
from benchmark.registry import table
from methods.api import BackboneCard, Method
from methods.backbones.cards import truncated
from methods.heads.head import ExitHead
from methods.model import ExitHeads, MultiExitModel
from methods.tokens import Tokens
from tests.conftest import DATA, Command

REFERENCE = json.loads((DATA / "cost_tables.json").read_text(encoding="utf-8"))
CLASSES = (100, 101, 1000)
# Our backbone: (its name in the reference's tables, in its list of models, final and exit classifiers each, LGViT's exits).
BACKBONES = {
    "vit_base_patch16_224": ("ViT-B/16 (197 tokens)", "ViT", 1, tuple(range(4, 12))),
    "deit_base_distilled_patch16_224": ("DeiT-B distilled (198 tokens)", "DeiT", 2, tuple(range(4, 12))),
    "swin_base_patch4_window7_224": ("Swin-B window 7", "Swin", 1, (4, 7, 10, 13, 16, 19, 22, 23)),
}
# The first six blocks of a Swin have all that the others have: shifted windows, and the patch merging before the fifth.
FIVE_OF_SIX = (1, 2, 3, 4, 5)
SMALL = [name for name, card in table("backbone").items() if card.image_size < 224]
FAMILIES = ("vit_nano_patch4_28", "deit_nano_distilled_patch4_28", "swin_nano_patch2_window7_28")
WITHOUT_OWN_HEADS = ("static", "truncated", "next-smaller", "tome", "evit", "two-resolutions", "lower-resolution")
WITH_HEADS = [name for name in table("method") if name not in WITHOUT_OWN_HEADS]
CONVENTIONS = {"linear_conv": "linconv", "matrix_products": "linconv_matmul"}


def method(name: str) -> Method:
    return table("method")[name].load()()


def build(card: BackboneCard, name: str, exits: tuple[int, ...], classes: int) -> MultiExitModel:
    """A method's model on a backbone; its heads lie in the blocks that the card has."""
    choices = method(name).heads(exits, card)
    heads = [
        table("head")[choice.name].load()(
            card.dims[block - 1], classes, card.grids[block - 1], card.class_tokens, **choice.options
        )
        for block, choice in zip(exits, choices, strict=True)
    ]
    return MultiExitModel(card.load()(card.architecture, classes), ExitHeads(exits, heads))


@pytest.mark.parametrize(("backbone", "classes"), [
    *((backbone, 100) for backbone in BACKBONES), ("vit_base_patch16_224", 101), ("deit_base_distilled_patch16_224", 1000),
])  # fmt: skip
def test_lgvit_has_exactly_the_reference_costs(backbone: str, classes: int) -> None:
    tables, models, classifiers, exits = BACKBONES[backbone]
    card = table("backbone")[backbone]
    counted = {entry["convention"]: entry for entry in conventions(price(backbone, method("lgvit"), exits, classes))}
    # The reference tables are for 100 classes; each further class costs every classifier its width.
    more = [(classes - 100) * classifiers * card.dims[block - 1] for block in exits]
    final = (classes - 100) * classifiers * card.dims[-1]
    for name, reference_name in CONVENTIONS.items():
        golden = REFERENCE["per_exit"][tables][reference_name]
        whole = golden["M0"] + golden["sum_of_8_heads"]
        expected = [row["all_heads_so_far"] for row in golden["lgvit"] if row["block"] in exits] + [whole]
        paid = [*accumulate(more), sum(more) + final]
        assert counted[name]["macs_cumulative"] == [e + m for e, m in zip(expected, paid, strict=True)]
        assert counted[name]["baseline_macs"] == golden["M0"] + final
    model = REFERENCE["models"][f"{models}/LGViT8"][f"K={classes}"]
    assert counted["linear_conv"]["params_total"] == model.get("params_no_pooler", model["params"])
    plain = REFERENCE["backbones"][backbone][f"K={classes}"]
    assert counted["linear_conv"]["baseline_macs"] == plain["linconv"]
    assert counted["linear_conv"]["params_total"] - counted["linear_conv"]["heads_params"] == plain["params"]
    assert method("lgvit-official").heads(exits, card) == method("lgvit").heads(exits, card)


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize(("name", "label"), [("vanilla", "linear"), ("vit-ee", "ViT-EE")])
def test_the_competitors_heads_have_the_reference_costs(backbone: str, name: str, label: str) -> None:
    _, models, _, exits = BACKBONES[backbone]
    card = table("backbone")[backbone]
    if name == "vit-ee":
        exits = (card.depth // 2,)
    elif models != "Swin":
        exits = tuple(range(1, 12))
    costs = price(backbone, method(name), exits, 100)
    model = REFERENCE["models"][f"{models}/{label}{len(exits)}"]["K=100"]
    pooler = 589_824 if models != "Swin" else 0  # the official models contain one that no classifier reads
    assert costs.linear_conv_cumulative[-1] == model["linconv"] - pooler
    assert costs.parameters == model.get("params_no_pooler", model["params"])
    rows = REFERENCE["per_exit"][BACKBONES[backbone][0]]["linconv_matmul"].get("linear11")
    if name == "vanilla" and rows:
        assert list(costs.cumulative[:11]) == [row["all_heads_so_far"] for row in rows][:11]


@pytest.mark.parametrize(("head", "name", "options"), [
    ("conv1_1", "lph", {"kernel": 3}), ("conv2_1", "lph", {"kernel": 0}), ("attention_r1", "gah", {"stride": 1}),
    ("attention_r2", "gah", {"stride": 2}), ("attention_r3", "gah", {"stride": 3}), ("conv_normal", "convolution", {}),
    ("self_attention", "self-attention", {"attention_heads": 12}), ("linear", "linear", {}),
    ("ViT-EE", "vit-ee", {"attention_heads": 12}),
])  # fmt: skip
@pytest.mark.parametrize(("family", "tokens"), [("ViT", 1), ("DeiT", 2)])
def test_every_head_has_the_reference_number_of_parameters(
    family: str, tokens: int, head: str, name: str, options: dict[str, object]
) -> None:
    for classes in CLASSES:
        built = table("head")[name].load()(768, classes, 14, tokens, **options)
        assert sum(p.numel() for p in built.parameters()) == REFERENCE["heads"][family][f"K={classes}"][head]["params"]


@pytest.mark.parametrize("depth", [6, 8, 10])
def test_a_truncated_backbone_saves_its_last_blocks(depth: int) -> None:
    golden = REFERENCE["per_exit"]["ViT-B/16 (197 tokens)"]["linconv_matmul"]
    truncated = table("method")["truncated"].load()(depth=depth)
    costs = price("vit_base_patch16_224", truncated, (), 100)
    assert costs.cumulative == (golden["embed"] + depth * golden["block"] + golden["final_classifier"],)
    assert costs.baseline == golden["M0"]
    assert costs.depth == 12


def test_the_next_smaller_backbone_has_its_own_costs() -> None:
    smaller = table("method")["next-smaller"].load()()
    costs = price("vit_nano_patch4_28", smaller, (), 10)
    alone = price("vit_pico_patch4_28", table("method")["static"].load()(), (), 10)
    assert (costs.cumulative, costs.parameters) == (alone.cumulative, alone.parameters)
    assert costs.baseline == price("vit_nano_patch4_28", table("method")["static"].load()(), (), 10).baseline


def _different_heads(backbone: str) -> list[str]:
    """The first method with each choice of heads: methods differ in their training more often than in their heads."""
    card = table("backbone")[backbone]
    first = {repr(method(name).heads(FIVE_OF_SIX, card)): name for name in reversed(WITH_HEADS)}
    return sorted(first.values(), key=WITH_HEADS.index)


@pytest.mark.parametrize(("backbone", "name"), [
    *((backbone, name) for backbone in FAMILIES for name in _different_heads(backbone)),
    *((backbone, "lgvit") for backbone in SMALL if backbone not in FAMILIES),
])  # fmt: skip
def test_the_table_equals_torchs_own_counter(backbone: str, name: str) -> None:
    """Torch's counter sees attention as matrix products where it is not fused, and counts two FLOPs for a MAC."""
    card = truncated(table("backbone")[backbone], 6)
    model = build(card, name, FIVE_OF_SIX, 10).eval()
    image = torch.zeros(1, card.channels, card.image_size, card.image_size)
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model(image)
    assert cost_table(model, card).cumulative[-1] == counter.get_total_flops() / 2


@pytest.mark.parametrize("fused", [False, True])
def test_swin_costs_the_same_with_and_without_fused_attention(fused: bool) -> None:
    card = truncated(table("backbone")["swin_nano_patch2_window7_28"], 6)
    plain = cost_table(build(card, "vanilla", (2, 4), 10), card)
    try:
        set_fused_attn(fused, experimental=True)
        assert cost_table(build(card, "vanilla", (2, 4), 10), card).cumulative == plain.cumulative
    finally:
        set_fused_attn(True)


# The command


def test_the_command_prints_both_conventions(benchmark_command: Command) -> None:
    arguments = ("costs", "--backbone", "vit_nano_patch4_28", "--method", "lgvit", "--num-classes", 10)
    done = benchmark_command(*arguments, "--format", "json")
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert [entry["convention"] for entry in printed] == ["linear_conv", "matrix_products"]
    assert all(len(entry["macs_cumulative"]) == 9 for entry in printed)
    shown = benchmark_command(*arguments, "--exits", "3,9").stdout
    assert "MACs of one image" in shown
    counted = price("vit_nano_patch4_28", method("lgvit"), (3, 9), 10)
    assert all(f"{macs:,}" in shown for macs in (*counted.cumulative, *counted.linear_conv_cumulative))


@pytest.mark.parametrize(("text", "gates", "token_choice", "policy"), [
    ("tome:r=4", 0, 5.92e6, 0),
    ("tome:r=8", 0, 4.64e6, 0),
    ("tome:r=13", 0, 3.41e6, 0),
    ("tome:r=16", 0, 2.87e6, 0),
    ("evit:keep=0.5", 0, (197 + 100 + 52) * 768, 0),
    ("ztw:merge=8", 0, 4.64e6, 100 * 36),  # the ensemble of exit j has j weights per class, and there are 8 early exits
    ("jei-dnn", 8 * 4, 0, 0),
    ("berxit --policy eenet", 8 * 768, 0, 8 * 102 + 28),  # the score of exit k reads 100 + 2 + k numbers
])  # fmt: skip
@pytest.mark.slow
def test_the_command_shows_gates_matching_and_policies_apart(
    monkeypatch: pytest.MonkeyPatch, text: str, gates: int, token_choice: float, policy: int
) -> None:
    monkeypatch.setattr(price_module, "priced", functools.cache(price_module.priced))  # one count, shown twice

    def shown(*options: str) -> str:
        arguments = f"--backbone vit_base_patch16_224 --num-classes 100 --method {text}".split()
        return CliRunner().invoke(costs_command, [*arguments, *options], catch_exceptions=False).stdout

    first, _ = json.loads(shown("--format", "json"))
    assert (first["gates_macs"], first["policy_macs"]) == (gates, policy)
    assert first["token_choice_macs"] == pytest.approx(token_choice, abs=0.005e6)
    for count in (first["gates_macs"], first["token_choice_macs"], first["policy_macs"]):
        assert not count or f"{count:,} " in shown()


@pytest.mark.parametrize(("changed", "parts"), [
    (("--backbone", "vit_base"), ["--backbone", "'vit_base'"]),
    (("--method", "lgvitt"), ["--method", "'lgvitt'", "'lgvit'"]),
    (("--method", "lgvit:kernel=3"), ["--method", "'kernel'", "'lph_kernel'"]),
    (("--exits", "4,12"), ["--exits", "1 to 11", "4,12"]),
    (("--exits", "papr"), ["--exits", "'papr'"]),
    (("--method", "homogeneous-global:stride=8"), ["stride", "7x7", "8"]),
    (("--method", "truncated:depth=12"), ["truncated", "depth", "12"]),
])  # fmt: skip
def test_the_command_explains_a_mistake(benchmark_command: Command, changed: tuple[str, str], parts: list[str]) -> None:
    arguments = {"--backbone": "vit_nano_patch4_28", "--method": "lgvit", "--num-classes": "10"} | dict([changed])
    done = benchmark_command("costs", *(part for pair in arguments.items() for part in pair))
    assert done.returncode == 2
    assert all(part in done.stderr for part in parts)
    assert "Traceback" not in done.stderr


def test_fused_attention_is_counted() -> None:
    costs = price("vit_base_patch16_224", method("static"), (), 100)
    assert costs.baseline / costs.linear_conv_baseline > 1.04


def test_an_uncounted_operator_is_an_error() -> None:
    class Strange(ExitHead):
        def forward(self, tokens: Tokens) -> tuple[torch.Tensor, torch.Tensor]:
            feature = torch.cumsum(tokens.patches, dim=1).mean(1)
            return feature, feature

    card = table("backbone")["vit_nano_patch4_28"]
    model = MultiExitModel(card.load()(card.architecture, 32), ExitHeads((3,), [Strange(32, 32, 7, 1)]))
    with pytest.raises(UncountedOperatorError, match="cumsum"):
        cost_table(model, card)

"""Dynamic inference against the offline sweep: every policy, registered backbone, precision and batch size."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark import registry
from benchmark.measure.agreement import TOLERANCE, agreement
from benchmark.measure.dynamic import PRECISIONS, Routed, run_dynamic
from benchmark.training.heads import make_head
from methods.backbones.cards import truncated
from methods.model import ExitHeads, MultiExitModel
from methods.policies import POLICIES, get_policy
from methods.policies.policy import ExitPolicy, State
from methods.tasks import get_task
from methods.tokens import Tokens
from tests.methods.test_policies import PARAMETERS

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
CLASSES = 10
SAMPLES = 48
CAUSAL = [name for name in POLICIES if POLICIES[name].load().causal]


def small_model(backbone: str, method: str = "lgvit", count: int = 4) -> MultiExitModel:
    """A registered backbone with a method's heads, random weights and statistics, and logits that differ between images.

    Of a large one the first blocks, up to the patch merging of a Swin.
    """
    card = registry.card("backbone", backbone)
    card = truncated(card, 3) if is_large(backbone) else card
    torch.manual_seed(0)
    blocks = (1, 2) if is_large(backbone) else tuple(round(card.depth * (i + 1) / (count + 1)) for i in range(count))
    choices = registry.configured("method", method, {}).heads(blocks, card)
    task = get_task("classification")
    heads = [make_head(choice, block, card, CLASSES, task) for block, choice in zip(blocks, choices, strict=True)]
    model = MultiExitModel(card.load()(card.architecture, CLASSES), ExitHeads(blocks, heads))
    model.eval()
    spread(model, images_for(backbone, 4 if is_large(backbone) else 16))
    return model


@torch.no_grad()
def spread(model: MultiExitModel, images: Tensor) -> None:
    """Rescale every classifier so that its logits differ between images like those of a trained model."""
    final = [model.get_submodule(name) for name in model.backbone.classifier_names()]
    for logits, owners in zip(model(images), [*([head] for head in model.exit_heads.heads), final], strict=True):
        scale, middle = 2 / logits.std(0).mean(), logits.mean(0)
        for owner in owners:
            for module in owner.modules():
                if isinstance(module, nn.Linear) and module.out_features == CLASSES:
                    module.weight *= scale
                    module.bias.copy_((module.bias - middle) * scale)


def images_for(backbone: str, count: int = SAMPLES) -> Tensor:
    card = registry.card("backbone", backbone)
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, card.channels, card.image_size, card.image_size, generator=generator)


@pytest.fixture(scope="module")
def prepared() -> dict[str, Any]:
    """Model, images, offline logits and errors of every registered backbone, made on first use."""

    class OnUse(dict):  # type: ignore[type-arg]
        def __missing__(self, key: tuple[str, str] | str) -> tuple[MultiExitModel, Tensor, Tensor, Tensor | None]:
            backbone, method = (key, "lgvit") if isinstance(key, str) else key
            model, images = small_model(backbone, method), images_for(backbone, 4 if is_large(backbone) else SAMPLES)
            with torch.no_grad():
                outputs = model.forward_all(images)
                self[key] = model, images, outputs.logits, outputs.errors
            return self[key]

    return OnUse()


def is_large(backbone: str) -> bool:
    return registry.card("backbone", backbone).image_size > 64


def fitted(name: str, parameters: dict[str, Any], logits: Tensor) -> ExitPolicy:
    labels = torch.randint(CLASSES, (logits.shape[1],), generator=torch.Generator().manual_seed(2))
    return get_policy(name, **parameters).fit(logits, labels)


# Every policy and setting on one backbone per family, and one policy on the others.
BACKBONES = tuple(registry.table("backbone"))
FAMILIES = ("vit_nano_patch4_28", "deit_nano_distilled_patch4_28", "swin_nano_patch2_window7_28")
CASES = [
    *((backbone, name, parameters) for backbone in FAMILIES for name in CAUSAL for parameters in PARAMETERS[name]),
    *((backbone, "confidence", {"threshold": 0.3}) for backbone in BACKBONES if backbone not in FAMILIES),
]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("backbone", "name", "parameters"), CASES, ids=str)
@pytest.mark.slow
def test_every_policy_takes_the_exits_of_the_offline_sweep(
    backbone: str, name: str, parameters: dict[str, Any], device: str, prepared: dict[str, Any]
) -> None:
    reads_gates = POLICIES[name].reads_gates
    model, images, offline, errors = prepared[backbone, "berxit" if reads_gates else "lgvit"]
    policy = fitted(name, parameters, offline)
    routed = run_dynamic(model.to(device), copy.deepcopy(policy), images.to(device), keep_logits=True)
    model.to("cpu")
    check = agreement(routed, offline, policy, errors=errors)
    assert check.unexplained == 0
    assert check.logit_error <= (TOLERANCE if device == "cpu" else 1e-4)
    # Decisions differ only near a threshold, except for `random`, whose draws depend on the bits of the logits.
    assert name == "random" or check.moved <= 1


@pytest.mark.parametrize("batch", [1, 5, SAMPLES])
def test_decisions_do_not_depend_on_the_batch(batch: int, prepared: dict[str, Any]) -> None:
    model, images, offline, _ = prepared["vit_nano_patch4_28"]
    policy = get_policy("confidence", threshold=float(offline[:-1].softmax(-1).amax(-1).median()))
    exits, predictions = policy.choose(offline)
    assert len(exits.unique()) > 2
    parts = [run_dynamic(model, policy, part) for part in images.split(batch)]
    moved = (torch.cat([part.exits for part in parts]) != exits) | (
        torch.cat([part.predictions for part in parts]) != predictions
    )
    assert moved.sum() <= 1
    order = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(3))
    shuffled = run_dynamic(model, policy, images[order])
    assert (shuffled.exits != exits[order]).sum() <= 1


class Counted(nn.Module):
    """Records the number of samples that pass through a module."""

    def __init__(self, inner: nn.Module, seen: list[int]) -> None:
        super().__init__()
        self.inner, self.seen = inner, seen

    def forward(self, tokens: Any) -> Any:
        self.seen.append(len(tokens.values if isinstance(tokens, Tokens) else tokens))
        return self.inner(tokens)

    def after(self, tokens: Any, previous: Tensor | None) -> Any:
        return self(tokens)

    def error_probability(self, feature: Tensor) -> Tensor | None:
        return self.inner.error_probability(feature)


def test_samples_that_left_cost_nothing_more() -> None:
    model, images = small_model("vit_nano_patch4_28"), images_for("vit_nano_patch4_28")
    with torch.no_grad():
        offline = model(images)
    policy = get_policy("confidence", threshold=float(offline[:-1].softmax(-1).amax(-1).median()))
    exits, _ = policy.choose(offline)
    blocks: list[int] = []
    heads: list[int] = []
    inner = model.backbone.model.blocks
    for i in range(len(inner)):
        inner[i] = Counted(inner[i], blocks)
    for i in range(len(model.exit_heads.heads)):
        model.exit_heads.heads[i] = Counted(model.exit_heads.heads[i], heads)
    run_dynamic(model, policy, images)
    still = [int((exits >= k).sum()) for k in range(len(model.exit_heads.exits))]
    assert heads == still
    expected = [sum(int(b <= ([*model.exit_heads.exits, 12][k])) for k in exits.tolist()) for b in range(1, 13)]
    assert blocks == expected


@pytest.mark.parametrize(("method", "name"), [
    ("ztw", "confidence"), ("ztw", "ztw-geometric"), ("ztw", "ztw-arithmetic"), ("lgvit", "ztw-geometric"),
])  # fmt: skip
def test_the_logits_of_the_exit_before_stay_with_their_sample(method: str, name: str, prepared: dict[str, Any]) -> None:
    model, images, offline, _ = prepared["vit_nano_patch4_28", method]
    policy = fitted(name, {"steps": 20} if name.startswith("ztw") else {}, offline)
    policy.threshold = float(policy.signal(offline)[:2].median())  # type: ignore[attr-defined]
    routed = run_dynamic(model, policy, images, keep_logits=True)
    assert 0 < (routed.exits < 3).sum() <= SAMPLES
    assert len(routed.exits.unique()) > 1
    check = agreement(routed, offline, policy)
    assert check.within()
    assert check.moved <= 1


def test_an_empty_batch_stops_the_model() -> None:
    model, images = small_model("vit_nano_patch4_28"), images_for("vit_nano_patch4_28")
    blocks: list[int] = []
    inner = model.backbone.model.blocks
    for i in range(len(inner)):
        inner[i] = Counted(inner[i], blocks)
    routed = run_dynamic(model, get_policy("confidence", threshold=0.0), images)
    assert (routed.exits == 0).all()
    assert len(blocks) == model.exit_heads.exits[0]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_agrees_with_its_own_full_pass(precision: str, device: str) -> None:
    """In each precision, the offline policy on the logits of dynamic inference makes the same decisions."""
    dtype = PRECISIONS[precision]
    model = small_model("vit_nano_patch4_28").to(device, dtype)
    images = images_for("vit_nano_patch4_28").to(device, dtype)
    with torch.no_grad():
        offline = model(images).float().cpu()
    policy = get_policy("confidence", threshold=float(offline[:-1].softmax(-1).amax(-1).median()))
    check = agreement(run_dynamic(model, policy, images, keep_logits=True), offline, policy)
    assert check.unexplained == 0
    assert check.logit_error < {"fp32": 1e-4, "bf16": 0.05, "fp16": 0.01}[precision]


def test_a_wrong_decision_is_detected(prepared: dict[str, Any]) -> None:
    model, images, offline, _ = prepared["vit_nano_patch4_28"]
    policy = get_policy("confidence", threshold=0.4)
    routed = run_dynamic(model, policy, images, keep_logits=True)
    wrong = Routed(routed.exits, (routed.predictions + 1) % CLASSES, routed.evaluated)
    assert agreement(wrong, offline, policy).unexplained == SAMPLES
    assert not agreement(wrong, offline, policy).within()
    assert not agreement(routed, offline + 0.01, policy).within()
    assert agreement(routed, offline, policy).within()


def test_invalid_models_and_policies_are_errors(prepared: dict[str, Any]) -> None:
    model, images, offline, _ = prepared["vit_nano_patch4_28"]
    with pytest.raises(ValueError, match="oracle"):
        run_dynamic(model, get_policy("oracle"), images)
    with pytest.raises(ValueError, match="threshold"):
        run_dynamic(model, get_policy("confidence"), images)
    training = small_model("vit_nano_patch4_28").train()
    with pytest.raises(ValueError, match=r"model\.eval\(\)"):
        run_dynamic(training, get_policy("confidence", threshold=0.5), images)
    policy = get_policy("confidence", threshold=0.5)
    with pytest.raises(ValueError, match="keep_logits=True"):
        agreement(run_dynamic(model, policy, images), offline, policy)


def test_a_model_without_early_exits_is_its_backbone(prepared: dict[str, Any]) -> None:
    model, images, offline, _ = prepared["vit_nano_patch4_28"]
    plain = MultiExitModel(model.backbone, ExitHeads((), ())).eval()
    routed = run_dynamic(plain, get_policy("confidence", threshold=0.5), images)
    assert (routed.exits == 0).all()
    assert (routed.predictions == offline[-1].argmax(-1)).all()


def test_policy_state_belongs_to_the_sample() -> None:
    """The state carries sample ids, so a state that does not match the remaining samples is detected."""

    class Tracked(type(get_policy("confidence", threshold=0.5))):  # type: ignore[misc]
        def start(self, batch: int, device: torch.device | str = "cpu") -> State:
            return {"id": torch.arange(batch, device=device)}

        def step(self, exit_index: int, logits: Tensor, state: State) -> Tensor:
            assert len(state["id"]) == len(logits)
            left = super().step(exit_index, logits, state)
            departures.extend((exit_index, int(i)) for i in state["id"][left])
            return left

    departures: list[tuple[int, int]] = []
    model, images = small_model("vit_nano_patch4_28"), images_for("vit_nano_patch4_28")
    with torch.no_grad():
        middle = float(model(images)[:-1].softmax(-1).amax(-1).median())
    routed = run_dynamic(model, Tracked(threshold=middle), images)
    early = (routed.exits < 4).nonzero()[:, 0].tolist()
    assert sorted(departures) == sorted((int(routed.exits[i]), i) for i in early)

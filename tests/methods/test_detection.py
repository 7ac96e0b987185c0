"""The task detection: heads and backbones that find boxes, their training, and dynamic inference."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmark.evaluation.scores import ExitScores, score_split
from benchmark.measure.agreement import dynamic_agreement
from benchmark.measure.cost import counted
from benchmark.measure.dynamic import run_dynamic
from benchmark.measure.price import price
from benchmark.registry import table
from benchmark.training.inputs import Inputs
from datasets.api import ImageSplit
from datasets.box_augment import targets
from datasets.boxes import Boxes
from datasets.fashion_scenes import FASHION_SCENES_DETECTION
from datasets.images import ImageList
from datasets.loading import Workers
from datasets.split_rules import SplitRule
from methods.api import DETECTION
from methods.backbones.cards import truncated
from methods.backbones.pretrained import load_pretrained
from methods.boxes.decoding import MOST, agreement, decode
from methods.boxes.losses import image_losses, loss_by_image, mean_loss
from methods.boxes.maps import BESIDE_CLASSES, BoxMaps
from methods.heads.box_readout import with_box_readout
from methods.losses.joint_cross_entropy import JointCrossEntropy
from methods.losses.self_distillation import SelfDistillation
from methods.losses.training_pass import TrainingPass
from methods.model import ExitHeads, MultiExitModel, backbone_pass
from methods.policies import get_policy
from methods.policies.box_signals import SIGNALS, BoxConfidence, box_signals
from methods.reductions.lower_resolution import LowerResolution
from methods.tasks import get_task
from methods.tokens import Tokens
from methods.two_resolutions import LowerResolution as LowerResolutionMethod
from methods.vanilla import Vanilla

TASK = get_task(DETECTION)
VIT = table("backbone")["vit_nano_patch4_64"]
GRID, CLASSES = 16, 10
FITTING = [name for name, card in table("head").items() if DETECTION in card.tasks]


def model_of(*names: str, seed: int = 0, exits: tuple[int, ...] = (3, 6, 9)) -> MultiExitModel:
    torch.manual_seed(seed)
    backbone = TASK.backbone(VIT.load(), VIT.architecture, CLASSES)
    heads = [TASK.head(table("head")[name].load(), 32, CLASSES, GRID, 1, {}) for name in names]
    return MultiExitModel(backbone, ExitHeads(exits[: len(heads)], heads), TASK)


@cache
def read_scenes() -> ImageSplit:
    return FASHION_SCENES_DETECTION.read(None)["test"]


def scenes(count: int) -> tuple[Tensor, Tensor]:
    """Images (N, 1, 64, 64) and targets of some test scenes."""
    split = read_scenes().select(np.arange(count))
    assert isinstance(split.images, np.ndarray)
    assert split.boxes is not None
    pixels = torch.from_numpy(split.images).permute(0, 3, 1, 2).float() / 255
    return (pixels - 0.5233) / 0.2058, torch.from_numpy(targets(split.images, split.boxes))


@pytest.mark.parametrize("class_tokens", [1, 2])
@pytest.mark.parametrize("name", FITTING)
def test_every_head_of_the_task_finds_boxes_in_every_cell(name: str, class_tokens: int) -> None:
    options: dict[str, Any] = {"stride": 3} if name == "gah" else {}
    torch.manual_seed(0)
    head = TASK.head(table("head")[name].load(), 32, CLASSES, GRID, class_tokens, options)
    output, _ = head(Tokens(torch.randn(2, class_tokens + GRID**2, 32), GRID, class_tokens))
    assert output.shape == (2, CLASSES + BESIDE_CLASSES, GRID, GRID)
    maps = BoxMaps.of(output)
    assert (maps.distances >= 0).all()
    assert float(maps.classes.sigmoid().mean().detach()) == pytest.approx(0.01, abs=0.005)  # FCOS's prior
    output.square().sum().backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in head.parameters())  # no layer of another task is left


@pytest.mark.parametrize("name", [name for name in table("head") if name not in FITTING])
def test_a_head_without_a_token_map_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"has no (token map|form for maps)"):
        with_box_readout(table("head")[name].load(), 32, 5, 7, 1, {"head": "lph"} if name == "boosted" else {})


def test_a_backbone_whose_patch_grid_changes_is_refused() -> None:
    card = table("backbone")["swin_nano_patch2_window7_28"]
    with pytest.raises(ValueError, match="patch grid of Swin changes"):
        TASK.backbone(card.load(), card.architecture, 5)


def test_heads_and_routers_are_counted() -> None:
    model = model_of("lph", "linear", "gah")
    costs, apart = counted(model, VIT)
    cells, width = GRID**2, 32
    fcos = cells * (2 * 9 * width * width + 9 * width * (CLASSES + 5))  # two branches, then the three last layers
    router = width * (width // 4) + width // 4
    assert apart.gates == 3 * router
    assert costs.heads[1] == fcos + cells * width * width + router
    assert costs.heads[-1] == costs.heads[1] - router  # the final classifier has none
    lph = cells * (2 * width * width + 9 * width)
    assert costs.heads[0] == costs.heads[1] + lph


def test_the_readout_of_wide_tokens_has_128_channels() -> None:
    """On a ViT-Tiny at 224 pixels with the 20 classes of VOC: 0.06 G for the branches, with one convolution each."""
    costs = price("vit_tiny_patch16_224", Vanilla(), (6,), 20, DETECTION)
    cells, width, channels = 14**2, 192, 128
    branches = cells * (2 * 9 * channels * channels + 9 * channels * (20 + 5))
    assert branches == 63_447_552
    assert costs.heads[-1] == branches + cells * width * channels


def test_at_the_lower_resolution_the_cells_are_larger_and_the_readout_is_the_same() -> None:
    whole = TASK.backbone(VIT.load(), VIT.architecture, CLASSES).eval()
    smaller = LowerResolution(share=0.75).reduce(whole)
    images, labels = scenes(2)
    output = smaller(images)
    assert output.shape == (2, CLASSES + BESIDE_CLASSES, 12, 12)
    assert smaller.readout is whole.readout
    assert mean_loss(*image_losses(output, labels)).isfinite()


@pytest.mark.parametrize(("share", "grid"), [(None, 16), (0.75, 12), (0.5, 8)])
def test_boxes_are_in_pixels_of_the_stored_image_whatever_size_the_model_sees(share: float | None, grid: int) -> None:
    """Each cell finds a box of 0.8 cells around its middle."""
    whole = TASK.backbone(VIT.load(), VIT.architecture, CLASSES).eval()
    detector: Any = whole.readout.detector
    with torch.no_grad():
        for layer, bias in (
            (detector.classification_head.cls_logits, torch.eye(CLASSES)[4] * 20 - 10),
            (detector.regression_head.bbox_reg, torch.full((4,), 0.4)),
            (detector.regression_head.bbox_ctrness, torch.ones(1)),
        ):
            layer.weight.zero_()
            layer.bias.copy_(bias)
    backbone = whole if share is None else LowerResolution(share=share).reduce(whole)
    sizes = [(200, 50), (30, 96)]
    photos = ImageList(tuple(np.zeros((height, width, 1), np.uint8) for width, height in sizes))
    boxes = Boxes.of_images([[((1.0, 2.0, 20.0, 30.0), 4, False)]] * 2)
    split = ImageSplit(photos, np.zeros(2, int), np.arange(2), boxes=boxes)
    inputs = Inputs(FASHION_SCENES_DETECTION, {"test": split}, 64, 1, Workers(0, False), SplitRule.of({}), {})
    scores = score_split(MultiExitModel(backbone, ExitHeads((), ()), TASK).eval(), inputs, "test", torch.device("cpu"))
    assert scores.detections is not None
    for i, size in enumerate(sizes):
        corners, _, labels = scores.detections.found(0, i)
        assert set(labels.tolist()) == {4}
        cells = corners.view(-1, 2, 2) * grid / torch.tensor(size)
        assert len(cells) == min(grid**2, MOST)
        middles = cells.mean(1) - 0.5
        torch.testing.assert_close(middles, middles.round(), atol=1e-3, rtol=0)
        assert len(middles.round().unique(dim=0)) == len(cells)
        assert middles[:, 0].max().round() == grid - 1
        torch.testing.assert_close(cells[:, 1] - cells[:, 0], torch.full((len(cells), 2), 0.8), atol=1e-3, rtol=0)
    assert scores.detections.truth_boxes.tolist() == [[1, 2, 20, 30]] * 2


def test_at_the_lower_resolution_fewer_cells_are_counted() -> None:
    costs = price("vit_nano_patch4_64", LowerResolutionMethod(share=0.75), (), CLASSES, DETECTION)
    width = 32

    def macs(cells: int) -> int:
        tokens = cells + 1
        blocks = 12 * (12 * tokens * width**2 + 2 * tokens**2 * width)
        fcos = cells * (2 * 9 * width * width + 9 * width * (CLASSES + 5))
        return cells * 16 * width + blocks + cells * width * width + fcos

    assert costs.cumulative == (macs(12**2),)
    assert costs.baseline == macs(GRID**2)
    assert costs.reduced_tokens


@pytest.mark.parametrize(
    ("control", "grid"), [("", GRID), ("truncated", GRID), ("next-smaller", GRID), ("lower-resolution", 12)]
)
def test_a_distilled_deit_and_its_controls_read_the_patches_behind_both_class_tokens(control: str, grid: int) -> None:
    card = table("backbone")["deit_nano_distilled_patch4_64"]
    if control == "truncated":
        card = truncated(card, 6)
    if control == "next-smaller":
        card = table("backbone")[card.smaller]
    backbone = TASK.backbone(card.load(), card.architecture, CLASSES).eval()
    if control == "lower-resolution":
        backbone = LowerResolution(share=0.75).reduce(backbone)
    with torch.no_grad():
        passed = backbone_pass(backbone, scenes(2)[0], ())
        assert passed.logits.shape == (2, CLASSES + BESIDE_CLASSES, grid, grid)
        last = passed.last.values
        assert last.shape[1] == 2 + grid**2
        others = replace(passed.last, values=torch.cat([torch.randn_like(last[:, :2]), last[:, 2:]], 1))
        torch.testing.assert_close(backbone.classify(others), passed.logits)


def test_weights_of_another_task_bring_the_blocks_and_not_the_readout() -> None:
    of_segmentation = get_task("segmentation").backbone(VIT.load(), VIT.architecture, 11)
    backbone = TASK.backbone(VIT.load(), VIT.architecture, CLASSES)
    left_out = load_pretrained(backbone, of_segmentation.state_dict())
    assert left_out
    assert all(name.startswith("readout.") for name in left_out)
    with pytest.raises(ValueError, match="the readout of patches is missing"):
        load_pretrained(backbone, of_segmentation.state_dict(), keep_classifier=True)
    assert load_pretrained(backbone, backbone.state_dict(), keep_classifier=True) == ()


@pytest.mark.parametrize("joint", [False, True])
def test_a_loss_has_the_terms_of_the_exits_and_of_the_routers_and_distils_nothing(joint: bool) -> None:
    model, (images, labels) = model_of("lph", "linear", "gah").train(), scenes(4)
    passed = backbone_pass(model.backbone, images, model.exit_heads.exits)
    training = TrainingPass(TASK, model.exit_heads, passed, labels)
    loss = JointCrossEntropy() if joint else SelfDistillation(weight=0.5, heterogeneous_weight=0.1)
    terms = loss(training)
    assert "distillation" not in terms
    own = [mean_loss(*image_losses(output, labels)) for output in training.outputs.logits]
    torch.testing.assert_close(terms["cross_entropy"], torch.stack(own).mean())
    extra = 0 if joint else 0.1 * terms["heterogeneous"]
    exits = (
        torch.stack([*own, mean_loss(*image_losses(passed.logits, labels))]).mean() if joint else terms["cross_entropy"]
    )
    torch.testing.assert_close(terms["total"], exits + extra + terms["router"])
    terms["router"].backward(retain_graph=True)
    trained = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert trained
    assert all(".router." in name for name in trained)
    gaps = [loss_by_image(output, labels) - loss_by_image(passed.logits, labels) for output in training.outputs.logits]
    for head, gap in zip(model.exit_heads.in_order, gaps, strict=True):
        torch.testing.assert_close(head.classifier.router.gap, gap.detach().quantile(0.5))  # type: ignore[union-attr]


def test_right_answers_are_of_cells_with_an_object() -> None:
    _, labels = scenes(3)
    output = torch.zeros(3, CLASSES + BESIDE_CLASSES, GRID, GRID)
    output[:, 3] = 1.0
    right = TASK.is_right(output, labels)
    assert len(right) == image_losses(output, labels)[1].sum()
    assert 0 <= right.mean() <= 1
    assert TASK.is_right(output, labels[:, :0]).tolist() == [1.0]


def test_a_model_learns_an_image_by_heart() -> None:
    images, labels = scenes(1)
    model = model_of("lph", exits=(2,)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(80):
        passed = backbone_pass(model.backbone, images, (2,))
        loss = JointCrossEntropy()(TrainingPass(TASK, model.exit_heads, passed, labels))["total"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    wanted = labels[0][labels[0, :, 0] >= 0]
    with torch.no_grad():
        outputs = model(images)
    for output in outputs:
        (found,) = decode(output, 0.5)
        assert sorted(found.labels.tolist()) == sorted(wanted[:, 0].long().tolist())
        truth = type(found)(wanted[:, 1:], torch.ones(len(wanted)), wanted[:, 0].long())
        assert agreement(found, truth) == 1


def test_exits_are_compared_for_the_policy_that_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The boxes of every exit take longer than the other signals, so a policy that reads another one does not wait for them."""
    model, (images, _) = model_of("lph", "linear", "gah").eval(), scenes(2)
    compared: list[int] = []
    monkeypatch.setattr("methods.policies.box_signals.agreement", lambda now, before: compared.append(1) or 0.0)
    for policy in (BoxConfidence(threshold=1.0), get_policy("random", probability=0.0)):
        run_dynamic(model, policy, images)
        assert compared == []
    run_dynamic(model, BoxConfidence(score="agreement", threshold=1.0), images)
    assert len(compared) == 2 * 2  # at the second and third exit


def test_an_exit_is_compared_with_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """In dynamic inference and for the stored signals; not with the first exit, or with itself."""
    model, split = model_of("lph", "linear", "gah").eval(), read_scenes().select(np.arange(2))
    compared: list[tuple[Tensor, Tensor | None]] = []

    def spied(output: Tensor, previous: Tensor | None, positions: Any = None) -> Tensor:
        compared.append((output, previous))
        return box_signals(output, previous, positions)

    monkeypatch.setattr("methods.tasks.detection.box_signals", spied)
    run_dynamic(model, BoxConfidence(score="agreement", threshold=1.0), scenes(2)[0])
    dynamic, compared = compared[:-1], []  # the final exit decides nothing
    inputs = Inputs(FASHION_SCENES_DETECTION, {"test": split}, 64, 1, Workers(0, False), SplitRule.of({}), {})
    score_split(model, inputs, "test", torch.device("cpu"))
    for exits, count in ((dynamic, 3), (compared, 4)):
        assert len(exits) == count
        assert exits[0][1] is None
        for (before, _), (_, previous) in pairwise(exits):
            assert previous is not None
            assert torch.equal(previous, before)
        assert len({float(output.sum()) for output, _ in exits}) == count


def test_times_are_those_of_the_signal_that_the_policy_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    model, (images, _) = model_of("lph", "linear", "gah").eval(), scenes(2)
    read: list[object] = []

    def spied(output: Tensor, previous: Tensor | None, positions: Any = None) -> Tensor:
        read.append(positions)
        return box_signals(output, previous, positions)

    monkeypatch.setattr("methods.tasks.detection.box_signals", spied)
    policy = BoxConfidence(score="entropy", threshold=1.0)
    timed = run_dynamic(model, policy, images)
    assert read == [(SIGNALS.index("entropy"),)] * 3 + [()]
    checked = run_dynamic(model, policy, images, keep_logits=True)
    assert read[4:] == [None] * 4
    assert torch.equal(timed.exits, checked.exits)


def test_dynamic_inference_decides_as_the_stored_signals_and_finds_the_same_boxes() -> None:
    model = model_of("lph", "linear", "gah").eval()
    images, _ = scenes(16)
    for head in [*model.exit_heads.in_order, model.backbone]:
        readout = getattr(head, "classifier", None) or head.readout
        with torch.no_grad():  # as after some training: classes that some cells are sure of
            readout.detector.classification_head.cls_logits.bias.fill_(-3.0)
            readout.detector.classification_head.cls_logits.weight.mul_(40)
            readout.detector.regression_head.bbox_reg.bias.fill_(2.0)
    with torch.no_grad():
        outputs = model(images)
    signals = torch.stack([TASK.evidence(output, outputs[k - 1] if k else None) for k, output in enumerate(outputs)])
    assert signals.shape == (4, 16, len(SIGNALS))
    answers = torch.stack([TASK.answers(output) for output in outputs])
    for score in SIGNALS:
        policy = BoxConfidence(score=score)  # type: ignore[arg-type]
        taken = policy.sweep(policy.signal(signals), settings := policy.default_grid(signals))
        policy.threshold = float(settings[max(range(len(settings)), key=lambda t: len(taken[t].unique()))])
        routed = run_dynamic(model, policy, images)
        assert routed.answers is not None
        chosen = answers[routed.exits, torch.arange(16)]
        assert routed.answers.shape == chosen.shape == (16, 100, 6)
        same = [torch.allclose(one, other, atol=1e-4) for one, other in zip(routed.answers, chosen, strict=True)]
        assert sum(same) >= 15  # of boxes at a bound, a rounding error may keep one or drop it
        stored = ExitScores(signals, torch.zeros(16, dtype=torch.int64), torch.arange(16))
        found = dynamic_agreement(model, policy, images, stored)
        assert found.unexplained == 0
        assert found.logit_error < 1e-4
        assert len(set(routed.exits.tolist())) > 1, score

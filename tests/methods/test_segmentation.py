"""The task segmentation: counts for mIoU and boundary IoU, signals of maps, heads and backbones that label every patch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion
from timm.models.vision_transformer import VisionTransformer
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from benchmark.measure.dynamic import run_dynamic
from benchmark.registry import table
from methods.api import SEGMENTATION
from methods.backbones.map_classifier import MapClassifier
from methods.backbones.pretrained import load_pretrained
from methods.backbones.vit import ViT
from methods.heads.map_readout import MapReadout, with_map_readout
from methods.heads.upsampling import Upsampling
from methods.lgvit import LGViT
from methods.losses.self_distillation import SelfDistillation
from methods.losses.training_pass import TrainingPass
from methods.model import ExitHeads, MultiExitModel, backbone_pass
from methods.policies.map_signals import SIGNALS, MapConfidence, map_signals
from methods.tasks import get_task
from methods.tasks.segmentation import NOWHERE, boundaries, pixel_counts
from methods.tokens import Tokens
from results.stats.iou import mean_iou

TASK = get_task(SEGMENTATION)
VIT = table("backbone")["vit_nano_patch4_28"]


def certain(classes: list[list[int]], count: int = 3) -> torch.Tensor:
    """A map of logits (C, h, w) that is certain of these classes."""
    return 20.0 * F.one_hot(torch.tensor(classes), count).permute(2, 0, 1).float()


def model_of(*heads: str) -> MultiExitModel:
    """A model with random weights and these heads after blocks 3, 6 and 9."""
    torch.manual_seed(0)
    of_exits = [TASK.head(table("head")[name].load(), 32, 5, 7, 1, {}) for name in heads]
    backbone = TASK.backbone(VIT.load(), VIT.architecture, 5)
    return MultiExitModel(backbone, ExitHeads((3, 6, 9), of_exits), TASK).eval()


def image_counts(logits: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """`pixel_counts` of one image."""
    return pixel_counts(logits[None], mask[None])[0]


def test_counts_leave_out_ignored_pixels_and_give_the_miou_of_all_images_together() -> None:
    """Two images whose mIoU is .583333 from summed counts; the mean of their own values would be .625."""
    first = image_counts(certain([[0, 0, 0, 0], [0, 1, 1, 1]]), torch.tensor([[0, 0, 0, 0], [0, 0, 1, 255]]).byte())
    second = image_counts(certain([[2, 2, 0, 0], [0, 0, 0, 0]]), torch.tensor([[2, 2, 2, 2], [0, 0, 0, 0]]).byte())
    total = torch.stack([first, second])[..., :3].sum(0).numpy()
    assert total.tolist() == [[9, 2, 1], [1, 1, 0], [2, 0, 2]]
    assert float(mean_iou(total)) == pytest.approx(0.583333, abs=1e-6)


def test_an_image_without_labels_counts_nothing() -> None:
    assert not image_counts(certain([[0, 1]]), torch.full((1, 2), 255).byte()).any()


def test_maps_are_resized_to_the_stored_size_of_each_mask() -> None:
    maps = torch.stack([certain([[0, 1], [0, 1]]), certain([[2, 2], [2, 2]])])
    masks = [torch.tensor([[0, 0, 1, 1]] * 4).byte(), torch.full((3, 5), 2).byte()]
    counts = TASK.counts(maps, masks)
    assert counts is not None
    assert counts[0, :, 0].tolist() == [8, 8, 0]
    assert counts[1, :, 0].tolist() == [0, 0, 15]


@pytest.mark.parametrize("width", [1, 2, 3])
def test_boundaries_are_what_scipy_erodes(width: int) -> None:
    classes = (torch.rand(2, 17, 23, generator=torch.Generator().manual_seed(width)) * 1.2).long()
    classes[0, 3:15, 4:20] = 2
    classes[1, :6, :9] = NOWHERE
    found = boundaries(classes, width)
    for one, boundary in zip(classes, found, strict=True):
        for index in range(3):
            region = (one == index).numpy()
            eroded = binary_erosion(region, structure=np.ones((3, 3)), iterations=width, border_value=0)
            assert ((boundary == index).numpy() == (region & ~eroded)).all()
    assert (found[classes == NOWHERE] == NOWHERE).all()


def test_counts_do_not_depend_on_the_images_that_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(1)
    maps, sizes = torch.randn(5, 4, 3, 3, generator=generator), [(9, 8), (7, 7), (9, 8), (9, 8), (7, 7)]
    masks = [torch.randint(0, 5, size, generator=generator).byte() for size in sizes]
    masks = [mask.where(mask != 4, 255) for mask in masks]
    together = TASK.counts(maps, masks)
    alone = torch.stack([image_counts(one, mask) for one, mask in zip(maps, masks, strict=True)])
    assert torch.equal(together, alone)
    monkeypatch.setattr("methods.tasks.segmentation.MAX_LOGITS", 600)
    assert torch.equal(TASK.counts(maps, masks), alone)


def test_a_right_answer_has_a_boundary_iou_of_one() -> None:
    classes = torch.zeros(64, 64, dtype=torch.int64)
    classes[10:40, 20:50] = 1
    counts = image_counts(certain(classes.tolist(), 2), classes.byte())
    assert counts[1, 0] == 900
    assert counts[1, 3] == 900 - 26 * 26  # two pixels on each side, 2 % of the diagonal of 90 pixels
    assert not counts[:, [1, 2, 4, 5]].any()


def test_an_answer_has_no_boundary_where_its_class_does_not_change() -> None:
    """An object in a ring of ignored pixels, as in Pets and VOC, and an answer of background everywhere."""
    mask = torch.zeros(64, 64, dtype=torch.uint8)
    mask[19:45, 19:45] = 255
    mask[20:44, 20:44] = 1
    counts = image_counts(certain([[0] * 64] * 64, 2), mask)
    border, around_the_ring = 64 * 64 - 60 * 60, 30 * 30 - 26 * 26  # two pixels wide
    assert counts[0].tolist() == [64 * 64 - 26 * 26, 24 * 24, 0, border, 0, around_the_ring]
    assert counts[1].tolist() == [0, 0, 24 * 24, 0, 0, 24 * 24 - 20 * 20]
    assert float(mean_iou(counts[:, 3:].numpy())) == pytest.approx((496 / 720 + 0) / 2)


def test_without_ignored_pixels_both_maps_have_their_boundaries_alone() -> None:
    """As all images of fashion-scenes."""
    generator = torch.Generator().manual_seed(3)
    mask, maps = torch.randint(0, 3, (1, 40, 30), generator=generator), torch.randn(1, 3, 5, 5, generator=generator)
    answer = boundaries(F.interpolate(maps, (40, 30), mode="bilinear").argmax(1), 1)
    label = boundaries(mask, 1)
    expected = [
        [int(((answer == c) & (label == c)).sum()), int((answer == c).sum()), int((label == c).sum())] for c in range(3)
    ]
    counts = pixel_counts(maps, mask.byte())[0, :, 3:]
    assert [[right, right + wrong, right + missed] for right, wrong, missed in counts.tolist()] == expected


def test_times_are_those_of_the_signal_that_the_policy_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """All signals of an exit take up to half as long as a block of a small backbone."""
    model, images = model_of("lph", "linear", "gah"), torch.randn(2, 1, 28, 28)
    read: list[object] = []

    def spied(logits: torch.Tensor, previous: torch.Tensor | None, positions: Any = None) -> torch.Tensor:
        read.append(positions)
        return map_signals(logits, previous, positions)

    monkeypatch.setattr("methods.tasks.segmentation.map_signals", spied)
    policy = MapConfidence(score="quantile", threshold=1.0)
    timed = run_dynamic(model, policy, images)
    assert read == [(SIGNALS.index("quantile"),)] * 3 + [()]
    checked = run_dynamic(model, policy, images, keep_logits=True)
    assert read[4:] == [None] * 4
    assert torch.equal(timed.exits, checked.exits)


@pytest.mark.parametrize("name", [name for name, card in table("head").items() if SEGMENTATION in card.tasks])
def test_every_head_of_the_task_labels_every_patch(name: str) -> None:
    options: dict[str, Any] = {"stride": 3} if name == "gah" else {}
    torch.manual_seed(0)
    head = TASK.head(table("head")[name].load(), 32, 5, 7, 1, options)
    output, _ = head(Tokens(torch.randn(2, 50, 32), 7, 1))
    assert output.shape == (2, 5, 7, 7)
    output.square().sum().backward()
    assert all(parameter.grad is not None for parameter in head.parameters())  # no layer of the classification is left


@pytest.mark.parametrize("name", [name for name, card in table("head").items() if SEGMENTATION not in card.tasks])
def test_a_head_without_a_token_map_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"has no (token map|form for maps)"):
        with_map_readout(table("head")[name].load(), 32, 5, 7, 1, {"head": "lph"} if name == "boosted" else {})


def test_a_head_with_options_of_classification_is_refused() -> None:
    with pytest.raises(ValueError, match="no form for maps with the options gate"):
        with_map_readout(table("head")["linear"].load(), 32, 5, 7, 1, {"gate": True})


def test_a_readout_keeps_the_place_of_every_token() -> None:
    readout = MapReadout(4, 3, Upsampling(5))
    tokens = torch.randn(1, 25, 4)
    changed = tokens.clone()
    changed[0, 7] += 1.0
    difference = (readout(tokens) != readout(changed)).any(1)[0]
    assert difference.nonzero().tolist() == [[1, 2]]


def test_the_final_classifier_labels_patches_after_the_final_norm() -> None:
    torch.manual_seed(0)
    backbone = TASK.backbone(VIT.load(), VIT.architecture, 5).eval()
    images = torch.randn(2, 1, 28, 28)
    whole = VIT.load()(VIT.architecture, 0).eval()
    whole.load_state_dict({name: tensor for name, tensor in backbone.state_dict().items() if name.startswith("model.")})
    tokens = whole.model.forward_features(images)[:, 1:]
    expected = backbone.readout(tokens).transpose(1, 2).view(2, 5, 7, 7)  # type: ignore[operator]
    torch.testing.assert_close(backbone(images), expected)


def test_a_model_that_has_its_norm_after_the_mean_over_patches_has_it_on_each_patch() -> None:
    """As timm's models with average pooling, whose patches had no norm before the classifier."""
    model = VisionTransformer(
        img_size=28, patch_size=4, in_chans=1, embed_dim=32, depth=1, num_heads=2, num_classes=0, class_token=False,
        global_pool="avg",
    )  # fmt: skip
    torch.nn.init.normal_(model.fc_norm.weight)
    backbone = MapClassifier(ViT(model), torch.nn.Linear(32, 5)).eval()
    values = 9 * torch.randn(2, 49, 32)
    expected = backbone.readout(model.fc_norm(values)).transpose(1, 2).view(2, 5, 7, 7)
    torch.testing.assert_close(backbone.classify(Tokens(values, 7)), expected)


def test_a_backbone_whose_patch_grid_changes_is_refused() -> None:
    card = table("backbone")["swin_nano_patch2_window7_28"]
    with pytest.raises(ValueError, match="patch grid of Swin changes"):
        TASK.backbone(card.load(), card.architecture, 5)


def test_ignored_pixels_have_no_part_in_the_loss() -> None:
    output = torch.randn(2, 3, 4, 4, requires_grad=True)
    labels = torch.randint(0, 3, (2, 8, 8))
    labels[:, :4] = 255
    resized = F.interpolate(output, (8, 8), mode="bilinear")
    expected = F.cross_entropy(resized[:, :, 4:], labels[:, 4:])
    torch.testing.assert_close(TASK.cross_entropy(output, labels), expected)
    assert TASK.cross_entropy(output, torch.full((2, 8, 8), 255)) == 0.0
    assert len(TASK.is_right(output, labels)) == 2 * 4 * 8


def test_a_batch_without_labelled_pixels_has_an_accuracy_that_a_record_can_hold() -> None:
    """One such batch made the mean of its epoch NaN, and the record of the finished run was refused."""
    assert TASK.is_right(torch.randn(2, 3, 4, 4), torch.full((2, 8, 8), 255)).mean() == 1.0


class Reductions(TorchDispatchMode):
    """Notes how losses over pixels are reduced."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[int] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.ops.aten.nll_loss2d_forward.default:
            self.found.append(args[3])
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_the_loss_has_no_sum_over_pixels_that_torch_refuses_on_a_gpu(label_smoothing: float) -> None:
    """With deterministic algorithms, torch raises an error for the reductions ``mean`` (1) and ``sum`` (2) of CUDA tensors."""
    output, labels = torch.randn(2, 3, 4, 4, requires_grad=True), torch.randint(0, 3, (2, 8, 8))
    labels[:, :2] = 255
    with Reductions() as reductions:
        TASK.cross_entropy(output, labels, label_smoothing).backward()
    assert reductions.found == [0]
    gradient, output.grad = output.grad, None
    resized = F.interpolate(output, (8, 8), mode="bilinear")
    summed = F.cross_entropy(resized, labels, ignore_index=255, label_smoothing=label_smoothing, reduction="sum")
    (summed / (labels != 255).sum()).backward()
    assert torch.equal(gradient, output.grad)


def test_distillation_is_a_mean_over_patches() -> None:
    student, teacher = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    flat = [values.permute(0, 2, 3, 1).reshape(-1, 3) for values in (student, teacher)]
    expected = get_task("classification").distillation(*flat, 2.0)
    torch.testing.assert_close(TASK.distillation(student, teacher, 2.0), expected)


def test_a_model_gives_maps_at_every_exit_and_dynamic_inference_the_same_maps() -> None:
    from benchmark.evaluation.scores import ExitScores
    from benchmark.measure.agreement import dynamic_agreement

    model = model_of("lph", "linear", "gah")
    images = torch.randn(40, 1, 28, 28)
    with torch.no_grad():
        outputs = model(images)
    assert outputs.shape == (4, 40, 5, 7, 7)
    signals = torch.stack([TASK.evidence(output, outputs[k - 1] if k else None) for k, output in enumerate(outputs)])
    for score in ("mean", "agreement", "quantile"):
        policy = MapConfidence(score=score)
        settings = policy.default_grid(signals)
        policy.threshold = float(settings[len(settings) // 2])
        routed = run_dynamic(model, policy, images)
        assert routed.answers is not None
        chosen = outputs.argmax(2)[routed.exits, torch.arange(40)]
        assert (routed.answers == chosen).double().mean() > 0.999  # a tie of logits may fall either way
        stored = ExitScores(signals, torch.zeros(40, dtype=torch.int64), torch.arange(40))
        found = dynamic_agreement(model, policy, images, stored)
        assert found.unexplained == 0
        assert found.logit_error < 1e-4
        assert len(set(routed.exits.tolist())) > 1


def test_weights_of_a_segmentation_bring_the_classifier_of_patches() -> None:
    torch.manual_seed(0)
    trained = TASK.backbone(VIT.load(), VIT.architecture, 5)
    weights = trained.state_dict()
    same, other = (TASK.backbone(VIT.load(), VIT.architecture, classes) for classes in (5, 3))
    assert load_pretrained(same, weights, keep_classifier=True) == ()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in same.state_dict().items())
    assert load_pretrained(other, weights) == ("readout.bias", "readout.weight")
    with pytest.raises(ValueError, match="the readout of patches is missing or has other classes"):
        load_pretrained(other, weights, keep_classifier=True)


def test_lgvit_trains_its_heads_by_all_terms_of_its_loss() -> None:
    method, exits = LGViT(), (2, 4, 6, 8)
    options = dict(method.heads_stage(VIT).loss.options)
    torch.manual_seed(0)
    heads = [TASK.head(table("head")[head.name].load(), 32, 5, 7, 1, head.options) for head in method.heads(exits, VIT)]
    backbone = TASK.backbone(VIT.load(), VIT.architecture, 5).eval()
    with torch.no_grad():
        passed = backbone_pass(backbone, torch.randn(3, 1, 28, 28), exits)
    labels = torch.randint(0, 5, (3, 28, 28))
    terms = SelfDistillation(**options)(TrainingPass(TASK, ExitHeads(exits, heads), passed, labels))
    weights = {
        "cross_entropy": 1 - options.get("weight", 0.3), "distillation": options.get("weight", 0.3),
        "heterogeneous": options["heterogeneous_weight"], "homogeneous": options["homogeneous_weight"],
    }  # fmt: skip
    assert terms.keys() == {*weights, "accuracy", "total"}
    for name, weight in weights.items():
        assert weight > 0
        assert terms[name] > 1e-6, name
        (gradient,) = torch.autograd.grad(terms[name], heads[0].pointwise_in.weight, retain_graph=True)
        assert gradient.abs().sum() > 0, name
    torch.testing.assert_close(terms["total"], sum(weight * terms[name] for name, weight in weights.items()))

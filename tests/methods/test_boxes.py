"""Boxes: assignment, loss, decoding and agreement, compared with torchvision and with examples by hand; the router."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision.models.detection.fcos import FCOS
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_iou

from benchmark.training.ranks import running_statistics
from methods.boxes.decoding import Found, agreement, decode
from methods.boxes.losses import image_losses, loss_by_image, matched, mean_loss
from methods.boxes.maps import BoxMaps, cell_centers
from methods.boxes.router import Router
from methods.policies.box_signals import SIGNALS, box_signals

GRID, STRIDE, CLASSES = 8, 16, 5
SIDE = GRID * STRIDE


def random_output(images: int, seed: int) -> Tensor:
    """An output (B, C + 6, g, g) with distances above 0 and some confident cells."""
    generator = torch.Generator().manual_seed(seed)
    output = 2 * torch.randn(images, CLASSES + 6, GRID, GRID, generator=generator)
    output[:, CLASSES : CLASSES + 4] = output[:, CLASSES : CLASSES + 4].abs() + 0.1
    return output


def random_targets(images: int, seed: int, most: int = 6) -> Tensor:
    """Boxes of different sizes; some rows are padding, and the last image has no box."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.full((images, most, 5), -1.0)
    for i in range(images - 1):
        count = int(torch.randint(1, most + 1, (), generator=generator))
        corners = torch.rand(count, 2, 2, generator=generator).sort(1).values.flatten(1)
        corners[:, 2:] += 0.02
        targets[i, :count, 0] = torch.randint(0, CLASSES, (count,), generator=generator).float()
        targets[i, :count, 1:] = corners.clamp(max=1)
    return targets


class Torchvision:
    """torchvision's FCOS with one level, whose cells are where ours are; it has pixels where we have shares of the sides."""

    def __init__(self) -> None:
        backbone = nn.Identity()
        backbone.out_channels = 32  # type: ignore[assignment]
        self.model = FCOS(
            backbone, CLASSES, score_thresh=0.05, nms_thresh=0.6, topk_candidates=1000, detections_per_img=100
        )
        centers = SIDE * cell_centers(GRID, torch.device("cpu"))
        self.anchors = torch.cat([centers - STRIDE / 2, centers + STRIDE / 2], 1)

    @staticmethod
    def outputs(output: Tensor) -> dict[str, Tensor]:
        maps = BoxMaps.of(output)
        return {
            "cls_logits": maps.classes,
            "bbox_regression": maps.distances,
            "bbox_ctrness": maps.centerness[..., None],
        }

    def loss(self, output: Tensor, targets: Tensor) -> float:
        rows = [{"boxes": SIDE * t[t[:, 0] >= 0, 1:], "labels": t[t[:, 0] >= 0, 0].long()} for t in targets]
        anchors = [self.anchors] * len(targets)
        losses = self.model.compute_loss(rows, self.outputs(output), anchors, [GRID**2])
        return float(sum(losses.values()))

    def detections(self, output: Tensor) -> list[dict[str, Tensor]]:
        levels = {name: [values] for name, values in self.outputs(output).items()}
        shapes = ImageList(output, [(SIDE, SIDE)] * len(output)).image_sizes
        found: list[dict[str, Tensor]] = self.model.postprocess_detections(
            levels, [[self.anchors]] * len(output), shapes
        )
        return found


TORCHVISION = Torchvision()


@pytest.mark.parametrize("seed", range(5))
def test_the_loss_is_torchvisions(seed: int) -> None:
    output, targets = random_output(4, seed), random_targets(4, seed)
    assert float(mean_loss(*image_losses(output, targets))) == pytest.approx(
        TORCHVISION.loss(output, targets), rel=1e-5
    )


@pytest.mark.parametrize("seed", range(5))
def test_detections_are_torchvisions(seed: int) -> None:
    output = random_output(3, seed)
    for ours, theirs in zip(decode(output), TORCHVISION.detections(output), strict=True):
        assert len(ours.scores) == len(theirs["scores"]) > 20
        torch.testing.assert_close(ours.scores, theirs["scores"])
        torch.testing.assert_close(SIDE * ours.boxes, theirs["boxes"], rtol=1e-4, atol=1e-3)
        assert torch.equal(ours.labels, theirs["labels"])


def test_a_cell_belongs_to_the_smallest_box_around_its_centre() -> None:
    targets = torch.tensor([[[1, 0.0, 0.0, 1.0, 1.0], [2, 0.4, 0.4, 0.6, 0.6], [-1, -1, -1, -1, -1]]])
    found = matched(targets, 9).classes.view(9, 9)
    assert found[4, 4] == 2
    assert (found == 2).sum() == 1  # the small box holds the middle of one cell
    assert (found[3:6, 3:6] >= 1).all()
    assert (found == 1).sum() == 8  # the large box has those within 1.5 cells of its centre that are left
    assert (matched(targets[:, 2:], 9).classes == -1).all()
    assert (matched(targets[:, :0], 9).classes == -1).all()


def test_cells_in_ignored_boxes_do_not_count() -> None:
    output = random_output(1, 0)
    ignored = torch.tensor([[[-2, 0.0, 0.0, 0.5, 1.0], [3, 0.1, 0.1, 0.4, 0.4]]])
    found = matched(ignored, GRID).classes.view(GRID, GRID)
    assert set(found[:, :4].unique().tolist()) == {-2, 3}
    assert (found[:, 4:] == -1).all()
    outside, inside = output.clone(), output.clone()
    outside[:, :CLASSES, 0, 7] += 1
    inside[:, :CLASSES, 7, 0] += 1
    loss = loss_by_image(output, ignored)
    assert loss_by_image(inside, ignored) == loss
    assert loss_by_image(outside, ignored) != loss


def test_the_loss_of_a_batch_is_that_of_its_images_by_their_cells() -> None:
    output, targets = random_output(4, 1), random_targets(4, 1)
    sums, positives = image_losses(output, targets)
    alone = [image_losses(output[i : i + 1], targets[i : i + 1]) for i in range(4)]
    torch.testing.assert_close(sums, torch.cat([own for own, _ in alone]))
    assert positives.tolist() == [int(own) for _, own in alone]
    assert positives[3] == 0
    torch.testing.assert_close(loss_by_image(output, targets)[3], sums[3])


def test_a_cell_without_a_box_gets_no_gradient_for_it() -> None:
    output, targets = random_output(2, 2).requires_grad_(), random_targets(2, 2)
    mean_loss(*image_losses(output, targets)).backward()  # type: ignore[no-untyped-call]
    assert output.grad is not None
    positive = matched(targets, GRID).positive.view(2, 1, GRID, GRID)
    assert not output.grad[:, CLASSES : CLASSES + 5].masked_select(~positive).any()
    assert output.grad[:, CLASSES + 4 : CLASSES + 5].masked_select(positive).all()
    assert not output.grad[:, -1].any()


@settings(deadline=None)
@given(st.integers(0, 1000))
def test_what_is_found_is_sorted_within_the_image_and_without_duplicates(seed: int) -> None:
    for found in decode(random_output(2, seed)):
        assert len(found.scores) <= 100
        assert (found.scores.diff() <= 0).all()
        assert (found.boxes >= 0).all()
        assert (found.boxes <= 1).all()
        assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()
        overlaps = box_iou(found.boxes, found.boxes) * (found.labels[:, None] == found.labels)
        assert not len(overlaps) or overlaps.fill_diagonal_(0).max() <= 0.6
        rows = found.rows()
        assert rows.shape == (100, 6)
        assert (rows[len(found.scores) :] == -1).all()


@pytest.mark.parametrize(("side", "count"), [(0.61, 1), (0.59, 2)])
def test_of_two_boxes_that_overlap_by_more_than_six_tenths_the_better_stays(side: float, count: int) -> None:
    """One is the whole image, the other its left part."""
    output = torch.full((1, 1 + 6, GRID, GRID), -30.0)
    output[:, 1:5] = 99.0
    output[0, [0, 5], 0, 0], output[0, [0, 5], 7, 0] = 30.0, 20.0
    output[0, 3, 7, 0] = side * GRID - 0.5
    (found,) = decode(output)
    assert len(found.scores) == count
    assert found.boxes[0].tolist() == [0, 0, 1, 1]


def test_the_best_thousand_candidates_are_compared() -> None:
    """All 64 cells find the whole image, of 20 classes: 15 classes have 960 candidates, and the next one the other 40."""
    output = torch.full((1, 20 + 6, GRID, GRID), 99.0)
    output[0, :20] = torch.arange(20.0, 0.0, -1.0)[:, None, None] / 10
    (found,) = decode(output)
    assert found.labels.tolist() == list(range(16))


def test_boxes_have_an_extent_in_pixels_too() -> None:
    """A box between two neighbouring numbers has none in an image whose size rounds both to one."""
    output = torch.full((1, 1 + 6, GRID, GRID), 9.0)
    output[:, 1:3] = 0.0  # left and top sides at the centre of the cell
    output[:, 3] = 8e-7
    centers = cell_centers(GRID, torch.device("cpu"))[:, 0]
    assert (centers + 8e-7 / GRID > centers).any()
    assert not len(decode(output)[0].scores)
    output[:, 3] = 1e-4
    (found,) = decode(output)
    sizes = torch.arange(1, 5000)[:, None, None]
    assert len(found.scores)
    assert (sizes * found.boxes[:, 2:] > sizes * found.boxes[:, :2]).all()


def test_an_image_without_confident_cells_has_no_box() -> None:
    output = torch.full((1, CLASSES + 6, GRID, GRID), -9.0)
    (found,) = decode(output)
    assert len(found.scores) == 0
    assert (found.rows() == -1).all()


def boxes(*rows: tuple[float, float, float, float, int]) -> Found:
    """Boxes with falling scores."""
    table = torch.tensor(rows).view(-1, 5)
    return Found(table[:, :4], torch.linspace(0.9, 0.5, len(table)), table[:, 4].long())


def test_agreement_counts_boxes_of_one_class_that_overlap_by_half() -> None:
    none = boxes()
    one = boxes((0, 0, 0.4, 0.4, 1), (0.5, 0.5, 0.9, 0.9, 2))
    assert agreement(none, none) == 1
    assert agreement(none, one) == agreement(one, none) == 0
    assert agreement(one, one) == 1
    assert agreement(one, boxes((0, 0, 0.4, 0.4, 1))) == pytest.approx(2 / 3)
    assert agreement(one, boxes((0, 0, 0.4, 0.4, 2), (0.5, 0.5, 0.9, 0.9, 1))) == 0
    assert agreement(one, boxes((0, 0, 0.4, 0.19, 1), (0.5, 0.5, 0.9, 0.9, 2))) == 0.5
    twice = boxes((0, 0, 0.4, 0.4, 1), (0, 0, 0.4, 0.4, 1))
    assert agreement(twice, boxes((0, 0, 0.4, 0.4, 1))) == pytest.approx(2 / 3)  # each box is taken once


def test_the_best_box_takes_the_box_that_it_overlaps_most() -> None:
    before = boxes((0, 0, 0.5, 1, 0), (0, 0, 0.6, 1, 0))
    assert agreement(boxes((0, 0, 0.6, 1, 0), (0, 0, 0.5, 1, 0)), before) == 1


def test_signals_of_boxes() -> None:
    output = torch.zeros(2, CLASSES + 6, GRID, GRID)
    output[1, :CLASSES] = -30.0
    output[1, :3, 0, 0] = 30.0
    output[1, CLASSES + 4, 0, 0] = 30.0
    output[:, -1] = torch.tensor([0.0, 3.0]).view(2, 1, 1)
    signals = dict(zip(SIGNALS, box_signals(output, None).T.tolist(), strict=True))
    assert signals["agreement"] == [0, 0]
    assert signals["top-mean"] == pytest.approx([0.5, 0.3], abs=1e-3)
    assert signals["entropy"] == pytest.approx([0, 1], abs=1e-3)
    assert signals["router"] == pytest.approx([0.5, 0.952574], abs=1e-5)
    again = dict(zip(SIGNALS, box_signals(output, output).T.tolist(), strict=True))
    assert again["agreement"] == [1, 1]
    whole = box_signals(output, output)
    for position in range(len(SIGNALS)):
        alone = torch.zeros_like(whole)
        alone[:, position] = whole[:, position]
        assert torch.equal(box_signals(output, output, (position,)), alone)


def test_the_router_compares_the_gap_of_an_image_with_the_running_median() -> None:
    """Gaps .1, .5, .2 have the median .2, which is not their mean; an image with a gap of .1 is then easy."""
    router = Router(8)
    router.observe(torch.tensor([0.1, 0.5, 0.2]))
    assert float(router.gap) == pytest.approx(0.2)
    router.eval()
    logits = torch.tensor([0.4], requires_grad=True)
    loss = router.loss(logits, torch.tensor([1.0]), torch.tensor([0.9]))
    s = float(torch.sigmoid(torch.tensor(0.4)))
    assert float(loss.detach()) == pytest.approx(0.9 * s + 1.0 * (1 - s))
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad < 0  # a step against the gradient lets s rise


def test_the_router_changes_nothing_before_it_and_follows_falling_losses() -> None:
    router = Router(8)
    feature = torch.randn(4, 9, 8, requires_grad=True)
    router.loss(router(feature), torch.ones(4), torch.zeros(4)).backward()  # type: ignore[no-untyped-call]
    assert feature.grad is None
    assert all(parameter.grad is not None for parameter in router.score.parameters())
    for _ in range(200):
        router.observe(torch.full((4,), 0.25))
    assert float(router.gap) == pytest.approx(0.25, abs=0.01)
    for _ in range(32):  # 128 images, the memory: of the step to 0.75, (1 - 4 / 128) ** 32 = 0.36 are left
        router.observe(torch.full((4,), 0.75))
    assert float(router.gap) == pytest.approx(0.75 - 0.5 * (1 - 4 / 128) ** 32, abs=0.005)
    assert router.state_dict().keys() >= {"gap", "images"}
    assert running_statistics(nn.Sequential(router)) == [
        router.norm.running_mean,
        router.norm.running_var,
        router.gap,
    ]  # processes that train together average it


def test_processes_that_train_together_have_one_memory() -> None:
    """Each updates the median of its share with the weight of all images, and then they average."""
    alone, shares = Router(8), [Router(8), Router(8)]
    for step in range(60):
        gaps = torch.full((5,), 1.0 if step < 30 else 3.0)
        alone.observe(gaps)
        for router, own in zip(shares, (gaps[:2], gaps[2:]), strict=True):
            router.observe(own, len(gaps))
    assert 1 < float(alone.gap) < 3
    assert [float(router.gap) for router in shares] == [float(alone.gap)] * 2
    assert [int(router.images) for router in shares] == [300, 300]


def test_a_router_separates_images_although_losses_fall_and_gaps_are_not_symmetric() -> None:
    """Gaps fall by more than images differ, and some easy images have very large ones; still only half may seem easy."""
    torch.manual_seed(0)
    router = Router(16)
    optimizer = torch.optim.AdamW(router.parameters(), lr=1e-2)
    for step in range(300):
        feature = torch.randn(16, 4, 16)
        tail = torch.where(torch.rand(16) < 0.1, -4.0, 0.0)
        final = torch.full((16,), 30.0)
        own = final + feature[:, :, 0].mean(1) + tail + 5 * 0.97**step
        optimizer.zero_grad()
        router.loss(router(feature), own, final).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    router.eval()
    feature = torch.randn(400, 4, 16)
    easy = router(feature).sigmoid()
    assert 0.3 < float((easy > 0.5).float().mean()) < 0.7
    assert float(torch.corrcoef(torch.stack([easy.detach(), feature[:, :, 0].mean(1)]))[0, 1]) < -0.8


def test_a_router_learns_from_batches_of_one_image() -> None:
    """One image has no variance, so its logit is normalised by the running statistics, which stay as they are."""
    router = Router(8)
    mean, variance = router.norm.running_mean, router.norm.running_var
    assert mean is not None
    assert variance is not None
    mean.fill_(0.5)
    variance.fill_(4.0)
    feature = torch.randn(1, 9, 8)
    router.loss(router(feature), torch.ones(1), torch.zeros(1)).backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in router.score.parameters())
    assert (float(mean), float(variance)) == (0.5, 4.0)
    trained = router(feature)
    torch.testing.assert_close(trained, router.eval()(feature))


def test_a_router_with_one_image_takes_part_in_the_statistics_of_all_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    """On several GPUs another rank may have two images of a pass, and waits for this rank in its SyncBatchNorm."""
    router = Router(8)
    nn.SyncBatchNorm.convert_sync_batchnorm(router)
    assert isinstance(router.norm, nn.SyncBatchNorm)
    normalised = []

    def exchange(score: Tensor) -> Tensor:
        normalised.append(len(score))
        return score

    monkeypatch.setattr(router.norm, "forward", exchange)
    router(torch.randn(1, 9, 8))
    router(torch.randn(2, 9, 8))
    assert normalised == [1, 2]

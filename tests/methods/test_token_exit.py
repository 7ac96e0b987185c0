"""Token exit: which tokens leave, what the canvas holds, padded batches, thresholds chosen on val, and the training loss."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmark.registry import table
from methods.api import SEGMENTATION
from methods.backbones.backbone import BlockBackbone
from methods.losses.joint_cross_entropy import JointCrossEntropy
from methods.losses.training_pass import TrainingPass
from methods.model import ExitHeads, MultiExitModel, backbone_pass
from methods.reductions.token_exit import TokenExitViT, agreeing_threshold, leaving
from methods.tasks import get_task
from methods.tokens import PADDING, Tokens

TASK = get_task(SEGMENTATION)
NANO = table("backbone")["vit_nano_patch4_28"]
EXITS, CLASSES = (3, 6), 4


def parts(name: str = "vit_nano_patch4_28", spread: float = 0.5) -> tuple[BlockBackbone, ExitHeads]:
    """A backbone and linear heads with random weights, whose scores differ from token to token."""
    torch.manual_seed(1)
    card = table("backbone")[name]
    heads = [TASK.head(table("head")["linear"].load(), 32, CLASSES, 7, card.class_tokens, {}) for _ in EXITS]
    backbone = TASK.backbone(card.load(), card.architecture, CLASSES)
    for head in heads:
        torch.nn.init.normal_(head.classifier.linear.weight, std=spread)  # type: ignore[union-attr]
    return backbone.eval(), ExitHeads(EXITS, heads).eval()


def pictures(count: int) -> Tensor:
    return torch.randn(count, 1, 28, 28, generator=torch.Generator().manual_seed(2))


def by_definition(score: list[float], classes: list[int], threshold: float, keep: int) -> list[bool]:
    """The rule for one image, token by token."""
    confident = [token for token, value in enumerate(score) if value > threshold]
    stay = set()
    for one in set(classes):
        best = sorted((token for token in confident if classes[token] == one), key=lambda token: -score[token])
        stay |= set(best[:keep])
    return [token in confident and token not in stay for token in range(len(score))]


def test_confident_tokens_leave_except_for_the_best_of_each_class() -> None:
    score = torch.tensor([[0.99, 0.97, 0.96, 0.95, 0.94, 0.93, 0.92, 0.91, 0.80, 0.95]])
    classes = torch.tensor([[0] * 7 + [1] * 3])
    assert leaving(score, classes, 0.9, 5)[0].nonzero()[:, 0].tolist() == [5, 6]


def test_the_earlier_of_two_equal_tokens_stays() -> None:
    assert leaving(torch.full((1, 4), 0.95), torch.tensor([[2, 2, 0, 2]]), 0.9, 2).tolist() == [
        [False, False, False, True]
    ]


@given(
    st.lists(st.tuples(st.sampled_from([0.3, 0.5, 0.7, 0.71, 0.9, 1.0]), st.integers(0, 3)), min_size=1, max_size=30),
    st.sampled_from([0.5, 0.7, 0.95, 1.0]),
    st.integers(1, 6),
)
def test_the_rule_is_that_of_the_definition(tokens: list[tuple[float, int]], threshold: float, keep: int) -> None:
    score, classes = torch.tensor([[s for s, _ in tokens]], dtype=torch.float64), torch.tensor([[c for _, c in tokens]])
    expected = by_definition(score[0].tolist(), classes[0].tolist(), threshold, keep)
    assert leaving(score, classes, threshold, keep)[0].tolist() == expected


def one_by_one(backbone: Any, heads: ExitHeads, image: Tensor, threshold: float, keep: int) -> tuple[Tensor, list[int]]:
    """Token exit on one image (1, channels, H, W) with plain lists: logits (C, g * g), and how often each was written."""
    tokens = backbone.embed(image)
    places, answer, writes = list(range(49)), torch.full((CLASSES, 49), torch.nan), [0] * 49
    for number in range(1, backbone.depth + 1):
        tokens = backbone.block(number, tokens)
        if number in heads.exits:
            head: Any = heads.in_order[heads.exits.index(number)]
            logits = head.classifier.linear(head.classifier.norm(tokens.values[0, tokens.prefix :]))
            score, classes = logits.softmax(-1).max(-1)
            leave = by_definition(score.tolist(), classes.tolist(), threshold, keep)
            for token in [token for token, gone in enumerate(leave) if gone]:
                answer[:, places[token]] = logits[token]
                writes[places[token]] += 1
            rest = [token for token, gone in enumerate(leave) if not gone]
            places = [places[token] for token in rest]
            kept = [*range(tokens.prefix), *(tokens.prefix + token for token in rest)]
            tokens = replace(tokens, values=tokens.values[:, kept])
    last = backbone.readout(backbone.model.norm(tokens.values)[0, tokens.prefix :])
    for token, place in enumerate(places):
        answer[:, place] = last[token]
        writes[place] += 1
    return answer, writes


@pytest.mark.parametrize(
    "name", ["vit_nano_patch4_28", "deit_nano_distilled_patch4_28", "vit_nano_patch4_28_idle_token"]
)
@torch.no_grad()
def test_a_padded_batch_gives_what_each_image_gives_alone(name: str) -> None:
    backbone, heads = parts(name)
    reduced, images = TokenExitViT(backbone, heads, 0.6, 2), pictures(5)
    together = MultiExitModel(reduced, ExitHeads((), ()), TASK).eval().forward_all(images)
    assert together.tokens is not None
    assert len({tuple(row) for row in together.tokens.tolist()}) > 1, "all images keep equally many tokens"
    for i in range(len(images)):
        alone = MultiExitModel(reduced, ExitHeads((), ()), TASK).eval().forward_all(images[i : i + 1])
        expected, writes = one_by_one(backbone, heads, images[i : i + 1], 0.6, 2)
        assert writes == [1] * 49
        torch.testing.assert_close(alone.logits[0, 0].flatten(1), expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(together.logits[0, i], alone.logits[0, 0], atol=1e-5, rtol=1e-4)
        assert torch.equal(together.tokens[i], alone.tokens[0])  # type: ignore[index]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.3, 0.5, 0.7, 0.9, 0.99]), st.integers(1, 8), st.integers(1, 4))
@torch.no_grad()
def test_every_token_is_answered_once(seed: int, threshold: float, keep: int, batch: int) -> None:
    backbone, heads = parts(spread=1.0)
    reduced = TokenExitViT(backbone, heads, threshold, keep)
    tokens = reduced.embed(torch.randn(batch, 1, 28, 28, generator=torch.Generator().manual_seed(seed)))
    answered = torch.zeros(batch, 49, dtype=torch.bool)
    for number in range(1, reduced.depth + 1):
        tokens = reduced.block(number, tokens)
        assert tokens.lengths is not None
        if tokens.positions is None:
            continue
        assert tokens.canvas is not None
        answered = ~tokens.canvas.isnan().any(-1)
        for image in range(batch):
            running = tokens.positions[image][tokens.positions[image] != PADDING].tolist()
            assert running == sorted(set(running))
            assert sorted([*running, *answered[image].nonzero()[:, 0].tolist()]) == list(range(49))
    assert (tokens.lengths[:, -1] == 1 + 49 - answered.sum(1)).all()
    assert reduced.classify(tokens).isfinite().all()


@torch.no_grad()
def test_with_a_threshold_of_one_nothing_changes() -> None:
    backbone, heads = parts(spread=30.0)  # many scores round to 1
    images = pictures(4)
    assert torch.equal(TokenExitViT(backbone, heads, 1.0, 1)(images), backbone(images))


@torch.no_grad()
def test_the_canvas_keeps_the_answer_of_the_exit_where_a_token_left() -> None:
    backbone, heads = parts()
    reduced, images = TokenExitViT(backbone, heads, 0.6, 2), pictures(3)
    tokens = reduced.embed(images)
    for number in range(1, 4):
        tokens = reduced.block(number, tokens)
    plain = backbone.embed(images)
    for number in range(1, 4):
        plain = backbone.block(number, plain)
    at_exit, _ = heads.in_order[0](plain)
    assert tokens.canvas is not None
    left = ~tokens.canvas.isnan().any(-1)
    assert 0 < int(left.sum()) < left.numel()
    first = at_exit.flatten(2).transpose(1, 2)[left]
    torch.testing.assert_close(tokens.canvas[left], first)
    for number in range(4, 13):
        tokens = reduced.block(number, tokens)
    torch.testing.assert_close(reduced.classify(tokens).flatten(2).transpose(1, 2)[left], first)


@torch.no_grad()
def test_class_tokens_stay_and_tokens_without_a_grid_cannot_be_read_as_a_map() -> None:
    backbone, heads = parts("vit_nano_patch4_28_idle_token")
    reduced = TokenExitViT(backbone, heads, 0.3, 1)  # nearly all patches leave
    tokens = reduced.embed(pictures(2))
    for number in range(1, 4):
        plain = backbone.block(number, replace(tokens, lengths=None))
        tokens = reduced.block(number, tokens)
    assert tokens.prefix == 2
    assert torch.equal(tokens.values[:, :2], plain.values[:, :2])
    assert tokens.values.shape[1] < 20
    with pytest.raises(ValueError, match="no grid"):
        tokens.map  # noqa: B018


@torch.no_grad()
def test_images_can_be_selected_and_batches_without_some_tokens_not_joined() -> None:
    backbone, heads = parts()
    reduced = TokenExitViT(backbone, heads, 0.6, 2)
    tokens = reduced.embed(pictures(4))
    for number in range(1, 5):
        tokens = reduced.block(number, tokens)
    assert tokens.positions is not None
    shortest = int((tokens.positions != PADDING).sum(1).argmin())
    assert (tokens.positions[shortest] == PADDING).any()
    for images in ([1, 2], [shortest]):  # one image alone is run without a mask, so without padding
        keep = torch.zeros(4, dtype=torch.bool).index_fill(0, torch.tensor(images), True)
        whole, rest = tokens, tokens.select(keep)
        for number in range(5, 13):
            whole, rest = reduced.block(number, whole), reduced.block(number, rest)
        torch.testing.assert_close(reduced.classify(rest), reduced.classify(whole)[images], atol=1e-5, rtol=1e-4)
        assert whole.lengths is not None
        assert rest.lengths is not None
        assert torch.equal(rest.lengths, whole.lengths[images])
    with pytest.raises(ValueError, match="cannot be joined"):
        Tokens.joined([tokens, tokens])


def test_heads_that_read_several_tokens_and_other_backbones_are_refused() -> None:
    backbone, _ = parts()
    local = TASK.head(table("head")["lph"].load(), 32, CLASSES, 7, 1, {})
    with pytest.raises(ValueError, match="reads several of them at once"):
        TokenExitViT(backbone, ExitHeads((3,), [local]), 0.9, 5)
    with pytest.raises(ValueError, match="labels every patch"):
        TokenExitViT(NANO.load()(NANO.architecture, 10), ExitHeads((), ()), 0.9, 5)


@torch.no_grad()
def test_where_tokens_left_is_known_patch_by_patch() -> None:
    backbone, heads = parts()
    outputs = (
        MultiExitModel(TokenExitViT(backbone, heads, 0.6, 2), ExitHeads((), ()), TASK).eval().forward_all(pictures(5))
    )
    assert outputs.left is not None
    assert outputs.tokens is not None
    assert set(outputs.left.unique().tolist()) == {0, 1, len(EXITS)}
    for exit_, block in enumerate(EXITS):
        assert torch.equal(1 + (outputs.left > exit_).sum(1), outputs.tokens[:, block])


# Thresholds that are chosen on val


@given(
    st.lists(st.tuples(st.sampled_from([0.3, 0.5, 0.7, 0.71, 1.0]), st.booleans()), max_size=20),
    st.sampled_from([0.01, 0.5, 0.8, 1.0]),
)
def test_the_threshold_is_the_lowest_one_above_which_enough_tokens_agree(
    tokens: list[tuple[float, bool]], agreement: float
) -> None:
    def share(threshold: float) -> float:
        above = [agrees for score, agrees in tokens if score > threshold]
        return sum(above) / len(above) if above else 0.0

    candidates = [0.0, *sorted({score for score, _ in tokens})]
    expected = next((one for one in candidates if share(one) >= agreement), 1.0)
    score, agrees = torch.tensor([s for s, _ in tokens], dtype=torch.float64), torch.tensor([a for _, a in tokens])
    assert agreeing_threshold(score, agrees.bool(), agreement) == expected


@torch.no_grad()
def test_tokens_that_leave_by_chosen_thresholds_agree_with_the_whole_backbone() -> None:
    backbone, heads = parts(spread=2.0)
    batches = pictures(12).split(5)
    whole = torch.cat([backbone(images) for images in batches]).argmax(1).flatten(1)
    agreed = []
    for agreement in (0.35, 0.6, 1.0):
        reduced = TokenExitViT(backbone, heads, 1.0, 1, agreement)
        assert torch.equal(reduced(batches[0]), backbone(batches[0])), "without val no token leaves"
        chosen = reduced.choose_on_val(lambda: batches)
        model = MultiExitModel(reduced, ExitHeads((), ()), TASK).eval()
        outputs = [model.forward_all(images) for images in batches]
        left = torch.cat([one.left for one in outputs if one.left is not None])
        agrees = torch.cat([one.logits[0].argmax(1).flatten(1) for one in outputs]) == whole
        for exit_ in range(len(EXITS)):
            gone = left == exit_
            # A few confident tokens of each class stay, so those that leave may agree a little less than all of them.
            assert not gone.any() or agrees[gone].double().mean() > agreement - 0.05
        agreed.append(float((left < len(EXITS)).double().mean()))
        again = TokenExitViT(backbone, heads, 1.0, 1, agreement)
        again.load_chosen(chosen)
        assert torch.equal(again(batches[1]), reduced(batches[1]))
    assert agreed[0] > agreed[1] >= agreed[2]


def test_fixed_thresholds_leave_nothing_to_choose() -> None:
    backbone, heads = parts()
    assert TokenExitViT(backbone, heads, 0.9, 5).choose_on_val(lambda: []) == {}


# Training while tokens leave


def test_the_loss_of_an_exit_is_that_of_the_whole_map_and_reaches_all_modules() -> None:
    backbone, heads = parts()
    reduced, images = TokenExitViT(backbone, heads, 0.6, 2).train(), pictures(4)
    labels = torch.randint(0, CLASSES, (4, 28, 28), generator=torch.Generator().manual_seed(3))
    passed = backbone_pass(reduced, images, EXITS)
    assert passed.tokens[EXITS[0]].positions is not None
    training = TrainingPass(TASK, heads, passed, labels)
    terms = JointCrossEntropy()(training)
    assert all(output.shape == (4, CLASSES, 7, 7) and output.isfinite().all() for output in training.outputs.logits)
    terms["total"].backward()
    for module in (backbone.model.blocks[0], backbone.model.blocks[11], backbone.readout, *heads.in_order):
        assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())
        assert any(p.grad is not None and p.grad.any() for p in module.parameters())
    with torch.no_grad():
        plain = backbone_pass(backbone, images, EXITS)
        left = passed.tokens[EXITS[1]].left
        assert left is not None
        gone = (left == 0).unflatten(1, (7, 7))
        before = heads.in_order[0].train()(plain.tokens[EXITS[0]])[0].permute(0, 2, 3, 1)[gone]
        torch.testing.assert_close(training.outputs.logits[1].permute(0, 2, 3, 1)[gone], before, atol=1e-5, rtol=1e-4)

"""Ranks divide every batch: together they have each image of the batch once."""

from __future__ import annotations

from collections import defaultdict

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from datasets import DATASETS
from datasets.loading import Batch, scoring_batches, training_batches
from datasets.shares import Share, pieces, rank_indices, with_partners
from datasets.splits import stratified_head
from datasets.timm_augment import NO_STRONG, StrongAugmentation

CARD = DATASETS["fashion-mnist-mini"]
TRAIN = stratified_head(CARD.read(None)["train"], 50)
sizes, counts = st.integers(1, 60), st.integers(1, 9)


@given(sizes, counts, counts)
def test_every_image_counts_once(size: int, ranks: int, passes: int) -> None:
    weight: dict[int, float] = defaultdict(float)
    for rank in range(ranks):
        for piece in pieces(size, Share(rank, ranks, passes)):
            assert piece.stop > piece.start  # every rank has images
            for number in range(piece.start, piece.stop):
                weight[number] += piece.weight / (piece.stop - piece.start)
    assert sorted(weight) == list(range(size))
    assert list(weight.values()) == pytest.approx([1.0] * size)


@given(sizes, counts, counts)
def test_a_pass_has_the_same_images_for_any_number_of_ranks(size: int, ranks: int, passes: int) -> None:
    expected = [chunk.tolist() for chunk in torch.arange(size).chunk(passes)]
    shared = [pieces(size, Share(rank, ranks, passes)) for rank in range(ranks)]
    for number, images in enumerate(expected):
        of_pass = {i for rank in shared for i in range(rank[number].start, rank[number].stop)}
        assert sorted(of_pass) == images
        assert all(rank[number].pass_size == len(images) for rank in shared)


@given(sizes, counts, counts)
def test_mixed_images_have_their_partners(size: int, ranks: int, passes: int) -> None:
    even = size // 2 * 2
    for rank in range(ranks):
        rows = with_partners(rank_indices(size, Share(rank, ranks, passes)), size)
        inside = len(rows) // 2 * 2
        for place, number in enumerate(rows):
            partner = even - 1 - number if number < even else number
            assert rows[inside - 1 - place if place < inside else place] == partner


def batches(share: Share, strong: StrongAugmentation) -> list[Batch]:
    loader = training_batches(
        TRAIN, CARD, size=28, channels=1, augment="flip-shift", batch_size=19, order_seed=3, augment_stream=7,
        strong=strong, share=share,
    )  # fmt: skip
    return list(loader)


STRONG = StrongAugmentation(rand_augment="rand-m9-mstd0.5-inc1", erasing=0.5, mixup=0.8, cutmix=1.0)


@pytest.mark.parametrize("strong", [NO_STRONG, STRONG], ids=["plain", "mixed"])
@pytest.mark.parametrize(("ranks", "passes"), [(2, 1), (3, 2)])
def test_shares_are_the_bits_of_the_whole_batch(strong: StrongAugmentation, ranks: int, passes: int) -> None:
    whole = batches(Share(), strong)
    shared = [batches(Share(rank, ranks, passes), strong) for rank in range(ranks)]
    for number, batch in enumerate(whole):
        parts = [rank[number] for rank in shared]
        assert {part.size for part in parts} == {batch.size}
        place = {int(i): n for n, i in enumerate(batch.sample_id)}
        for part in parts:
            order = [place[int(i)] for i in part.sample_id]
            assert torch.equal(part.images, batch.images[order])
            assert torch.equal(part.labels, batch.labels[order])
        assert sorted(int(i) for part in parts for i in part.sample_id) == sorted(place)


def test_ranks_score_whole_batches_in_turn() -> None:
    whole = list(scoring_batches(TRAIN, CARD, size=400, channels=1))
    shared = [list(scoring_batches(TRAIN, CARD, size=400, channels=1, share=Share(rank, 3))) for rank in range(3)]
    assert len(whole) > 3
    for number, batch in enumerate(whole):
        assert torch.equal(shared[number % 3][number // 3].images, batch.images)

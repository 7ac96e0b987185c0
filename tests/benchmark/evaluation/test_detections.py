"""Ragged boxes of exits and labels: parts, joining, and files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmark.evaluation.detections import Detections
from benchmark.evaluation.scores import ExitScores, load_scores, save_scores

EXITS = 3


def made_up(seed: int, images: int) -> Detections:
    """Boxes of 3 exits; some images have none."""
    rng = np.random.default_rng(seed)
    found, labelled = rng.integers(0, 5, EXITS * images), rng.integers(0, 4, images)
    return Detections(
        _offsets(found), _boxes(rng, found.sum()), torch.from_numpy(rng.random(found.sum()).astype(np.float32)),
        torch.from_numpy(rng.integers(0, 10, found.sum()).astype(np.int16)),
        _offsets(labelled), _boxes(rng, labelled.sum()),
        torch.from_numpy(rng.integers(0, 10, labelled.sum()).astype(np.int16)),
        torch.from_numpy(rng.random(labelled.sum()) < 0.3),
    )  # fmt: skip


def _offsets(lengths: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([[0], lengths.cumsum()]))


def _boxes(rng: np.random.Generator, count: int) -> torch.Tensor:
    corners = rng.random((count, 2, 2)).astype(np.float32)
    return torch.from_numpy(np.concatenate([corners.min(1), corners.max(1) + 1], 1))


def equal(one: Detections, other: Detections) -> bool:
    return all(torch.equal(tensor, other.tensors[name]) for name, tensor in one.tensors.items())


@given(st.integers(0, 99), st.lists(st.integers(0, 6), max_size=9))
def test_a_part_has_the_boxes_of_its_images(seed: int, images: list[int]) -> None:
    whole = made_up(seed, 7)
    part = whole.part(torch.tensor(images, dtype=torch.int64))
    assert part.images == len(images)
    for position, image in enumerate(images):
        for k in range(EXITS):
            for one, other in zip(part.found(k, position), whole.found(k, image), strict=True):
                assert torch.equal(one, other)
        labelled = slice(*part.truth_offsets[position : position + 2].tolist())
        expected = slice(*whole.truth_offsets[image : image + 2].tolist())
        for name in ("truth_boxes", "truth_labels", "truth_ignored"):
            assert torch.equal(getattr(part, name)[labelled], getattr(whole, name)[expected])


@given(st.integers(0, 99), st.integers(1, 6))
def test_joined_parts_are_the_whole(seed: int, cut: int) -> None:
    whole = made_up(seed, 7)
    assert equal(Detections.joined([whole.part(slice(0, cut)), whole.part(slice(cut, None))]), whole)


def test_ranges_that_belong_to_no_image_are_refused() -> None:
    whole = made_up(0, 7)
    with pytest.raises(ValueError, match=r"20 ranges.*7 images"):
        Detections(whole.offsets[:-1], *list(whole.tensors.values())[1:])


def test_scores_are_stored_with_their_boxes(tmp_path: Path) -> None:
    boxes = made_up(1, 7)
    scores = ExitScores(torch.rand(EXITS, 7, 4), torch.zeros(7, dtype=torch.int64), torch.arange(7), detections=boxes)
    save_scores(scores, tmp_path / "test.safetensors")
    stored = load_scores(tmp_path / "test.safetensors")
    assert stored.detections is not None
    assert equal(stored.detections, boxes)
    some = stored.part(torch.tensor([4, 2]))
    assert some.detections is not None
    assert equal(some.detections, boxes.part(torch.tensor([4, 2])))
    joined = ExitScores.joined([scores.part(slice(0, 3)), scores.part(slice(3, 7))])
    assert joined.detections is not None
    assert equal(joined.detections, boxes)
    assert torch.equal(joined.logits, scores.logits)

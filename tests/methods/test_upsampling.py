"""Coarse token maps on the patch grid: every token keeps the place of the patches that it was made of."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from methods.heads.gah import GlobalAggregationHead
from methods.heads.upsampling import Upsampling

SIDES = st.integers(2, 16)


def gah(grid: int, stride: int, pool: str) -> GlobalAggregationHead:
    return GlobalAggregationHead(8, 5, grid, 1, stride=stride, pool=pool)  # type: ignore[arg-type]


def columns(grid: int) -> torch.Tensor:
    """A map (1, 2, g, g) of each patch's row and column."""
    places = torch.arange(grid, dtype=torch.float32)
    return torch.stack(torch.meshgrid(places, places, indexing="ij"))[None]


@given(grid=SIDES, stride=st.integers(1, 16), pool=st.sampled_from(["subsample", "average"]))
def test_tokens_of_a_gah_stay_where_they_were_taken(grid: int, stride: int, pool: str) -> None:
    """A map of places comes back as it was, between the outermost tokens; beyond them it has their values."""
    stride = min(stride, grid)
    head = gah(grid, stride, pool)
    tokens = head.align(columns(grid))
    side = int(len(tokens[0]) ** 0.5)
    coarse = tokens.transpose(1, 2).unflatten(2, (side, side))
    low, high = float(coarse.min()), float(coarse.max())
    torch.testing.assert_close(head.upsampling()(coarse), columns(grid).clamp(low, high), atol=1e-4, rtol=1e-4)


def test_a_peak_at_a_token_is_a_peak_at_its_patch() -> None:
    """Not half a patch below and to the right of it, where resizing by corners of areas puts it."""
    coarse = torch.zeros(1, 1, 8, 8)
    coarse[0, 0, 1, 3] = 1.0
    fine = gah(16, 2, "subsample").upsampling()(coarse)[0, 0]
    assert (fine == fine.max()).nonzero().tolist() == [[2, 6]]


def test_a_map_of_the_patch_grid_stays_as_it_is() -> None:
    maps = torch.randn(2, 3, 5, 5)
    assert Upsampling(5)(maps) is maps


def test_a_coarse_map_of_a_head_that_says_nothing_covers_the_whole_grid() -> None:
    coarse = columns(3)
    fine = Upsampling(6)(coarse)
    assert fine.shape == (1, 2, 6, 6)
    torch.testing.assert_close(fine.mean((2, 3)), coarse.mean((2, 3)))

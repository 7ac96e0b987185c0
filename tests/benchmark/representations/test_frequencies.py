"""Shares of high frequencies of made-up maps."""

from __future__ import annotations

from math import pi

import pytest
import torch
from torch import Tensor

from benchmark.representations.frequencies import high_frequency_share, spectral_power, white_noise_share


def wave(wavelength: float, grid: int = 8) -> Tensor:
    """A cosine along the rows plus a large mean, as two equal images with three channels."""
    row = 100 + torch.cos(2 * pi * torch.arange(grid) / wavelength)
    return row.expand(2, 3, grid, grid)


@pytest.mark.parametrize(("wavelength", "share"), [(2, 1), (8 / 3, 1), (4, 0), (8, 0)])
def test_waves_shorter_than_four_tokens_are_high(wavelength: float, share: float) -> None:
    assert high_frequency_share(spectral_power(wave(wavelength))) == pytest.approx(share, abs=1e-5)


def test_the_share_is_of_power_without_the_mean() -> None:
    mixed = wave(8) + 2 * wave(2)  # the shortest wave has a single coefficient: power 4 x 2 against 1
    assert high_frequency_share(spectral_power(mixed)) == pytest.approx(8 / 9, abs=1e-5)
    assert high_frequency_share(torch.zeros(8, 8)) is None
    assert white_noise_share(1) is None


def test_independent_tokens_have_the_share_of_white_noise() -> None:
    tokens = torch.randn(20, 50, 7, 7, generator=torch.Generator().manual_seed(0))
    assert white_noise_share(7) == 40 / 48  # 9 of the 49 frequencies are low, one of them is 0
    assert high_frequency_share(spectral_power(tokens)) == pytest.approx(40 / 48, abs=0.005)

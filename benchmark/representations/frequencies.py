"""The share of high spatial frequencies in a map of tokens."""

from __future__ import annotations

import torch
from torch import Tensor

CUT_OFF = 0.5
"""Frequencies above this are high, in units of pi per token: 0.5 is a wavelength of 4 tokens, and 1 the highest frequency."""


def spectral_power(tokens: Tensor) -> Tensor:
    """The power of each frequency of maps (B, C, g, g), summed over images and channels: (g, g), in the order of `fft2`."""
    return torch.fft.fft2(tokens.float()).abs().square().double().sum(dim=(0, 1))


def high_frequency_share(power: Tensor) -> float | None:
    """The share of the power above `CUT_OFF`, of the power of all frequencies but zero.

    Park and Kim ("How do vision transformers work?", ICLR 2022) transform the token maps of each block likewise and show that
    self-attention dampens high frequencies; they plot the log amplitude at frequency pi against that at 0. Here one number sums
    the power of all channels beyond a cut-off. Frequency 0, the mean of the map, is no variation in space and is left out.

    Args:
        power: of `spectral_power`, (g, g).

    Returns:
        in [0, 1]; None if the maps do not vary in space.
    """
    radius = _radius(power.shape[0]).to(power.device)
    varying = float(power[radius > 0].sum())
    return float(power[radius > CUT_OFF].sum()) / varying if varying > 0 else None


def white_noise_share(grid: int) -> float | None:
    """The share of independent tokens, whose expected power is equal at all frequencies; None for a single token."""
    return high_frequency_share(torch.ones(grid, grid, dtype=torch.float64))


def _radius(grid: int) -> Tensor:
    """The Euclidean norm of each two-dimensional frequency, in units of pi per token: (g, g)."""
    one = 2 * torch.fft.fftfreq(grid)
    return torch.hypot(one[:, None], one[None, :])

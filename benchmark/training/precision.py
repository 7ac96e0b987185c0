"""Automatic mixed precision: matrix products in 16 bits; weights, losses and optimizer steps in 32 bits."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from results.spec import Recipe

SHORT = {"bf16": torch.bfloat16, "fp16": torch.float16}


def mixed(recipe: Recipe, device: torch.device) -> AbstractContextManager[object]:
    """A context in which forward passes use the precision of the recipe."""
    if recipe.precision not in SHORT:
        return nullcontext()
    # No cache of cast weights: a cache filled under no_grad would block the gradients of a later pass.
    return torch.autocast(device.type, SHORT[recipe.precision], cache_enabled=False)


def loss_scaler(recipe: Recipe, module: nn.Module) -> torch.amp.GradScaler:
    """Scales gradients into the range of float16 and skips steps in which they overflow; disabled in other precisions."""
    device = next(module.parameters()).device
    return torch.amp.GradScaler(device.type, enabled=recipe.precision == "fp16")

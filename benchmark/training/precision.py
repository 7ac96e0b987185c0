"""Automatic mixed precision, as a recipe asks for it: products in 16 bits; weights, losses and the optimizer's step in 32."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from results.spec import Recipe

SHORT = {"bf16": torch.bfloat16, "fp16": torch.float16}


def mixed(recipe: Recipe, device: torch.device) -> AbstractContextManager[object]:
    """While entered, forward passes compute in the recipe's precision."""
    if recipe.precision not in SHORT:
        return nullcontext()
    # Without torch's cache of cast weights: one filled under no gradient would cut the gradients of a later pass.
    return torch.autocast(device.type, SHORT[recipe.precision], cache_enabled=False)


def loss_scaler(recipe: Recipe, module: nn.Module) -> torch.amp.GradScaler:
    """Keeps gradients in the range of float16, and leaves out a step in which they overflow; idle in other precisions."""
    device = next(module.parameters()).device
    return torch.amp.GradScaler(device.type, enabled=recipe.precision == "fp16")

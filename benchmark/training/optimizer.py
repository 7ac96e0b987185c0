"""The AdamW optimizer of all recipes, and the learning rate as a function of the step."""

from __future__ import annotations

import math

import torch
from torch import nn

from results.spec import Recipe

UNDECAYED = {"pos_embed", "cls_token", "dist_token", "relative_position_bias_table"}


def make_optimizer(module: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter, ICLR 2019); no weight decay on norms, biases, positions and class tokens."""
    decayed: list[nn.Parameter] = []
    undecayed: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        plain = parameter.ndim <= 1 or name.rsplit(".", 1)[-1] in UNDECAYED
        (undecayed if plain else decayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": undecayed, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.lr, fused=True)


def learning_rate(recipe: Recipe, step: int, total: int) -> float:
    """The learning rate of a step (0-based): linear warm-up to `lr`, then the schedule, which reaches 0 at step ``total``."""
    warm = recipe.warmup * total
    if step < warm:
        return recipe.lr * (step + 1) / (warm + 1)
    done = (step - warm) / (total - warm)
    factor = {"constant": 1.0, "linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done))}
    return recipe.lr * factor[recipe.schedule]

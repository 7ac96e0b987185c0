"""The optimizer of a recipe, and the learning rate as a function of the step."""

from __future__ import annotations

import math
from typing import Any

import torch
from timm.optim import Muon
from torch import nn

from results.spec import Recipe

UNDECAYED = {"pos_embed", "cls_token", "dist_token", "relative_position_bias_table"}


def make_optimizer(module: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The optimizer of a recipe; no weight decay on norms, biases, positions and class tokens.

    ``adamw`` is AdamW (Loshchilov and Hutter, ICLR 2019). ``muon`` is timm's Muon (Jordan et al., 2024): the momentum of every
    decayed parameter, seen as a matrix, is orthogonalised, and scaled so that learning rates are comparable with those of AdamW
    (Liu et al., arXiv 2502.16982). It updates the parameters without decay by AdamW.
    """
    decayed: list[nn.Parameter] = []
    undecayed: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        plain = parameter.ndim <= 1 or name.rsplit(".", 1)[-1] in UNDECAYED
        (undecayed if plain else decayed).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": undecayed, "weight_decay": 0.0},
    ]
    if recipe.optimizer == "muon":
        groups[1]["use_fallback"] = True
        return Muon(groups, lr=recipe.lr)
    return torch.optim.AdamW(groups, lr=recipe.lr, fused=True)


def learning_rate(recipe: Recipe, step: int, total: int) -> float:
    """The learning rate of a step (0-based): linear warm-up to `lr`, then the schedule, which reaches 0 at step ``total``."""
    warm = recipe.warmup * total
    if step < warm:
        return recipe.lr * (step + 1) / (warm + 1)
    done = (step - warm) / (total - warm)
    factor = {"constant": 1.0, "linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done))}
    return recipe.lr * factor[recipe.schedule]

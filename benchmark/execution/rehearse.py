"""A rehearsal: every model of a grid at full size through a few steps, with a kill in every training, in minutes.

The grid's runs are reduced to one for each backbone, method, exits and dataset. Data become noise, pretrained weights random
ones, and recipes two epochs of one step of two images. All else is real: the executor, the checkpoints, the scores, the costs,
the records. Each training is killed with SIGKILL once, after its first checkpoint, and resumes in a new process. No torch here.
"""

from __future__ import annotations

import shutil

from rich.console import Console

from benchmark.execution.config import ExecutionConfig
from benchmark.execution.local import LocalResult, run_locally
from benchmark.grid.load import Grid
from benchmark.stages.plan import make_plan
from datasets.synthetic import PREFIX
from results.spec import Configured, Recipe, Recipes, ReplacementBackbone, RunSpec, Weights
from results.store.folder import Store

EPOCHS = 2
BATCH = 2
RATE = 1e-4


def rehearsal_of(grid: Grid) -> Grid:
    """The distinct models of a grid, trained on noise for two steps."""
    runs: dict[str, RunSpec] = {}
    for run in grid.runs:
        train = run.train
        recipes = Recipes(**{name: _short(getattr(train.recipes, name)) for name in Recipes.model_fields})
        small = train.model_copy(
            update={
                "dataset": Configured(name=PREFIX + train.dataset.name),
                "weights": Weights(),
                "replacement": train.replacement and ReplacementBackbone(backbone=train.replacement.backbone),
                "recipes": recipes,
                "seed": 0,
            }
        )
        made = run.model_copy(update={"train": small, "learning_rates": ()})
        runs.setdefault(made.model_dump_json(exclude={"scheme"}), made)
    return Grid(f"{grid.name}-rehearsal", grid.source, tuple(runs.values()))


def _short(recipe: Recipe) -> Recipe:
    """A recipe of two steps at one learning rate, so that models with several learning rates are rehearsed once."""
    return recipe.model_copy(update={"epochs": EPOCHS, "batch_size": BATCH, "accumulate": 1, "lr": RATE})


def rehearse(console: Console, grid: Grid, config: ExecutionConfig) -> LocalResult:
    """Execute a grid in an empty results folder, with a kill in every training if the config says so.

    Args:
        console: where to show progress.
        grid: from `rehearsal_of`, or any other whose trainings take at least two epochs.
        config: its results folder is emptied first.

    Raises:
        UserError: a mistake of the user.
    """
    store = Store(config.results)
    if store.root.exists():
        shutil.rmtree(store.root)
    return run_locally(console, make_plan(grid, store), config)

"""A rehearsal: every model of a grid at full size through a few steps, with a kill in every training, in minutes.

The grid's runs are taken once for each backbone, method, exits and dataset; data become noise, pretrained weights random
ones, recipes two epochs of one step of two images. All else is the real thing: the executor, the checkpoints, the scores, the
costs, the records. Each training is killed with SIGKILL once, as soon as its first checkpoint is on disk, and goes on from it
in a new process.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from benchmark.errors import UserError
from benchmark.grid.load import Grid
from benchmark.progress import Reporter
from benchmark.stages.plan import make_plan
from datasets.synthetic import PREFIX
from results.spec import Configured, Recipe, Recipes, ReplacementBackbone, RunSpec, Weights
from results.store.folder import Store

EPOCHS = 2
BATCH = 2
RATE = 1e-4
USER_MISTAKE = 2
MARK = "killed"


@dataclass(frozen=True)
class Rehearsed:
    """What a rehearsal did: ``kills`` in trainings, runs that ``failed`` (their ids)."""

    kills: int
    failed: list[str]


def rehearsal_of(grid: Grid) -> Grid:
    """The grid's distinct models, on noise, in two steps."""
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
    """Two steps, at one rate, so that models that a grid trains at several are rehearsed once."""
    return recipe.model_copy(update={"epochs": EPOCHS, "batch_size": BATCH, "accumulate": 1, "lr": RATE})


def rehearse(
    grid: Grid,
    store: Store,
    device: str,
    threads: int | None,
    say: Callable[[str], None],
    *,
    kill: bool = True,
    quiet: bool = False,
) -> Rehearsed:
    """Work through a grid in processes that kill themselves, until one comes to the end.

    Args:
        grid: of `rehearsal_of`, or any other that trains for two epochs or more.
        store: a results folder of its own; what an earlier rehearsal left there is removed.
        device: of torch.
        threads: of torch; None for its own choice.
        say: told of every kill.
        kill: whether each training is killed once; without, one process does it all.
        quiet: show no progress.

    Raises:
        UserError: something that the user must mend first; it was printed.
    """
    if store.root.exists():
        shutil.rmtree(store.root)
    store.prepare()
    # timm uses torch.jit.script on import; nothing a user could do about it.
    os.environ.setdefault("PYTHONWARNINGS", "ignore::FutureWarning:torch.jit._script")
    # torch and timm are imported once; every worker is a fork of the process that has them.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmark.execution.local"])
    kills = 0
    while True:
        worker = context.Process(target=_work, args=(grid, store.root, device, threads, kill, quiet))
        worker.start()
        worker.join()
        if worker.exitcode == -signal.SIGKILL and any(store.root.glob(f"progress/*/{MARK}")):
            kills += 1
            say(f"kill {kills}: SIGKILL behind the first checkpoint; going on in a new process")
        elif worker.exitcode == 0:
            plan = make_plan(grid, store)
            return Rehearsed(kills, [run.run_id for run in plan.missing_runs])
        elif worker.exitcode == USER_MISTAKE:
            raise UserError("the rehearsal stopped at the mistakes above")
        else:
            raise UserError(f"the rehearsal's process ended with {worker.exitcode}; its output is above")


class _Killer(Reporter):
    """Shows progress, and kills its own process when a training has its first checkpoint."""

    def __init__(self, console: Console, root: Path) -> None:
        super().__init__(console)
        self.root = root

    def step(self, step: int, epoch: int, metrics: Callable[[], dict[str, float]]) -> None:
        super().step(step, epoch, metrics)
        unmarked = [p.parent for p in self.root.glob("progress/*/checkpoint.pt") if not (p.parent / MARK).exists()]
        for folder in unmarked:
            (folder / MARK).touch()
        if unmarked:
            os.kill(os.getpid(), signal.SIGKILL)


def _work(grid: Grid, root: Path, device: str, threads: int | None, kill: bool, quiet: bool) -> None:
    from benchmark.execution.device import set_up_torch
    from benchmark.execution.local import execute_here
    from benchmark.execution.maker import StageMaker

    chosen = set_up_torch(device, threads)
    console, store = Console(quiet=quiet), Store(root)
    reporter = _Killer(console, root) if kill else Reporter(console)
    try:
        plan = make_plan(grid, store)
        execute_here(StageMaker(plan, store, reporter, chosen, None, loader_processes=0))
    except UserError as error:
        for message in error.messages:
            Console(stderr=True).print(f"error: {message}", style="red", markup=False, soft_wrap=True)
        os._exit(USER_MISTAKE)

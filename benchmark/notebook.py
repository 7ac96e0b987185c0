"""The results of the suite in Python, for notebooks. Start Python in the checkout, or put the checkout first on ``sys.path``.

from benchmark.notebook import build, load_results, load_run

run = load_run("lgvit-vit_nano_patch4_28")   # a run id, or an unambiguous beginning of one
run.points                                   # operating points on test, with intervals: a pandas table
run.curves                                   # accuracy over cost of every policy and threshold: a pandas table
run.scores("test").logits                    # torch, [exits, samples, classes]
run.predict([image])                         # numpy uint8 [H, W, 3]: class, confidence, exit, MACs
read_scores("scores/scores-0123456789abcdef/val.safetensors")   # a file of report --with-scores: the same form
load_results("results")                      # operating points of all runs in a folder: a pandas table
model = build("vit_tiny_patch16_224", exits=(4, 8), heads="lph", num_classes=100)   # a model to train elsewhere
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmark import registry
from benchmark.checkout import ROOT
from benchmark.deployment.predictor import Predictor, load_predictor
from benchmark.errors import UserError
from benchmark.evaluation.scores import SCORED, ExitScores
from benchmark.evaluation.stored_runs import load_run_scores, released_scores
from benchmark.run_reference import find_run
from benchmark.training.heads import make_head
from methods.api import CLASSIFICATION, Component
from methods.lookup import unknown
from methods.model import ExitHeads, MultiExitModel
from methods.tasks import get_task
from results.record import DoneRecord
from results.store.folder import Store
from results.tables.loading import load_runs
from results.tables.points import points
from results.tables.run import Run

RESULTS = ROOT / "results"


@dataclass(frozen=True)
class LoadedRun:
    """A finished run.

    Attributes:
        store: the results folder.
        run: its record and tables.
    """

    store: Store
    run: Run

    @property
    def record(self) -> DoneRecord:
        return self.run.record

    @property
    def curves(self) -> pd.DataFrame:
        """One row per policy, split and threshold: policy, split, threshold, accuracy, low, high, mean_macs, mean_block."""
        return self.run.curves

    @property
    def points(self) -> pd.DataFrame:
        """One row per operating point, on test; `results.tables.points.points` lists the columns."""
        return points([self.run])

    def scores(self, split: str) -> ExitScores:
        """The stored logits of every exit: logits [K, N, C], labels [N], sample_id [N].

        In a folder that ``report --format records --with-scores fp16`` wrote, these are the released scores; see `read_scores`.

        Args:
            split: ``val`` or ``test``.

        Raises:
            UserError: unknown split, an external run, which has no logits, or the scores are not in the results folder.
            StoreError: the scores were changed.
        """
        if split not in SCORED:
            raise UserError(unknown("split", split, SCORED))
        return load_run_scores(self.store, self.record)[split]

    def predict(
        self, images: Sequence[np.ndarray], *, point: str | None = None, threshold: float | None = None
    ) -> pd.DataFrame:
        """Classify images by dynamic inference on the CPU.

        Args:
            images: each uint8 [H, W, 3], [H, W, 1] or [H, W].
            point: name of an operating point; without it and without a threshold, a drop of at most 1 point on val.
            threshold: of the run's first policy.

        Returns:
            one row per image: label, name, confidence, exit, block, macs.

        Raises:
            UserError: the point does not exist, or the run's weights are not in the results folder.
            ValueError: an image has another type or shape.
        """
        predictor = self.predictor
        if point is not None or threshold is not None:
            predictor = load_predictor(
                self.store, self.record.run_id, torch.device("cpu"), point=point, threshold=threshold
            )
        columns = ["label", "name", "confidence", "exit", "block", "macs"]
        return pd.DataFrame(predictor.predict(images), columns=columns)

    @cached_property
    def predictor(self) -> Predictor:
        """The model with the policy of the default operating point."""
        return load_predictor(self.store, self.record.run_id, torch.device("cpu"))


def load_run(ref: str, results: Path | str = RESULTS) -> LoadedRun:
    """A finished run.

    Args:
        ref: a run's id, its short id, or the beginning of either.
        results: the results folder.

    Raises:
        UserError: no run or several runs fit, or the run failed or is damaged.
    """
    store = Store(Path(results))
    runs, problems = load_runs(store, [find_run(ref, store.run_ids(), str(store.root))])
    if not runs:
        raise UserError(*problems)
    return LoadedRun(store, runs[0])


def read_scores(path: Path | str) -> ExitScores:
    """Scores from one file of a release, ``scores/<stage>/<split>.safetensors``: logits [K, N, C], labels [N], sample_id [N].

    `results.store.released_scores` documents the layout. Logits are rounded to half precision: a confidence p differs from the
    original by at most p ln(C) / 1024, so a policy decides as on the original but for samples that close to its threshold.
    With more than 50 classes the file holds the 50 largest logits per exit, and the others are approximate.

    Raises:
        StoreError: the file is missing or in another form.
    """
    return released_scores(Path(path))


def load_results(folder: Path | str = RESULTS) -> pd.DataFrame:
    """The operating points of all finished runs in a results folder, on test; see `results.tables.points.points`.

    Failed and damaged runs are left out; ``attrs["problems"]`` of the table names them.
    """
    store = Store(Path(folder))
    runs, problems = load_runs(store, store.run_ids())
    table = points(runs)
    table.attrs["problems"] = problems
    return table


def build(
    timm_name: str, exits: Sequence[int], heads: str | Sequence[str] = "linear", num_classes: int = 1000
) -> MultiExitModel:
    """A backbone with early exits and random weights, for training elsewhere.

    ``model(images)`` returns the logits of all exits, [K, B, num_classes], the final exit last. ``model.backbone.model`` is the
    timm model, which takes a state dict of timm.

    Args:
        timm_name: a registered backbone (``python -m benchmark list``), or ``timm:NAME`` for another model of timm.
        exits: 1-based block numbers, ascending, below the number of blocks.
        heads: name of a registered head for all exits, or one name per exit.
        num_classes: number of classes.

    Raises:
        UserError: unknown backbone or head, exits that do not exist, or a head that does not fit.
    """
    try:
        card = registry.card("backbone", timm_name)
        names = [heads] * len(exits) if isinstance(heads, str) else list(heads)
        if list(exits) != sorted(set(exits)) or not exits or not 1 <= exits[0] <= exits[-1] < card.depth:
            raise UserError(f"exits {list(exits)}: ascending block numbers between 1 and {card.depth - 1}")
        if len(names) != len(exits):
            raise UserError(f"{len(names)} heads for {len(exits)} exits; use one name, or one name per exit")
        modules = [
            make_head(Component(name), block, card, num_classes, get_task(CLASSIFICATION))
            for block, name in zip(exits, names, strict=True)
        ]
        return MultiExitModel(card.load()(card.architecture, num_classes), ExitHeads(exits, modules)).eval()
    except (KeyError, ValueError) as error:
        raise UserError(str(error.args[0])) from None

"""Makes stages and records runs, one at a time, for whoever executes a plan: here, in several processes, on a cluster."""

from __future__ import annotations

import json
import shutil
import time
import uuid
from collections import defaultdict
from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from safetensors.torch import save

from benchmark import provenance, registry
from benchmark.errors import UserError
from benchmark.evaluation.scores import SCORED, save_scores, score_file, score_split
from benchmark.execution.attempt import Attempts
from benchmark.execution.building import Builder
from benchmark.execution.causes import KilledError
from benchmark.execution.checking import check_parts, check_weights
from benchmark.execution.distributed import Team
from benchmark.execution.recording import COSTS, Recorder
from benchmark.measure.price import price
from benchmark.progress import Reporter
from benchmark.stages.graph import method_of
from benchmark.stages.plan import Plan, counted
from benchmark.stages.stage import RunStages, Stage
from benchmark.training.backbone import BACKBONE_WEIGHTS, classes_of
from benchmark.training.heads import HEADS_WEIGHTS
from benchmark.training.inputs import Inputs
from benchmark.training.loop import Interrupted, Learner, TrainingDivergedError, fit
from datasets.api import DataError
from methods.model import ExitHeads, MultiExitModel
from results.record import FailedRecord
from results.spec import TrainSpec
from results.store.attempts import this_process
from results.store.folder import Store, StoreError

# These end the whole command: they would meet every other run too, or the user wants to stop.
FATAL = (UserError, DataError, StoreError, Interrupted, KeyboardInterrupt)


@dataclass
class StageMaker:
    """Makes the stages of a plan. Several may be at work in one results folder: a stage is made under its lock.

    Attributes:
        reporter: shows progress, and says when to stop.
        data_dir: where the user keeps datasets, if named.
        loader_processes: that make batches; None to choose. Results do not depend on it.
        most_loaders: what may be chosen; for one who shares the machine.
        session: the command or submission, which others may share; what fails in it is not tried again in it.
        log: where this process's output goes, for those who look for it; None for a terminal.
        place: what stands in front of every line, such as ``run 1/3``.
        team: processes that train together; this is the first of them.
    """

    plan: Plan
    store: Store
    reporter: Reporter
    device: torch.device
    data_dir: Path | None
    loader_processes: int | None = None
    session: str = field(default_factory=lambda: uuid.uuid4().hex)
    log: Path | None = None
    place: str = ""
    most_loaders: int | None = None
    team: Team = field(default_factory=Team)

    def __post_init__(self) -> None:
        me = this_process(self.session, self.log)
        self.attempts = Attempts(self.store, self.reporter, me, str(self.device))
        self.recorder = Recorder(self.plan, self.store, self.attempts, self.inputs)
        self.threads = torch.get_num_threads()
        self.builder = Builder(self.store, self.device, self.data_dir, self.loader_processes, self.most_loaders)

    def check(self, runs: Sequence[RunStages] | None = None) -> None:
        """Build everything once before anything trains.

        Args:
            runs: that matter; None for all that are missing.

        Raises:
            UserError: a sentence for every part that does not fit.
            DataError: images are missing or damaged.
        """
        runs = self.plan.missing_runs if runs is None else runs
        check_parts(runs, str(self.plan.grid.source))
        for run in runs:
            self.inputs(run.spec.train)
        needed = {stage for run in runs for stage in run.chain}
        check_weights([stage for stage in self.plan.missing_stages if stage in needed], self.builder.weights)

    def make(self, stage: Stage, *, wait: bool = True) -> bool:
        """Make one stage unless it is there; with it, those that share its pass.

        Args:
            stage: of the plan; what it needs must be there.
            wait: until another process that is at it comes to an end; else leave it to that.

        Returns:
            whether the stage is there now: False if it was left to another process.

        Raises:
            BlockedError: it failed before in this session, or what it needs is not there.
            Interrupted: the user asked to stop; the checkpoint is written.
            Exception: whatever keeps it from being made; the stage's attempts tell it to others.
        """
        if self.store.has_stage(stage.name):
            return True
        if self.reporter.stop_requested():
            raise Interrupted
        self.attempts.refuse(stage)
        together = self.missing_of_pass(stage)
        with self.attempts.taken([one.name for one in together], wait=wait) as taken:
            if not taken:
                return False
            # While we waited, others may have made it, or failed.
            if self.store.has_stage(stage.name):
                for one in together:
                    if self.store.has_stage(one.name):
                        shutil.rmtree(self.store.progress_dir(one.name), ignore_errors=True)
                return True
            self.attempts.refuse(stage)
            torch.set_num_threads(self.threads)  # a checkpoint may have set another number for the stage before
            self._make(stage, together)
        return True

    def missing_of_pass(self, stage: Stage) -> list[Stage]:
        """The stages that are made together with one, itself included, as far as they are missing and have not failed."""
        if stage.kind != "exits" or self.attempts.is_dangerous(stage.name):
            return [stage]
        others = [one for one in self.passes[stage.shared_pass] if one is not stage]
        return [stage, *(one for one in others if self._joins(one.name))]

    def _joins(self, name: str) -> bool:
        gone = self.store.has_stage(name) or self.attempts.failed(name) is not None
        return not gone and not self.attempts.is_dangerous(name)

    @cached_property
    def passes(self) -> dict[Hashable, list[Stage]]:
        found: dict[Hashable, list[Stage]] = defaultdict(list)
        for stage in self.plan.missing_stages:
            found[stage.shared_pass].append(stage)
        return found

    def _make(self, stage: Stage, together: Sequence[Stage]) -> None:
        """Under the locks of all."""
        together = [one for one in self.attempts.startable(together) if not self.store.has_stage(one.name)]
        if stage not in together:
            failed = self.attempts.failed(stage.name)
            raise KilledError(failed.sentence if failed else stage.name)
        make = {"scores": self.scores, "cost": self.cost}.get(stage.kind, self.train)
        try:
            with self.attempts.making(together, stage):
                make(stage, together)
        except TrainingDivergedError as error:
            if error.learner == stage.name:
                raise
            # Another method of this pass broke: go on without it, from the checkpoints of the others.
            self.reporter.say(f"{self.at}{error}; the others go on without it")
            self._make(stage, together)

    def train(self, stage: Stage, together: Sequence[Stage]) -> None:
        """Train stages in one pass, of which one was asked for."""
        train, recipe, kind = stage.run.train, stage.recipe, stage.kind
        assert recipe is not None
        inputs = self.inputs(train)
        learners, frozen = self.builder.learners(together)
        steps = learners[0].total_steps
        images = recipe.epochs * len(inputs.splits["train"]) / max(steps, 1)
        with (
            self.reporter.stage(f"{self.at}{_title(stage, together)}", steps, recipe.epochs),
            self.team.together(kind, together) as ranks,
        ):
            fit(
                learners,
                lambda epoch, skip: inputs.training(recipe, kind, train.seed, epoch, skip, ranks),
                frozen,
                lambda learner: checkpoint_of(self.store, learner),
                self.attempts.heart(together, steps, recipe.epochs, images),
                self.device,
                ranks,
            )
        for one, learner in zip(together, learners, strict=True):
            with self.write(one, learner.seconds, len(together)) as folder:
                module = learner.module
                if isinstance(module, MultiExitModel):
                    parts = {BACKBONE_WEIGHTS: module.backbone, HEADS_WEIGHTS: module.exit_heads}
                else:
                    parts = {HEADS_WEIGHTS if isinstance(module, ExitHeads) else BACKBONE_WEIGHTS: module}
                for file, part in parts.items():
                    # Heads may share modules; a file of safetensors holds each name on its own.
                    state = {name: tensor.cpu().contiguous().clone() for name, tensor in part.state_dict().items()}
                    (folder / file).write_bytes(save(state))
                (folder / "history.json").write_text(json.dumps(learner.history, indent=1) + "\n", encoding="utf-8")

    def scores(self, stage: Stage, together: Sequence[Stage]) -> None:
        train = stage.run.train
        inputs = self.inputs(train)
        label = "the backbone without exits" if stage.parents[0].heads is None else train.method.label
        begun = time.monotonic()
        with self.reporter.stage(f"{self.at}scoring {label} on {' and '.join(SCORED)}"):
            model = self.builder.scored_model(stage)
            with self.team.together(stage.kind, [stage]) as ranks:
                found = {split: score_split(model, inputs, split, self.device, ranks) for split in SCORED}
        with self.write(stage, time.monotonic() - begun) as folder:
            for split, scores in found.items():
                save_scores(scores, folder / score_file(split))

    def cost(self, stage: Stage, together: Sequence[Stage]) -> None:
        train = stage.run.train
        begun = time.monotonic()
        with self.reporter.stage(f"{self.at}counting the MACs of {train.method.label}"):
            table = price(train.backbone, method_of(train), train.exits, classes_of(train))
        with self.write(stage, time.monotonic() - begun) as folder:
            (folder / COSTS).write_text(table.model_dump_json(indent=1) + "\n", encoding="utf-8")

    # Records

    def finish(self, run: RunStages, seconds: float = 0.0) -> None:
        """Evaluate a run whose stages are there, and record it with its tables.

        Args:
            run: of the plan.
            seconds: that its stages took here.
        """
        record = self.recorder.finish(run, seconds)
        self.reporter.say(f"{self.at}{record.run_id} is recorded")

    def fail(self, run: RunStages, error: Exception) -> None:
        """Record that an exception kept a run from being made."""
        self._say_failed(self.recorder.fail(run, error))

    def conclude(self, run: RunStages) -> bool:
        """Record a run whose stages others made or failed to make: done, or failed by the first stage that is not there.

        Returns:
            whether it is done.
        """
        try:
            missing = self.recorder.first_missing(run)
            if missing is None:
                self.finish(run)
                return True
            self._say_failed(self.recorder.fail_by(run, missing))
        except FATAL:
            raise
        except Exception as error:
            self.fail(run, error)
        return False

    def _say_failed(self, record: FailedRecord) -> None:
        details = self.store.run(record.run_id) / "traceback.txt"
        see = f" (see {details})" if details.is_file() else ""
        self.reporter.say(f"{self.at}{record.run_id} failed: {record.cause}{see}")

    # What the stages share

    @property
    def at(self) -> str:
        return f"{self.place}: " if self.place else ""

    def inputs(self, train: TrainSpec) -> Inputs:
        return self.builder.inputs(train)

    def write(self, stage: Stage, seconds: float, shared_pass: int = 1) -> AbstractContextManager[Path]:
        """A folder for a stage's artifacts."""
        made = provenance.stage_provenance(
            str(self.device), seconds, shared_pass=shared_pass, attempts=self.attempts.numbers[stage.name]
        )
        return self.store.write_stage(stage.name, stage.fields, made)


def checkpoint_of(store: Store, learner: Learner) -> Path:
    return store.progress_dir(learner.name) / "checkpoint.pt"


def _title(stage: Stage, together: Sequence[Stage]) -> str:
    """What a training is, for people."""
    train = stage.run.train
    if stage.kind == "finetune":
        whole = stage.blocks == registry.card("backbone", train.backbone).depth
        what = train.backbone if whole else f"the first {stage.blocks} blocks of {train.backbone}"
        return f"fine-tuning {what} on {train.dataset.name}, seed {train.seed}"
    if stage.kind == "joint":
        return f"training {train.method.label} together with {train.backbone}, seed {train.seed}"
    names = counted(other.run.train.method.label for other in together)
    return f"training the exits of {names} on the frozen {train.backbone}, seed {train.seed}"

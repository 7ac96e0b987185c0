"""Makes stages: under their locks, recorded as attempts, together with those that share a pass over the data."""

from __future__ import annotations

import json
import shutil
import time
from collections import defaultdict
from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from safetensors.torch import save

from benchmark import provenance, registry
from benchmark.errors import Interrupted, UserError, blamed
from benchmark.evaluation.scores import CHOSEN, SCORED, choose_on_val, save_scores, score_file, score_split
from benchmark.execution.attempts import Attempts, HeartbeatWriter
from benchmark.execution.building import Builder
from benchmark.execution.causes import KilledError, sentence_of
from benchmark.execution.config import ExecutionConfig
from benchmark.execution.data_check import check_data, check_dataset_version, write_data
from benchmark.execution.last_quarter import FILE as VAL
from benchmark.execution.last_quarter import LastQuarterWatcher
from benchmark.execution.process_group import DistributedContext
from benchmark.execution.recorder import HISTORY, Recorder
from benchmark.execution.tensorboard import CurveWriter
from benchmark.execution.val_accuracy import ValAccuracyWatcher
from benchmark.measure.price import price
from benchmark.progress import Reporter
from benchmark.stages.graph import method_of, run_stages
from benchmark.stages.plan import Plan, changed_fields, counted
from benchmark.stages.stage import Stage
from benchmark.training.backbone import BACKBONE_WEIGHTS, classes_of, task_of
from benchmark.training.heads import HEADS_WEIGHTS
from benchmark.training.loop import Watcher
from methods.model import ExitHeads, MultiExitModel
from results.metric import METRICS
from results.record import COSTS
from results.store.attempts import this_process
from results.store.folder import Store

SHOWN_NAMES = 40
"""Characters of the names of methods in a title; the number of methods replaces longer ones."""


@dataclass
class StageMaker:
    """Makes the stages of a plan in one process. Several processes may do so in one results folder.

    Attributes:
        plan: that holds the stages.
        config: of this process.
        reporter: shows progress; says when to stop.
        device: of this process.
        context: the ranks that share trainings, of which this is rank 0.
        place: prefix of every line of output, such as ``run 1/3: ``.
    """

    plan: Plan
    config: ExecutionConfig
    reporter: Reporter
    device: torch.device
    context: DistributedContext = field(default_factory=DistributedContext)
    place: str = ""

    def __post_init__(self) -> None:
        self.store = Store(self.config.results)
        worker = this_process(self.config.session, self.config.log)
        self.attempts = Attempts(self.store, self.reporter, worker, str(self.device))
        self.builder = builder_for(self.config, self.device)
        self.recorder = Recorder(self.plan, self.store, self.attempts, self.builder.inputs)
        self.threads = torch.get_num_threads()

    def make(self, stage: Stage) -> bool:
        """Make one stage, together with those of its pass over the data, unless it exists or another process makes it.

        Args:
            stage: of the plan.

        Returns:
            whether the stage exists now; False if it was left to another process.

        Raises:
            BlockedError: it has failed before in this session, or a parent is missing.
            Interrupted: the user asked to stop; the checkpoint is written.
            Exception: any error in making it; it is also recorded in the stage's attempts for other processes.
        """
        if self.store.has_stage(stage.name):
            return True
        if self.reporter.stop_requested():
            raise Interrupted
        self.attempts.check_not_blocked(stage)
        check_packages(stage)
        together = self.missing_of_pass(stage)
        with self.attempts.locked([one.name for one in together]) as locked:
            if not locked:
                return False
            # Another process may have made it just before, or failed.
            if self.store.has_stage(stage.name):
                for one in together:
                    if self.store.has_stage(one.name):
                        shutil.rmtree(self.store.progress_dir(one.name), ignore_errors=True)
                return True
            self.attempts.check_not_blocked(stage)
            torch.set_num_threads(self.threads)  # a checkpoint may have set another number for the stage before
            self._make(stage, together)
        return True

    def missing_of_pass(self, stage: Stage) -> list[Stage]:
        """A stage, and the missing stages that can be trained in the same pass and have not failed."""
        if stage.kind != "exits" or self.attempts.has_last_try(stage.name):
            return [stage]
        others = [one for one in self._passes[stage.shared_pass] if one != stage]
        return [stage, *(one for one in others if self._joins(one.name))]

    def _joins(self, name: str) -> bool:
        ended = self.store.has_stage(name) or self.attempts.failed(name) is not None
        return not ended and not self.attempts.has_last_try(name)

    @cached_property
    def _passes(self) -> dict[Hashable, list[Stage]]:
        passes: dict[Hashable, list[Stage]] = defaultdict(list)
        for stage in self.plan.missing_stages:
            passes[stage.shared_pass].append(stage)
        return passes

    def _make(self, stage: Stage, together: Sequence[Stage]) -> None:
        """Make stages whose locks are held."""
        together = [one for one in self.attempts.startable(together) if not self.store.has_stage(one.name)]
        if stage not in together:
            attempt = self.attempts.failed(stage.name)
            raise KilledError(attempt.sentence if attempt else stage.name)
        make = {"scores": self._score, "cost": self._price}.get(stage.kind, self._train)
        again = False
        try:
            with self.attempts.attempt(together, stage):
                make(together)
        except Exception as error:
            failed = blamed(error)
            if failed in (None, stage.name) or self.context.out_of_step or self.reporter.stop_requested():
                raise
            # Another method of this pass failed: resume without it, from the checkpoints of the others.
            self.reporter.say(
                f"{self.place}{failed} failed ({sentence_of(error)}); the others of its pass continue without it"
            )
            again = True
        if again:  # after the handler, in which the exception keeps the models of the failed pass in memory
            self._make(stage, together)

    def _train(self, stages: Sequence[Stage]) -> None:
        recipe, train = stages[0].recipe, stages[0].run.train
        assert recipe is not None
        inputs = self.builder.inputs(train)
        for stage in stages:
            check_dataset_version(stage, inputs.card)
            check_data(stage.name, inputs, stage.parents, self.store)
        learners, frozen = self.builder.learners(stages)
        steps = learners[0].total_steps
        images_per_step = recipe.epochs * len(inputs.splits["train"]) / max(steps, 1)
        names = [stage.name for stage in stages]
        watcher = HeartbeatWriter(self.attempts, names, steps, recipe.epochs, images_per_step)
        task = task_of(train)
        shown = ValAccuracyWatcher(watcher, learners[0], task, inputs, lambda: self.builder.start(stages[0]))
        folder = self.store.progress_dir(stages[0].name)
        watched: Watcher = shown
        if stages[0].kind != "exits":
            watched = LastQuarterWatcher(shown, learners[0], task, inputs, folder / VAL, watcher.beat)
        curves = CurveWriter(watched, stages, learners, self.config.results) if self.config.tensorboard else None
        title = f"{self.place}{_title(stages)}"
        measured = METRICS[inputs.card.task].in_training
        with self.reporter.stage(title, steps, recipe.epochs, measured), self.context.calling(stages) as ranks:
            try:
                self.builder.fit(stages, learners, frozen, curves or watched, ranks)
            finally:
                if curves:
                    curves.close()
        for stage, learner in zip(stages, learners, strict=True):
            with self._write(stage, learner.seconds, len(stages)) as folder:
                module = learner.module
                if isinstance(module, MultiExitModel):
                    parts = {BACKBONE_WEIGHTS: module.backbone, HEADS_WEIGHTS: module.exit_heads}
                else:
                    parts = {HEADS_WEIGHTS if isinstance(module, ExitHeads) else BACKBONE_WEIGHTS: module}
                for file, part in parts.items():
                    # Heads may share modules; safetensors refuses tensors that share memory.
                    state = {name: tensor.cpu().contiguous().clone() for name, tensor in part.state_dict().items()}
                    if part is not module:  # where tokens leave, the backbone contains the heads
                        state = {name: state[name] for name in state if not name.startswith("exit_heads.")}
                    (folder / file).write_bytes(save(state))
                write_data(stage, inputs, folder)
                (folder / HISTORY).write_text(json.dumps(learner.history, indent=1) + "\n", encoding="utf-8")
                if (val := self.store.progress_dir(stage.name) / VAL).is_file():
                    (folder / VAL).write_bytes(val.read_bytes())

    def _score(self, stages: Sequence[Stage]) -> None:
        (stage,) = stages
        train = stage.run.train
        inputs = self.builder.inputs(train)
        check_dataset_version(stage, inputs.card)
        check_data(stage.name, inputs, stage.parents, self.store)
        is_plain = stage.parents[0].heads is None and stage.reduction is None
        label = "the backbone without exits" if is_plain else train.method.label
        start = time.monotonic()
        with self.reporter.stage(f"{self.place}scoring {label} on {' and '.join(SCORED)}"):
            model = self.builder.scored_model(stage)
            with self.context.calling(stages) as ranks:
                chosen = choose_on_val(model, inputs, self.device)
                scores = {split: score_split(model, inputs, split, self.device, ranks) for split in SCORED}
        with self._write(stage, time.monotonic() - start) as folder:
            write_data(stage, inputs, folder)
            for split in SCORED:
                save_scores(scores[split], folder / score_file(split))
            if chosen:
                (folder / CHOSEN).write_bytes(save(chosen))

    def _price(self, stages: Sequence[Stage]) -> None:
        (stage,) = stages
        train = stage.run.train
        start = time.monotonic()
        with self.reporter.stage(f"{self.place}counting the MACs of {train.method.label}"):
            task = registry.card("dataset", train.dataset.name).task
            table = price(train.backbone, method_of(train), train.exits, classes_of(train), task)
        with self._write(stage, time.monotonic() - start) as folder:
            (folder / COSTS).write_text(table.model_dump_json(indent=1) + "\n", encoding="utf-8")

    def _write(self, stage: Stage, seconds: float, shared_pass: int = 1) -> AbstractContextManager[Path]:
        """A folder for the artifacts of a stage."""
        made = provenance.stage_provenance(
            str(self.device), seconds, shared_pass=shared_pass, attempts=self.attempts.numbers[stage.name],
            earlier=self.attempts.earlier(stage.name),
        )  # fmt: skip
        return self.store.write_stage(stage.name, stage.fields, made)


def builder_for(config: ExecutionConfig, device: torch.device) -> Builder:
    """A builder with the settings of a process."""
    return Builder(Store(config.results), device, config.data_dir, config.loader_processes, config.workers)


def check_packages(stage: Stage) -> None:
    """Compare the code of installed packages with that of the plan.

    Raises:
        UserError: it has changed since the run was planned.
    """
    if not any(registry.is_outside(kind, name) for kind in registry.TABLES for name in registry.table(kind)):
        return
    present = next(
        (one for one in run_stages(stage.run).chain if one.kind == stage.kind and one.blocks == stage.blocks), None
    )
    changes = changed_fields(stage.fields, present.fields) if present else []
    code = [f"{field}: {before} -> {after}" for field, before, after in changes if field.endswith("code_version")]
    if code:
        raise UserError(
            f"{stage.name}: the code of an installed package changed since the run was planned ({'; '.join(code)})"
        )


def _title(stages: Sequence[Stage]) -> str:
    """The description of a training for display."""
    stage, train = stages[0], stages[0].run.train
    if stage.kind == "finetune":
        whole = stage.blocks == registry.card("backbone", train.backbone).depth
        backbone = train.backbone if whole else f"the first {stage.blocks} blocks of {train.backbone}"
        tokens = f" with {stage.reduction.name}" if stage.reduction else ""
        return f"fine-tuning {backbone}{tokens} on {train.dataset.name}, seed {train.seed}"
    if stage.kind == "joint":
        return f"training {train.method.label} together with {train.backbone}, seed {train.seed}"
    methods = counted(one.run.train.method.label for one in stages)
    methods = methods if len(methods) <= SHOWN_NAMES else f"{len(stages)} methods"
    return f"training the exits of {methods} on the frozen {train.backbone}, seed {train.seed}"

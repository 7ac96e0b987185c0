"""Carries out a plan on this machine: run by run, each missing stage once, exits that share a backbone in one pass."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from benchmark import provenance, registry
from benchmark.errors import UserError
from benchmark.measure.price import price
from benchmark.pipeline.build import (
    BACKBONE_WEIGHTS,
    HEADS_WEIGHTS,
    build_heads,
    classes_of,
    initial_backbone,
    load_backbone,
    load_heads,
)
from benchmark.pipeline.evaluate import Evaluation, accuracies, evaluate, evaluate_without_exits, exit_metrics
from benchmark.pipeline.exits import exits_learner, frozen_pass
from benchmark.pipeline.finetune import finetune_learner
from benchmark.pipeline.fit import Interrupted, Learner, TrainingDivergedError, fit
from benchmark.pipeline.inputs import Inputs, read_inputs
from benchmark.pipeline.joint import joint_learner
from benchmark.pipeline.score import SCORED, ExitScores, load_scores, save_scores, score_file, score_split
from benchmark.pipeline.stages import STAGES, RunStages, Stage, heads_of, method_of, own_policy
from benchmark.plan import Plan, counted
from benchmark.progress import Reporter
from benchmark.spec import TrainSpec
from benchmark.weights import locate
from datasets.api import DataError
from datasets.split_rules import SplitRule
from methods.backbones.backbone import BlockBackbone
from methods.model import ExitHeads, MultiExitModel
from results.record import CostTable, RunRecord, StageRef
from results.store import Store, StoreError

COSTS = "cost.json"
# These end the whole command: they would meet every other run too, or the user wants to stop.
FATAL = (UserError, DataError, StoreError, Interrupted, KeyboardInterrupt)


@dataclass
class LocalExecutor:
    """One process that works through a plan.

    Attributes:
        data_dir: where the user keeps datasets, if named.
        workers: processes that make batches; None to choose. Results do not depend on it.
    """

    plan: Plan
    store: Store
    reporter: Reporter
    device: torch.device
    data_dir: Path | None
    workers: int | None = None
    broken: dict[str, str] = field(default_factory=dict)

    def execute(self) -> list[str]:
        """Make every missing run.

        Returns:
            the ids of runs that failed; each has a record with the cause.

        Raises:
            UserError, DataError, StoreError: something that the user must mend first.
            Interrupted: the user asked to stop; nothing is lost.
        """
        self.check()
        missing, failed = self.plan.missing_runs, []
        for i, run in enumerate(missing, start=1):
            self.place = f"run {i}/{len(missing)}"
            begun = time.monotonic()
            try:
                for stage in run.chain:
                    self.make(stage)
                self.finish(run, time.monotonic() - begun)
            except FATAL:
                raise
            except Exception as error:
                failed.append(run.run_id)
                self.fail(run, error)
        return failed

    def check(self) -> None:
        """Build everything once before anything trains.

        Raises:
            UserError: a sentence for every part that does not fit.
        """
        mistakes = []
        for run in self.plan.missing_runs:
            train = run.spec.train
            try:
                build_heads(train)
                for stage in run.training:
                    if stage.training is not None:
                        registry.configured("loss", stage.training.loss.name, stage.training.loss.options)
                for policy in run.spec.policies:
                    registry.configured("policy", policy.name, policy.set)
            except (KeyError, ValueError, TypeError) as error:
                mistakes.append(f"{self.plan.grid.source}: {train.method.label} on {train.backbone}: {error.args[0]}")
        if mistakes:
            raise UserError(*dict.fromkeys(mistakes))
        for run in self.plan.missing_runs:
            self.inputs(run.spec.train)
        self.check_weights()

    def check_weights(self) -> None:
        """Put every pretrained file into the backbone that it is for.

        Raises:
            UserError: it does not fit.
        """
        checked = set()
        for stage in self.plan.missing_stages:
            if stage.recipe is None or not stage.fields.get("weights"):
                continue
            as_it_stands = stage.kind == "finetune" and stage.recipe.epochs == 0
            what = (stage.fields["weights"], json.dumps(stage.fields["backbone"]), as_it_stands)
            if what not in checked:
                checked.add(what)
                initial_backbone(stage.run.train, stage.blocks, self.weights(stage), as_it_stands=as_it_stands)

    def make(self, stage: Stage) -> None:
        """Make one stage unless it is there; with it, those that share its pass."""
        if self.store.has_stage(stage.name):
            return
        if self.reporter.stop_requested():
            raise Interrupted
        if stage.name in self.broken:
            raise BlockedError(f"blocked by {stage.name}: {self.broken[stage.name]}")
        try:
            if stage.kind == "finetune":
                self.finetune(stage)
            elif stage.kind == "joint":
                self.joint(stage)
            elif stage.kind == "exits":
                self.exits(stage)
            elif stage.kind == "scores":
                self.scores(stage)
            else:
                self.cost(stage)
        except FATAL:
            raise
        except Exception as error:
            self.broken[stage.name] = f"{type(error).__name__}: {error}"
            raise

    def finetune(self, stage: Stage) -> None:
        train = stage.run.train
        inputs = self.inputs(train)
        learner = finetune_learner(stage, inputs, self.weights(stage), self.device)
        whole = stage.blocks == registry.card("backbone", train.backbone).depth
        what = train.backbone if whole else f"the first {stage.blocks} blocks of {train.backbone}"
        title = f"{self.place}: fine-tuning {what} on {train.dataset.name}, seed {train.seed}"
        self.train(title, [stage], [learner], inputs, lambda batch: None)

    def joint(self, stage: Stage) -> None:
        train = stage.run.train
        inputs = self.inputs(train)
        if stage.parents:
            backbone = self.backbone(stage.parents[0])
        else:
            backbone = initial_backbone(train, stage.blocks, self.weights(stage), as_it_stands=False)
        learner = joint_learner(stage, backbone, inputs, self.device)
        title = f"{self.place}: training {train.method.label} together with {train.backbone}, seed {train.seed}"
        self.train(title, [stage], [learner], inputs, lambda batch: None)

    def exits(self, stage: Stage) -> None:
        train = stage.run.train
        together = [other for other in self.plan.missing_stages if other.shared_pass == stage.shared_pass]
        together = [o for o in together if not self.store.has_stage(o.name) and o.name not in self.broken]
        inputs = self.inputs(train)
        backbone = self.backbone(stage.parents[0])
        learners = [exits_learner(other, self.heads(other.parents[0]), inputs, self.device) for other in together]
        names = counted(other.run.train.method.label for other in together)
        title = f"{self.place}: training the exits of {names} on the frozen {train.backbone}, seed {train.seed}"
        try:
            self.train(title, together, learners, inputs, frozen_pass(backbone, together))
        except TrainingDivergedError as error:
            if error.learner == stage.name:
                raise
            # Another method of this pass broke: go on without it, from the checkpoints of the others.
            self.broken[error.learner] = f"{type(error).__name__}: {error}"
            self.reporter.say(f"{self.place}: {error}; the others go on without it")
            self.exits(stage)

    def train(
        self,
        title: str,
        stages: Sequence[Stage],
        learners: Sequence[Learner],
        inputs: Inputs,
        frozen: Any,
    ) -> None:
        recipe, seed, kind = learners[0].recipe, stages[0].run.train.seed, stages[0].kind
        with self.reporter.stage(title, learners[0].total_steps, recipe.epochs):
            fit(
                learners,
                lambda epoch, skip: inputs.training(recipe, kind, seed, epoch, skip),
                frozen,
                lambda learner: self.store.progress(learner.name) / "checkpoint.pt",
                self.reporter,
                self.device,
            )
        for stage, learner in zip(stages, learners, strict=True):
            with self.write(stage, learner.seconds, len(stages)) as folder:
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

    def scores(self, stage: Stage) -> None:
        train = stage.run.train
        parent = stage.parents[0]
        inputs = self.inputs(train)
        backbone = self.backbone(parent.backbone)
        heads = self.heads(parent)
        label = "the backbone without exits" if heads is None else train.method.label
        heads = heads or ExitHeads((), ())
        begun = time.monotonic()
        with self.reporter.stage(f"{self.place}: scoring {label} on {' and '.join(SCORED)}"):
            model = MultiExitModel(backbone, heads).to(self.device).eval()
            found = {split: score_split(model, inputs, split, self.device) for split in SCORED}
        with self.write(stage, time.monotonic() - begun) as folder:
            for split, scores in found.items():
                save_scores(scores, folder / score_file(split))

    def cost(self, stage: Stage) -> None:
        train = stage.run.train
        begun = time.monotonic()
        with self.reporter.stage(f"{self.place}: counting the MACs of {train.method.label}"):
            table = price(train.backbone, method_of(train), train.exits, classes_of(train))
        with self.write(stage, time.monotonic() - begun) as folder:
            (folder / COSTS).write_text(table.model_dump_json(indent=1) + "\n", encoding="utf-8")

    def finish(self, run: RunStages, seconds: float) -> None:
        """The record and its tables."""
        train = run.spec.train
        costs = CostTable.model_validate_json(self.store.artifact(run.cost.name, COSTS).read_text(encoding="utf-8"))
        scores, static = self.load_scores(run.scores), self.load_scores(run.static_scores)
        blocks = [*train.exits, len(costs.blocks)]
        if train.exits:
            as_published = SplitRule.of(train.dataset.set).mode == "as-published"
            policies = list(run.spec.policies)
            evaluation = evaluate(scores, static, costs, blocks, policies, as_published=as_published)
        else:
            evaluation = evaluate_without_exits(None if run.scores is run.static_scores else scores, static, costs)
        record = RunRecord(
            run_id=run.run_id,
            label=train.method.label,
            spec=run.spec.model_dump(mode="json"),
            own_policy=own_policy(train).label if train.exits else "",
            method={"name": train.method.name, **asdict(method_of(train))},
            status="done",
            stages=tuple(self.reference(stage) for stage in run.chain),
            provenance=self.provenance(seconds),
            data=self.inputs(train).data_card(),
            costs=costs,
            exits=exit_metrics(scores, blocks, [choice.name for choice in heads_of(train)]),
            static_accuracy={split: accuracies(found)[-1] for split, found in static.items()},
            points=evaluation.points,
        )
        self.write_run(record, evaluation)
        self.reporter.say(f"{self.place}: {run.run_id} is recorded")

    def fail(self, run: RunStages, error: Exception) -> None:
        cause = str(error) if isinstance(error, BlockedError) else f"{type(error).__name__}: {error}"
        details = "".join(traceback.format_exception(error))
        record = RunRecord(
            run_id=run.run_id,
            label=run.spec.train.method.label,
            spec=run.spec.model_dump(mode="json"),
            status="failed",
            cause=cause,
            provenance=self.provenance(0.0),
        )
        self.write_run(record, None, details)
        self.reporter.say(
            f"{self.place}: {run.run_id} failed: {cause} (see {self.store.run(run.run_id) / 'traceback.txt'})"
        )

    # What the stages share

    def inputs(self, train: TrainSpec) -> Inputs:
        return read_inputs(train, self.data_dir, self.workers, pin=self.device.type == "cuda")

    def weights(self, stage: Stage) -> Path | None:
        """The pretrained file that a stage starts from."""
        return locate(stage.run.train.weights.source, self.data_dir)

    def backbone(self, stage: Stage) -> BlockBackbone:
        artifact = self.store.artifact(stage.name, BACKBONE_WEIGHTS)
        return load_backbone(stage.run.train, stage.blocks, artifact, self.device)

    def heads(self, stage: Stage) -> ExitHeads | None:
        """The heads that a stage leaves, or that it was given; None if there are none yet."""
        if stage.heads is None:
            return None
        return load_heads(stage.run.train, self.store.artifact(stage.heads.name, HEADS_WEIGHTS), self.device)

    def load_scores(self, stage: Stage) -> dict[str, ExitScores]:
        return {split: load_scores(self.store.artifact(stage.name, score_file(split))) for split in SCORED}

    def write(self, stage: Stage, seconds: float, shared_pass: int = 1) -> Any:
        made = self.provenance(seconds) | {"shared_pass": shared_pass}
        return self.store.write_stage(stage.name, stage.fields, made)

    def write_run(self, record: RunRecord, evaluation: Evaluation | None, details: str = "") -> None:
        with self.store.write_run(record) as folder:
            if evaluation is not None:
                evaluation.write(folder)
            if details:
                (folder / "traceback.txt").write_text(details, encoding="utf-8")

    def provenance(self, seconds: float) -> dict[str, Any]:
        return provenance.made(str(self.device), seconds)

    def reference(self, stage: Stage) -> StageRef:
        made = self.store.provenance(stage.name)
        return StageRef(
            stage=stage.kind,
            key=stage.key,
            code_version=STAGES[stage.kind].version,
            seconds=made["seconds"],
            shared_pass=made["shared_pass"],
            artifacts=self.store.artifacts(stage.name),
        )


class BlockedError(Exception):
    """A stage that this run needs has failed in this command."""

"""Writes the records of runs: finished, or failed with a cause."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmark import provenance, registry
from benchmark.errors import Interrupted, UserError
from benchmark.evaluation.evaluate import accuracies, evaluate, evaluate_without_exits, exit_metrics
from benchmark.evaluation.scores import SCORED, ExitScores, load_scores, score_file
from benchmark.evaluation.token_costs import mean_costs
from benchmark.execution.attempts import Attempts
from benchmark.execution.causes import BlockedError, failure_of, sentence_of
from benchmark.execution.data_check import check_data
from benchmark.stages.graph import heads_of, method_of, own_policy
from benchmark.stages.plan import Plan
from benchmark.stages.stage import RunStages, Stage
from benchmark.training.inputs import Inputs
from datasets.images import decoded, shrunk
from datasets.split_rules import SplitRule
from results.record import COSTS, FEW_EPOCHS, CostTable, DoneRecord, FailedRecord, FailureCause, SplitAccuracy, StageRef
from results.spec import TrainSpec
from results.store.files import UnwritableError
from results.store.folder import Store
from results.tables.examples import COUNT, EXAMPLES, Example, examples_frame
from results.tables.pictures import PICTURES, Picture, pictures_frame

HISTORY = "history.json"
"""The means of the losses and of the accuracy over each epoch of a training."""

FATAL = (UserError, UnwritableError, Interrupted, KeyboardInterrupt)
"""Errors that would affect every other run, and requests to stop. They end the task; others fail one run."""


@dataclass(frozen=True)
class Recorder:
    """Writes the records of a plan's runs.

    Attributes:
        attempts: how stages failed.
        inputs: reads the data of a run.
    """

    plan: Plan
    store: Store
    attempts: Attempts
    inputs: Callable[[TrainSpec], Inputs]

    def conclude(self, run: RunStages, seconds: float = 0.0) -> DoneRecord | FailedRecord:
        """Record a run: as done if its stages exist, else as failed by the first missing one.

        Args:
            run: of the plan.
            seconds: time that this process spent on its stages.

        Raises:
            UserError, UnwritableError: an error that affects every run.
        """
        try:
            missing = self.first_missing(run)
            return self.finish(run, seconds) if missing is None else self.fail_by(run, missing)
        except FATAL:
            raise
        except Exception as error:
            return self.fail(run, error)

    def finish(self, run: RunStages, seconds: float = 0.0) -> DoneRecord:
        """Evaluate a run whose stages exist, and write its record and tables."""
        start = time.monotonic()
        train = run.spec.train
        inputs = self.inputs(train)
        check_data(run.run_id, inputs, run.chain, self.store)
        costs = CostTable.model_validate_json(self.store.artifact(run.cost.name, COSTS).read_text(encoding="utf-8"))
        scores, static = self._scores(run.scores), self._scores(run.static_scores)
        if scores["test"].tokens is not None:
            card = registry.card("backbone", train.backbone)
            costs = mean_costs(costs, scores["test"].tokens[0].numpy(), card, train.token_exits)
        blocks = [*train.exits, len(costs.blocks)]
        heads = [choice.name for choice in heads_of(train)] if train.exits else []
        if train.exits:
            as_published = SplitRule.of(train.dataset.set).mode == "as-published"
            policies = list(run.spec.policies)
            evaluation = evaluate(scores, static, costs, blocks, policies, as_published=as_published)
        else:
            evaluation = evaluate_without_exits(None if run.scores == run.static_scores else scores, static, costs)
        record = DoneRecord(
            run_id=run.run_id,
            spec=run.spec,
            own_policy=own_policy(method_of(train), train.dataset).label if train.exits else "",
            method=registry.method_info(train.method.name, method_of(train)),
            backbone=registry.backbone_info(train.backbone),
            stages=tuple(self._reference(stage) for stage in run.chain),
            provenance=provenance.provenance(self.attempts.device, seconds + time.monotonic() - start),
            data=inputs.data_card(),
            costs=costs,
            exits=exit_metrics(scores, blocks, heads),
            static_accuracy=SplitAccuracy(**{split: accuracies(scored)[-1] for split, scored in static.items()}),
            points=evaluation.points,
        )
        with self.store.write_run(record) as folder:
            evaluation.write(folder, record.data.split_identity["val"])
            if scores["test"].maps is not None and inputs.card.redistributable:
                examples_frame(_examples(scores["test"], inputs)).to_parquet(folder / EXAMPLES, index=False)
            if scores["test"].detections is not None and inputs.card.redistributable:
                pictures_frame(_pictures(inputs)).to_parquet(folder / PICTURES, index=False)
        return record

    def fail(self, run: RunStages, error: Exception) -> FailedRecord:
        """Record a run as failed by an exception."""
        blocked_by = error.stage if isinstance(error, BlockedError) else None
        details = "".join(traceback.format_exception(error))
        return self._failed(run, failure_of(error), sentence_of(error), details, blocked_by)

    def fail_by(self, run: RunStages, missing: Stage) -> FailedRecord:
        """Record a run as failed by a missing stage: with the stage's error, or as blocked if an earlier run has that error."""
        last = self.attempts.last_end(missing.name)
        sentence = last.sentence if last and last.sentence else "it is not there"
        first = next(other for other in self.plan.runs if missing in other.chain)
        if last and last.failure and run.run_id == first.run_id:
            return self._failed(run, last.failure, sentence, last.details)
        return self._failed(run, "blocked", str(BlockedError(missing.name, sentence)), "", missing.name)

    def first_missing(self, run: RunStages) -> Stage | None:
        """Of the missing stages of a run, the first that failed in this session, else the first."""
        missing = [stage for stage in run.chain if not self.store.has_stage(stage.name)]
        return next((stage for stage in missing if self.attempts.failed(stage.name)), missing[0] if missing else None)

    def _failed(
        self, run: RunStages, failure: FailureCause, cause: str, details: str, blocked_by: str | None = None
    ) -> FailedRecord:
        record = FailedRecord(
            run_id=run.run_id,
            spec=run.spec,
            cause=cause,
            failure=failure,
            blocked_by=blocked_by,
            provenance=provenance.provenance(self.attempts.device, 0.0),
        )
        with self.store.write_run(record) as folder:
            if details:
                (folder / "traceback.txt").write_text(details, encoding="utf-8")
        return record

    def _scores(self, stage: Stage) -> dict[str, ExitScores]:
        return {split: load_scores(self.store.artifact(stage.name, score_file(split))) for split in SCORED}

    def _reference(self, stage: Stage) -> StageRef:
        made = self.store.provenance(stage.name)
        return StageRef(
            stage=stage.kind,
            key=stage.key,
            code=stage.fields["code"],
            seconds=made.seconds,
            shared_pass=made.shared_pass,
            artifacts=self.store.artifacts(stage.name),
            earlier=made.earlier,
            accuracies=self._accuracies(stage),
        )

    def _accuracies(self, stage: Stage) -> tuple[float, ...]:
        """The accuracy on train in each epoch of a short training."""
        if not (self.store.stage(stage.name) / HISTORY).is_file():
            return ()
        epochs = json.loads(self.store.artifact(stage.name, HISTORY).read_text(encoding="utf-8"))
        if len(epochs) > FEW_EPOCHS or not all("accuracy" in epoch for epoch in epochs):  # a loss may state none
            return ()
        return tuple(epoch["accuracy"] for epoch in epochs)


def _examples(scores: ExitScores, inputs: Inputs) -> list[Example]:
    """The first test images of a run whose answers are maps."""
    assert scores.maps is not None
    split = inputs.splits["test"].select(np.arange(min(COUNT, len(scores.sample_id))))
    assert split.masks is not None
    images = decoded(split.images)
    masks = split.masks if isinstance(split.masks, np.ndarray) else split.masks.decode()
    answers = scores.maps[:, :COUNT].numpy()
    left = [None] * len(split) if scores.left is None else list(scores.left[0, :COUNT].numpy())
    return [
        Example(
            int(split.sample_id[i]), shrunk(images[i], smooth=True), shrunk(masks[i], smooth=False), answers[:, i], left[i]
        )
        for i in range(len(split))
    ]  # fmt: skip


def _pictures(inputs: Inputs) -> list[Picture]:
    """The first test images."""
    split = inputs.splits["test"]
    split = split.select(np.arange(min(COUNT, len(split))))
    pictures = []
    for sample_id, image in zip(split.sample_id.tolist(), decoded(split.images), strict=True):
        shown = shrunk(image, smooth=True)
        pictures.append(Picture(sample_id, shown, max(shown.shape[:2]) / max(image.shape[:2])))
    return pictures

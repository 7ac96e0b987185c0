"""What ranks other than 0 do: they take part in what rank 0 trains and scores, and write nothing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import torch

from benchmark.errors import Interrupted, TrainingDivergedError
from benchmark.evaluation.scores import SCORED, choose_on_val, send_scores
from benchmark.execution.building import Builder
from benchmark.execution.process_group import DistributedContext
from benchmark.stages.plan import Plan


class NullWatcher:
    """Watches a training and does nothing: rank 0 reports, and decides when to stop."""

    def resumed(self, step: int, epoch: int) -> None:
        pass

    def damaged(self, sentence: str) -> None:
        pass

    def step(self, step: int, epoch: int, metrics: Callable[[], dict[str, float]]) -> None:
        pass

    def stop_requested(self) -> bool:
        return False


def follow(context: DistributedContext, builder: Builder, plan: Plan) -> None:
    """Take part in the stages of rank 0 until it has finished.

    Raises:
        RankError: another rank has died.
    """
    threads = torch.get_num_threads()
    stages = {stage.name: stage for stage in plan.stages}
    for names in context.calls():
        torch.set_num_threads(threads)  # a checkpoint may have set another number for the stage before
        together = [stages[name] for name in names]
        first = together[0]
        if first.kind == "scores":
            inputs, model = builder.inputs(first.run.train), builder.scored_model(first)
            choose_on_val(model, inputs, builder.device)
            for split in SCORED:
                send_scores(model, inputs, split, builder.device, context.ranks)
            continue
        learners, frozen = builder.learners(together)
        with suppress(Interrupted, TrainingDivergedError):  # rank 0 raises the same, and decides what comes next
            builder.fit(together, learners, frozen, NullWatcher(), context.ranks)

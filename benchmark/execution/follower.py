"""A rank that is not the first: takes part in what the first one trains and scores, and writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from benchmark.errors import RankError
from benchmark.evaluation.scores import SCORED, answer_split
from benchmark.execution.building import Builder
from benchmark.execution.distributed import Team
from benchmark.execution.maker import checkpoint_of
from benchmark.stages.stage import Stage
from benchmark.training.loop import Interrupted, TrainingDivergedError, fit


class Unheard:
    """A watcher who has nothing to say: the first rank's is the one that is asked."""

    def resumed(self, step: int, epoch: int) -> None:
        pass

    def step(self, step: int, epoch: int, metrics: Callable[[], dict[str, float]]) -> None:
        pass

    def stop_requested(self) -> bool:
        return False


def follow(team: Team, builder: Builder) -> None:
    """Take part until the first rank needs nobody.

    Raises:
        RankError: the first rank is gone.
        Exception: whatever failed here; the first rank has been told.
    """
    threads = torch.get_num_threads()
    for kind, stages in team.orders():
        torch.set_num_threads(threads)  # a checkpoint may have set another number for the stage before
        try:
            if kind == "scores":
                _score(stages[0], team, builder)
            else:
                _train(stages, team, builder)
        except (Interrupted, TrainingDivergedError):
            pass  # the first rank knows, and decides what is next
        except RankError:
            raise  # another rank is to blame, which tells itself
        except Exception as error:
            team.complain(error)
            raise


def _train(stages: Sequence[Stage], team: Team, builder: Builder) -> None:
    train, recipe, kind = stages[0].run.train, stages[0].recipe, stages[0].kind
    assert recipe is not None
    inputs = builder.inputs(train)
    learners, frozen = builder.learners(stages)
    fit(
        learners,
        lambda epoch, skip: inputs.training(recipe, kind, train.seed, epoch, skip, team.ranks),
        frozen,
        lambda learner: checkpoint_of(builder.store, learner),
        Unheard(),
        builder.device,
        team.ranks,
    )


def _score(stage: Stage, team: Team, builder: Builder) -> None:
    inputs, model = builder.inputs(stage.run.train), builder.scored_model(stage)
    for split in SCORED:
        answer_split(model, inputs, split, builder.device, team.ranks)

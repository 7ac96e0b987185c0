"""Errors that several packages raise and handle. Imports nothing of ours and no torch."""

from __future__ import annotations

from collections.abc import Sequence


class UserError(Exception):
    """One or more sentences for the user: what is wrong, where, what is allowed. The command line exits with code 2."""

    def __init__(self, *messages: str) -> None:
        super().__init__("\n".join(messages))
        self.messages: Sequence[str] = messages


class RankError(UserError):
    """One of the ranks that share a training failed, died or does not respond. Checkpoints are kept. Exit code 1.

    Attributes:
        failure: the kind of cause, a value of `results.record.FailureCause`.
    """

    def __init__(self, message: str, failure: str = "error") -> None:
        super().__init__(message)
        self.failure = failure


RESUMES = "the same command resumes from the last checkpoint"


class Interrupted(Exception):
    """The user or the scheduler asked to stop; the checkpoint is written. Its text says what the same command does next."""

    def __init__(self, next_time: str = RESUMES) -> None:
        super().__init__(next_time)


class HeldElsewhereError(Interrupted):
    """Another command or submission has been making all that is left of a task for a while."""


class NotFiniteError(Exception):
    """A loss, weights or scores are NaN or infinite."""


class TrainingDivergedError(NotFiniteError):
    """The loss or the weights of a learner are no longer finite; see `blame`."""

    def __init__(self, learner: str, message: str) -> None:
        super().__init__(message)
        blame(self, learner)


def blame(error: BaseException, learner: str) -> None:
    """Note that an error came from one learner of a pass, so that the others continue without it."""
    error.learner = learner  # type: ignore[attr-defined]


def blamed(error: BaseException) -> str | None:
    """The name of the learner that an error came from, if it came from one."""
    return getattr(error, "learner", None)

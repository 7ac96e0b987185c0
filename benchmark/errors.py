"""Errors that the command line prints without a traceback; a user's mistake exits with code 2."""

from __future__ import annotations

from collections.abc import Sequence


class UserError(Exception):
    """One or more sentences for the user: what is wrong, where, what is allowed."""

    def __init__(self, *messages: str) -> None:
        super().__init__("\n".join(messages))
        self.messages: Sequence[str] = messages


class RankError(UserError):
    """Of several processes that train together, one is gone or does not answer; what it did is in its checkpoint.

    Attributes:
        failure: the kind of cause, in the words of `results.record.FailureCause`.
    """

    def __init__(self, message: str, failure: str = "error") -> None:
        super().__init__(message)
        self.failure = failure

"""Maps exceptions to the values of `results.record.FailureCause`. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast, get_args

from benchmark.errors import NotFiniteError, RankError
from datasets.api import DataError
from results.record import FailureCause
from results.store.files import NO_ROOM

# torch raises its own type on a GPU, and a plain RuntimeError with these words on the CPU.
OUT_OF_MEMORY = "OutOfMemoryError"
OUT_OF_MEMORY_WORDS = ("DefaultCPUAllocator", "can't allocate memory", "not enough memory")


class BlockedError(Exception):
    """A parent of a stage is missing, or the stage has failed before in this session.

    Attributes:
        stage: name of the stage that blocks.
    """

    def __init__(self, stage: str, why: str) -> None:
        super().__init__(f"blocked by {stage}: {why}")
        self.stage = stage


class KilledError(Exception):
    """Too many processes that made a stage crashed."""


class HangError(Exception):
    """Too many processes that made a stage stopped making steps."""


def failure_of(error: BaseException) -> FailureCause:
    """The kind of cause of an exception, or of the first of its own causes that has one."""
    for one in _with_causes(error):
        if isinstance(one, BlockedError):
            return "blocked"
        if isinstance(one, RankError) and one.failure in get_args(FailureCause):
            return cast(FailureCause, one.failure)
        if isinstance(one, KilledError):
            return "killed"
        if isinstance(one, HangError):
            return "hang"
        if isinstance(one, NotFiniteError):
            return "nan"
        if _is_out_of_memory(one):
            return "oom"
        if isinstance(one, OSError) and one.errno in NO_ROOM:
            return "disk-full"
        if isinstance(one, DataError):
            return "missing-data"
    return "error"


def sentence_of(error: BaseException) -> str:
    """The description of an exception in a record."""
    if isinstance(error, BlockedError | KilledError | HangError | RankError):
        return str(error)
    return f"{type(error).__name__}: {error}"


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == OUT_OF_MEMORY:
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY_WORDS)


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    one: BaseException | None = error
    while one is not None:
        yield one
        one = one.__cause__

"""Why something could not be made, in a closed vocabulary: `results.record.FailureCause`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast, get_args

import torch

from benchmark.errors import RankError
from benchmark.training.loop import TrainingDivergedError
from datasets.api import DataError
from results.record import FailureCause
from results.store.files import NO_ROOM

# What torch's allocator for the CPU says in a plain RuntimeError.
OUT_OF_MEMORY = ("DefaultCPUAllocator", "can't allocate memory", "not enough memory")


class BlockedError(Exception):
    """A stage that is needed is not there, or has failed before in this command or submission.

    Attributes:
        stage: its name.
    """

    def __init__(self, stage: str, why: str) -> None:
        super().__init__(f"blocked by {stage}: {why}")
        self.stage = stage


class KilledError(Exception):
    """Processes that worked on a stage died without a word, more often than is tried."""


def failure_of(error: BaseException) -> FailureCause:
    """The kind of cause that an exception stands for, looking behind it for what it was raised from."""
    for found in _with_origins(error):
        if isinstance(found, BlockedError):
            return "blocked"
        if isinstance(found, RankError) and found.failure in get_args(FailureCause):
            return cast(FailureCause, found.failure)
        if isinstance(found, KilledError):
            return "killed"
        if isinstance(found, TrainingDivergedError):
            return "nan"
        if isinstance(found, torch.OutOfMemoryError | MemoryError) or _is_allocators(found):
            return "oom"
        if isinstance(found, OSError) and found.errno in NO_ROOM:
            return "disk-full"
        if isinstance(found, DataError):
            return "missing-data"
    return "error"


def sentence_of(error: BaseException) -> str:
    """What a record says of it."""
    return (
        str(error) if isinstance(error, BlockedError | KilledError | RankError) else f"{type(error).__name__}: {error}"
    )


def _is_allocators(error: BaseException) -> bool:
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)


def _with_origins(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__

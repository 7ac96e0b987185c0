"""Which kind of cause an exception has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.errors import TrainingDivergedError
from benchmark.execution.causes import BlockedError, failure_of
from datasets.api import DataError
from results.store.files import StoreError, write_file


def out_of_memory() -> None:
    torch.empty(1 << 60)


def full_disk() -> None:
    with Path("/dev/full").open("wb", buffering=0) as file:
        file.write(b"x")


def cannot_write(tmp: Path = Path("/dev/full/none")) -> None:
    write_file(tmp, b"")


def no_number() -> None:
    raise TrainingDivergedError("exits-1", "the loss is nan")


def no_images() -> None:
    raise DataError("no images")


def blocked() -> None:
    raise BlockedError("exits-1", "MemoryError")


@pytest.mark.parametrize(
    ("what", "failure"),
    [
        (out_of_memory, "oom"),
        (full_disk, "disk-full"),
        (cannot_write, "error"),
        (no_number, "nan"),
        (no_images, "missing-data"),
        (blocked, "blocked"),
    ],
)
def test_an_exception_has_a_kind_of_cause(what: Any, failure: str) -> None:
    with pytest.raises(Exception) as error:  # noqa: PT011
        what()
    assert failure_of(error.value) == failure
    wrapped = StoreError("the sentence for the user")
    wrapped.__cause__ = error.value
    assert failure_of(wrapped) == failure

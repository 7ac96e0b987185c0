"""Launching a test function in two processes of a distributed training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmark.execution.launch import launch

SIZE = 2


def launch_two(task: Callable[..., None], argument: Any) -> None:
    """Call ``task(argument)`` in two processes."""
    launch(task, argument, processes=SIZE, session=task.__name__)


def message_of(error: type[Exception], call: Callable[[], Any]) -> str:
    """The message of the error that a call raises."""
    try:
        call()
    except error as caught:
        return str(caught)
    return "no error"

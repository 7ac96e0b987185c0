"""A rank that fails or does not respond ends the training, and the error names it and its cause."""

from __future__ import annotations

import errno
import os
import re
import signal
import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from rich.console import Console

from benchmark.errors import RankError
from benchmark.execution.building import Builder
from benchmark.execution.causes import failure_of
from benchmark.execution.config import ExecutionConfig
from benchmark.execution.process_group import process_group
from benchmark.execution.rank_worker import follow
from benchmark.execution.task import run_task
from benchmark.grid.load import load_grid
from benchmark.progress import Reporter
from benchmark.stages.plan import make_plan
from benchmark.training import loop
from benchmark.training.ranks import Ranks
from results.store.files import unwritable
from results.store.folder import Store, StoreError
from tests.benchmark.training.test_ranks import CPU, SHARED
from tests.benchmark.training.two_processes import SIZE, launch_two, message_of
from tests.grids import write_grid


def stay_silent(folder: Path) -> None:
    """Run in each of two processes, of which one does not respond for a long time."""
    with process_group(CPU, timedelta(seconds=1)) as context:
        if context.ranks.rank == 1:
            time.sleep(4)
            return
        start = time.monotonic()
        message = message_of(RankError, lambda: context.ranks.all_reduce([torch.zeros(3)]))
        torch.save((message, time.monotonic() - start), folder / "silence.pt")


def miss_a_file(folder: Path) -> None:
    """Run in each of two processes, of which one cannot find a file that both need."""
    SHARED.learners(folder, Ranks(int(os.environ["RANK"]), SIZE))
    plan = make_plan(load_grid(folder / f"grid-{os.environ['RANK']}.yaml"), Store(folder / "nothing"))
    with process_group(CPU) as context:
        if context.ranks.rank == 1:
            follow(context, Builder(Store(folder / "nothing"), CPU, None, 0), plan)
        with context.calling([plan.runs[0].scores]) as ranks:
            ranks.receive_bytes(1)


def die(how: str) -> None:
    """Run in each of two processes, of which one dies while the other waits for it."""
    with process_group(CPU) as context:
        if context.ranks.rank == 1:
            if how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise MemoryError("no more")
        with context.calling([]) as ranks:
            ranks.receive_bytes(1)


def fill_the_disk(folder: Path) -> None:
    """Run in each of two processes. The disk is full when rank 0 writes the first checkpoint."""

    def full(path: Path, content: bytes) -> None:
        error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise unwritable(path, error) from error

    loop.write_checkpoint = full
    config = ExecutionConfig(
        results=folder / "results", session="s", device="cpu", threads=1, loader_processes=0, processes=2
    )
    plan = make_plan(load_grid(folder / "tiny.yaml"), Store(config.results))
    names = {stage.name for stage in plan.missing_stages if stage.kind == "finetune"}
    run_task(plan, config, Reporter(Console(quiet=True)), stages=names)


@pytest.mark.slow
def test_a_full_disk_of_one_rank_ends_all_with_its_sentence(tmp_path: Path) -> None:
    """Also where rank 0 makes single stages, as on Slurm, and would go on with the next one after a failure."""
    write_grid(tmp_path / "tiny.yaml", recipes={"finetune": {"epochs": 1}})
    store = Store(tmp_path / "results")
    store.prepare()
    with pytest.raises(StoreError, match="No space left on device; free some space") as error:
        launch_two(fill_the_disk, tmp_path)
    assert failure_of(error.value) == "disk-full"  # as other nodes note it
    (attempts,) = [store.progress(path.name).attempts() for path in store.root.glob("progress/finetune-*")]
    assert (attempts[-1].outcome, attempts[-1].failure) == ("failed", "disk-full")


def test_a_rank_that_does_not_respond_ends_the_training(tmp_path: Path) -> None:
    launch_two(stay_silent, tmp_path)
    message, seconds = torch.load(tmp_path / "silence.pt", weights_only=False)
    assert message
    assert seconds < 3.5


@pytest.mark.slow
def test_an_error_in_one_rank_is_raised_with_its_own_message(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=re.escape(str(tmp_path / "nothing"))):
        launch_two(miss_a_file, tmp_path)


@pytest.mark.parametrize(
    ("how", "failure", "sentence"),
    [
        ("killed", "killed", "rank 1 of 2 was killed (SIGKILL)"),
        ("memory", "oom", "rank 1 of 2 failed: MemoryError: no more"),
    ],
)
@pytest.mark.slow
def test_the_rank_that_failed_first_is_named_with_its_cause(how: str, failure: str, sentence: str) -> None:
    with pytest.raises(RankError, match=re.escape(sentence)) as error:
        launch_two(die, how)
    assert error.value.failure == failure

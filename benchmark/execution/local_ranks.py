"""``run --gpus N``: starts the other ranks on this machine, and sees to it that none outlives the rest.

A rank that dies is noticed by its exit code, and in the next exchange by the others. Should the first rank then hang in a call
that does not return, which only a GPU can bring about, a thread ends it. A rank whose parent dies reads the end of its standard
input and ends, too.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import torch
from torch import distributed as dist

from benchmark.checkout import ROOT
from benchmark.errors import UserError
from benchmark.execution.distributed import GO_ON, MEETING, Team, World, meeting
from results.store.folder import Store

HOST = "127.0.0.1"
LOOK_SECONDS = 0.2
GRACE_SECONDS = 30.0
"""So long the first rank has to notice by itself that another is gone."""


@dataclass
class _Rank:
    """Another rank, and where its output goes."""

    number: int
    process: subprocess.Popen[bytes]
    output: IO[bytes]

    def death(self, size: int) -> str | None:
        """A sentence, if it is gone."""
        code = self.process.poll()
        if code is None:
            return None
        who = f"process {self.number} of the {size} that train together"
        if code < 0:
            return f"{who} was killed ({signal.Signals(-code).name})"
        self.output.seek(0)
        lines = self.output.read().decode(errors="replace").strip().splitlines()
        return f"{who} ended with exit code {code}{': ' + lines[-1] if lines else ''}"


@contextmanager
def local_team(
    count: int, device: str, store: Store, data_dir: Path | None, loader_processes: int | None
) -> Iterator[Team]:
    """This process and ``count - 1`` more, as a team, while entered; torch is set up, and the others get its threads.

    Raises:
        UserError: there are not so many GPUs.
        RankError: one of them failed or died.
    """
    if device == "auto" and not torch.cuda.is_available():
        raise UserError(
            f"--gpus {count}: there is no GPU here; --device cpu shares trainings among processes on the CPU"
        )
    here = World(0, count, 0, HOST, 0).device(device)
    if here.type == "cuda" and count > torch.cuda.device_count():
        raise UserError(f"--gpus {count}: this machine shows {torch.cuda.device_count()}")
    os.environ["LOCAL_WORLD_SIZE"] = str(count)
    # The port is taken before anybody is told of it.
    board = dist.TCPStore(HOST, 0, count, True, MEETING, wait_for_workers=False)
    order = {
        "device": here.type,
        "threads": torch.get_num_threads(),
        "results": str(store.root),
        "data_dir": None if data_dir is None else str(data_dir),
        "loader_processes": loader_processes,
    }
    ranks = [_start(World(rank, count, rank, HOST, board.port), order) for rank in range(1, count)]
    over = threading.Event()
    threading.Thread(target=_watch, args=(ranks, count, over), daemon=True).start()
    try:
        with meeting(World(0, count, 0, HOST, board.port), here, board, lambda: _death(ranks, count)) as team:
            yield team
    finally:
        over.set()
        _end(ranks)


def _start(world: World, order: dict[str, object]) -> _Rank:
    output = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as the process
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmark.execution.local_rank", json.dumps(order)],
        cwd=ROOT,
        env={**os.environ, **world.environment()},
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C is for the first rank alone, which tells the others
    )
    return _Rank(world.rank, process, output)


def _death(ranks: list[_Rank], size: int) -> str | None:
    """What is known of the first that is gone."""
    return next((death for rank in ranks if (death := rank.death(size)) is not None), None)


def _watch(ranks: list[_Rank], size: int, over: threading.Event) -> None:
    """End this process if it does not come to its end by itself when a rank is gone."""
    while not over.wait(LOOK_SECONDS):
        death = _death(ranks, size)
        if death is not None and not over.wait(GRACE_SECONDS):
            _end(ranks)
            sys.stderr.write(f"error: {death}; {GO_ON}\n")
            sys.stderr.flush()
            os._exit(1)


def _end(ranks: list[_Rank]) -> None:
    for rank in ranks:
        with suppress(OSError):
            rank.process.kill()
        rank.process.wait()
        rank.output.close()

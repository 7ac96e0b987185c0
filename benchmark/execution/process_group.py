"""The processes (ranks) that share a training: how they form a group, and how rank 0 directs the others.

Rank 0 executes a task like a single process. For each training and scoring it calls the other ranks, which build the same
models from the plan and take part (`benchmark.execution.rank_worker`); in between they wait. Only rank 0 writes, reports and
decides to stop. Each rank reads its place from the variables that torch's launcher sets (`benchmark.execution.launch`).
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import torch
from torch import distributed as dist

from benchmark.errors import Interrupted, RankError, TrainingDivergedError
from benchmark.stages.stage import Stage
from benchmark.training.ranks import ALONE, Ranks

RENDEZVOUS_TIMEOUT = timedelta(minutes=5)
COLLECTIVE_TIMEOUT = timedelta(hours=2)
"""Long, because the others wait while rank 0 measures val or reads a slow disk. A rank that dies is noticed at once, and a
training that makes no step is ended by the watchdog."""
POLL_SECONDS = 0.05
END = "end"
KNOWN_TO_ALL = (Interrupted, TrainingDivergedError)
"""Every rank raises these at the same step, and continues."""


@dataclass
class DistributedContext:
    """The group, from the side of one rank.

    Attributes:
        ranks: this process's place, for trainings and scorings.
        store: key-value store that all ranks share; None for a process without others.
        out_of_step: whether rank 0 has left a call by an error, and the other ranks still wait within it: the task must end.
    """

    ranks: Ranks = ALONE
    store: dist.Store | None = None
    out_of_step: bool = field(default=False, init=False)
    _published: int = field(default=0, init=False)

    @contextmanager
    def calling(self, stages: Sequence[Stage]) -> Iterator[Ranks]:
        """On rank 0: context in which the other ranks take part in making stages in one pass."""
        self._publish(json.dumps([stage.name for stage in stages]))
        try:
            yield self.ranks
        except KNOWN_TO_ALL:
            raise
        except BaseException:
            self.out_of_step = self.store is not None
            raise

    def calls(self) -> Iterator[list[str]]:
        """On other ranks: the names of the stages of each call, until rank 0 has finished.

        Raises:
            RankError: the store cannot be reached.
        """
        assert self.store is not None
        number = 0
        while (call := self._wait_for(f"call {number}")) != END:
            yield json.loads(call)
            number += 1

    def dismiss(self) -> None:
        """On rank 0: let the other ranks return."""
        self._publish(END)

    def _publish(self, call: str) -> None:
        if self.store is None:
            return
        try:
            self.store.set(f"call {self._published}", call)
        except RuntimeError as error:
            raise RankError(f"the other ranks of this training cannot be reached ({error})") from error
        self._published += 1

    def _wait_for(self, key: str) -> str:
        """The value of a key, without a timeout: rank 0 may work alone for hours."""
        assert self.store is not None
        try:
            while not self.store.check([key]):
                time.sleep(POLL_SECONDS)
            return self.store.get(key).decode()
        except RuntimeError:
            raise RankError("the process that hosts the store of this training has died") from None


@contextmanager
def process_group(device: torch.device, timeout: timedelta = COLLECTIVE_TIMEOUT) -> Iterator[DistributedContext]:
    """Context manager: torch's process group, or a context of one process if the launcher started no others.

    Args:
        device: of this rank.
        timeout: longest wait for other ranks within a collective operation.

    Raises:
        RankError: not all ranks joined.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield DistributedContext()
        return
    if os.environ["MASTER_ADDR"] in ("127.0.0.1", "localhost"):  # needs no name resolution
        loopback = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)
    try:
        store, rank, size = next(dist.rendezvous("env://", timeout=RENDEZVOUS_TIMEOUT))
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
            store=dist.PrefixStore("group", store),
            rank=rank,
            world_size=size,
            timeout=timeout,
        )
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise RankError(f"the {size} ranks of this training did not form a process group ({reason})") from error
    yield DistributedContext(Ranks(rank, size), dist.PrefixStore("context", store))
    # After an error, destroying the group would wait for dead ranks; the process ends anyway.
    dist.destroy_process_group()

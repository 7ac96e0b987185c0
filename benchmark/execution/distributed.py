"""Processes (ranks) that train one model together: how they meet, work in step, and part.

The first rank carries out a plan as one process does. Whenever it trains or scores, it calls the others, which build the same
from the specification and take part (`benchmark.execution.follower`); at all other times they wait. Only the first rank writes,
reports and decides to stop. What fails on one rank alone ends all of them.

Where a process stands it learns from torchrun's variables: RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
from torch import distributed as dist

from benchmark.errors import RankError, UserError
from benchmark.execution.causes import failure_of
from benchmark.execution.device import usable_device
from benchmark.stages.graph import run_stages
from benchmark.stages.stage import Stage
from benchmark.training.loop import Interrupted, TrainingDivergedError
from benchmark.training.ranks import ALONE, Ranks
from datasets.api import DataError
from results.spec import RunSpec
from results.store.folder import StoreError

MEETING = timedelta(minutes=5)
ANSWER = timedelta(minutes=10)
"""The longest that a rank waits for another within a step; then the training ends in one sentence."""
LOOK_SECONDS = 0.05
CAUSE_SECONDS = 5.0
PARTING_SECONDS = 20.0
VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
END = "end"
GO_ON = "the same command goes on from the last checkpoint"
# All ranks know of the first two and go on; the others are sentences of the first rank, which end all.
KNOWN = (Interrupted, TrainingDivergedError, UserError, DataError, StoreError)


@dataclass(frozen=True)
class World:
    """Where this process stands among those that train together.

    Attributes:
        rank: 0 leads.
        size: how many there are.
        local_rank: its number on this machine, which is that of its GPU.
        address, port: where the first rank is.
    """

    rank: int
    size: int
    local_rank: int
    address: str
    port: int

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> World | None:
        """As torchrun's variables say; None where there are none, or this process is the only one.

        Raises:
            UserError: a variable is missing or no number.
        """
        if environment.get("WORLD_SIZE", "1") == "1":
            return None
        missing = [name for name in VARIABLES if name not in environment]
        if missing:
            raise UserError(
                f"WORLD_SIZE is set, and {', '.join(missing)} not: torchrun sets all of {', '.join(VARIABLES)}"
            )
        try:
            rank, size, local_rank, port = (
                int(environment[n]) for n in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT")
            )
        except ValueError as error:
            raise UserError(f"one of torchrun's variables RANK, WORLD_SIZE, LOCAL_RANK, MASTER_PORT: {error}") from None
        return cls(rank, size, local_rank, environment["MASTER_ADDR"], port)

    def environment(self) -> dict[str, str]:
        """torchrun's variables."""
        values = (self.rank, self.size, self.local_rank, self.address, self.port)
        return {name: str(value) for name, value in zip(VARIABLES, values, strict=True)}

    def device(self, name: str) -> torch.device:
        """This rank's: the GPU with its local number, or the CPU.

        Raises:
            UserError: it is not there.
        """
        if ":" in name:
            raise UserError(f"--device {name}: processes that train together take a GPU each; name cuda or cpu")
        if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
            return usable_device("cpu")
        if self.local_rank >= torch.cuda.device_count():
            raise UserError(
                f"process {self.rank} of {self.size} wants GPU {self.local_rank}, and this machine shows "
                f"{torch.cuda.device_count()}"
            )
        device = usable_device(f"cuda:{self.local_rank}")
        torch.cuda.set_device(device)
        return device


@dataclass
class Team:
    """The ranks from the view of one of them.

    Attributes:
        ranks: for whoever trains or scores.
        board: a key-value store that all see; None for a process alone.
        deaths: what the first rank knows of others that are gone.
    """

    ranks: Ranks = ALONE
    board: dist.Store | None = None
    deaths: Callable[[], str | None] = lambda: None
    orders_given: int = field(default=0, init=False)

    @contextmanager
    def together(self, kind: str, stages: Sequence[Stage]) -> Iterator[Ranks]:
        """The first rank's: while entered, the others take part in making stages of a kind in one pass.

        Raises:
            RankError: something failed on one rank alone; all end.
        """
        if self.board is None:
            yield self.ranks
            return
        work = [{"stage": stage.name, "run": stage.run.model_dump(mode="json")} for stage in stages]
        self._order({"kind": kind, "work": work})
        try:
            yield self.ranks
        except KNOWN as error:
            if isinstance(error, RankError):
                raise self.cause() or RankError(f"{error}; {GO_ON}") from error
            raise
        except Exception as error:
            raise self.cause() or self.failed(error) from error

    def failed(self, error: BaseException) -> RankError:
        """What to raise where this rank alone failed."""
        return RankError(
            f"process {self.ranks.rank} of the {self.ranks.size} that train together failed: {type(error).__name__}: {error}",
            failure_of(error),
        )

    def orders(self) -> Iterator[tuple[str, list[Stage]]]:
        """The other ranks': kind and stages of what the first rank calls for, until it needs no more.

        Raises:
            RankError: the first rank is gone.
            ValueError: it runs another version of the code.
        """
        assert self.board is not None
        for number in range(10**9):
            order = json.loads(self._wait_for(f"order {number}"))
            if order == END:
                self.board.set(f"left {self.ranks.rank}", "")
                return
            try:
                stages = [_stage(entry) for entry in order["work"]]
            except Exception as error:
                self.complain(error)
                raise
            yield order["kind"], stages

    def complain(self, error: BaseException) -> None:
        """Tell the first rank what ended this one."""
        assert self.board is not None
        with suppress(RuntimeError):  # it may be gone itself
            told = self.failed(error)
            self.board.set("failed", json.dumps([str(told), told.failure]))

    def cause(self) -> RankError | None:
        """What another rank said before it ended, or what is known of its end."""
        assert self.board is not None
        ended = time.monotonic() + CAUSE_SECONDS
        with suppress(RuntimeError):  # the board may be gone with the first rank
            while time.monotonic() < ended:
                death = self.deaths()
                if self.board.check(["failed"]):
                    sentence, failure = json.loads(self.board.get("failed"))
                    return RankError(f"{sentence}; {GO_ON}", failure)
                if death:
                    return RankError(f"{death}; {GO_ON}", "killed")
                time.sleep(LOOK_SECONDS)
        return None

    def dismiss(self) -> None:
        """The first rank's: no more is to do."""
        assert self.board is not None
        self._order(END)
        # The board may be ours: it stays until all have read it. Who is gone need not.
        left = [f"left {rank}" for rank in range(1, self.ranks.size)]
        ended = time.monotonic() + PARTING_SECONDS
        with suppress(RuntimeError):
            while time.monotonic() < ended and not self.board.check(left):
                time.sleep(LOOK_SECONDS)

    def _order(self, order: Any) -> None:
        assert self.board is not None
        try:
            self.board.set(f"order {self.orders_given}", json.dumps(order))
        except RuntimeError as error:
            raise RankError(f"the other processes of this training cannot be reached ({error})") from error
        self.orders_given += 1

    def _wait_for(self, key: str) -> bytes:
        """Without an end: the first rank may be at work alone for hours."""
        assert self.board is not None
        try:
            while not self.board.check([key]):
                time.sleep(LOOK_SECONDS)
            return bytes(self.board.get(key))
        except RuntimeError:
            raise RankError("the first of the processes that train together is gone") from None


def _stage(entry: dict[str, Any]) -> Stage:
    chain = run_stages(RunSpec.model_validate(entry["run"])).chain
    for stage in chain:
        if stage.name == entry["stage"]:
            return stage
    raise ValueError(f"{entry['stage']} is to be made, which is unknown here: is this another version of the code?")


@contextmanager
def meeting(
    world: World,
    device: torch.device,
    store: dist.Store | None = None,
    deaths: Callable[[], str | None] = lambda: None,
) -> Iterator[Team]:
    """The process group, while entered; at the end the first rank dismisses the others.

    Args:
        world: where this process stands.
        device: its own.
        store: the first rank's, if it has one already.
        deaths: what the first rank knows of others that are gone.

    Raises:
        RankError: not all came.
    """
    loopback = world.address in ("127.0.0.1", "localhost")
    if loopback:  # all are here, whatever this machine's name resolves to
        names = [name for _, name in socket.if_nameindex() if name.startswith("lo")]
        os.environ.setdefault("GLOO_SOCKET_IFNAME", names[0])
    try:
        if store is None:
            # torchrun's agent may be at the port already, with a store for all.
            serves = world.rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
            store = dist.TCPStore(world.address, world.port, world.size, serves, MEETING)
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
            store=dist.PrefixStore("group", store),
            rank=world.rank,
            world_size=world.size,
            timeout=ANSWER,
        )
    except RuntimeError as error:
        raise RankError(
            f"the {world.size} processes that train together did not meet at {world.address}:{world.port} "
            f"({str(error).splitlines()[0]})"
        ) from error
    team = Team(Ranks(world.rank, world.size), dist.PrefixStore("team", store), deaths)
    try:
        yield team
    except Interrupted:
        if team.ranks.leads:
            team.dismiss()
        raise
    # After any other error the others are gone or about to be: nothing waits for them.
    if team.ranks.leads:
        team.dismiss()
    dist.destroy_process_group()

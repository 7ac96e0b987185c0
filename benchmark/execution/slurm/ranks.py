"""Processes of one task that train together, one a GPU: who they are, from Slurm's variables."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from submitit.helpers import TorchDistributedEnvironment

from benchmark.execution.building import Builder
from benchmark.execution.distributed import Team, World, meeting
from benchmark.execution.follower import follow
from benchmark.execution.slurm.submission import Settings
from results.store.folder import Store


def world() -> World:
    """Where this process stands among those of its task."""
    found = TorchDistributedEnvironment()
    alone = found.local_world_size == found.world_size  # on one node, whose name need not resolve on it
    shown = len(os.environ.get("CUDA_VISIBLE_DEVICES", "").split(","))
    return World(
        rank=found.rank,
        size=found.world_size,
        local_rank=found.local_rank
        if found.local_rank < shown
        else 0,  # some sites show each process its own GPU alone
        address="127.0.0.1" if alone else found.master_addr,
        port=found.master_port,
    )


@contextmanager
def team_of(
    mine: World, device: torch.device, store: Store, data_dir: Path | None, settings: Settings
) -> Iterator[Team | None]:
    """The team for the first process; the others have taken part and are done when they get None.

    Raises:
        RankError: not all came, or one failed.
    """
    with meeting(mine, device) as team:
        if mine.rank:
            follow(team, Builder(store, device, data_dir, settings.loader_processes))
            yield None
        else:
            yield team

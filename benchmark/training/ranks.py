"""Several processes that train one model together: what they say to each other.

Each goes through its share of every batch; then gradients are added up, and all take the same optimizer step. The sum is taken
here, once a step and for all learners of a pass, and not by torch's DistributedDataParallel: that wraps one module with one
backward a step, and here several learners share a pass, gradients are accumulated, and heads rest in some steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.modules.batchnorm import _BatchNorm

from benchmark.errors import RankError
from datasets.shares import Share
from results.spec import Recipe


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together; torch's process group is set up unless it is alone.

    Attributes:
        rank: its number; 0 leads: it alone writes, reports and decides to stop.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    def __str__(self) -> str:
        return f"rank {self.rank} of {self.size}"

    @property
    def leads(self) -> bool:
        return self.rank == 0

    @property
    def named(self) -> tuple[int, ...]:
        """What the seed of a random choice within a step adds, so that no two ranks choose alike; nothing for the first."""
        return () if self.leads else (self.rank,)

    def share(self, recipe: Recipe) -> Share:
        """Of every batch."""
        return Share(self.rank, self.size, recipe.accumulate)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Put the sum over all ranks in the place of each tensor; they are of one type and device, and go in one message."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with _heard():
            dist.all_reduce(flat)
        for tensor, total in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(total.view_as(tensor))

    def take_over(self, module: nn.Module) -> None:
        """Parameters and buffers of the first rank."""
        if self.size > 1:
            with _heard():
                for tensor in module.state_dict().values():
                    dist.broadcast(tensor, 0)

    def told(self, number: int) -> int:
        """The first rank's number, told to all."""
        return number if self.size == 1 else int(self._of_the_first(torch.tensor(number)))

    def content(self, content: bytes) -> bytes:
        """The first rank's bytes, told to all."""
        if self.size == 1:
            return content
        length = self.told(len(content))
        if not length:
            return b""
        held = torch.frombuffer(bytearray(content or bytes(length)), dtype=torch.uint8)
        return bytes(self._of_the_first(held).numpy())

    def _of_the_first(self, tensor: Tensor) -> Tensor:
        with _heard():
            dist.broadcast(tensor, 0)
        return tensor

    def send(self, tensors: Sequence[Tensor]) -> None:
        """To the first rank."""
        with _heard():
            for tensor in tensors:
                dist.send(tensor.contiguous(), 0)

    def receive(self, tensors: Sequence[Tensor], rank: int) -> None:
        """Into these tensors, what another rank sends."""
        with _heard():
            for tensor in tensors:
                dist.recv(tensor, rank)


ALONE = Ranks()


def running_statistics(module: nn.Module) -> list[Tensor]:
    """Of BatchNorms that know their own rank's images alone."""
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and not isinstance(m, nn.SyncBatchNorm)]
    kept = [statistic for norm in norms for statistic in (norm.running_mean, norm.running_var)]
    return [statistic for statistic in kept if statistic is not None]


def synchronise_norms(module: nn.Module, ranks: Ranks) -> None:
    """On GPUs, BatchNorms of a module take their statistics over all ranks; torch has none that do on a CPU.

    The module itself is no BatchNorm; those within it are replaced, their parameters are not.
    """
    if ranks.size > 1 and next(module.parameters()).is_cuda:
        nn.SyncBatchNorm.convert_sync_batchnorm(module)


@contextmanager
def _heard() -> Iterator[None]:
    try:
        yield
    except (
        RuntimeError
    ) as error:  # gloo and NCCL raise it, or a subclass, when a rank is gone or does not answer in time
        raise RankError(
            f"another process of this training is gone or does not answer ({_first_line(error)})"
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]

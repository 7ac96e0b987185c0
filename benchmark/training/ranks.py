"""Communication between the processes (ranks) that train one model together.

Each rank computes the gradients of its share of every batch; then the gradients are summed over the ranks, and all ranks take
the same optimizer step. The sum is computed here, once per step and for all learners of a pass. DistributedDataParallel wraps
one module with one backward pass per step; here several learners share a pass, gradients are accumulated, and some steps train
only a part of the heads.
"""

from __future__ import annotations

import hashlib
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
    """The rank of this process among those that train together. With more than one, torch's process group must be set up.

    Attributes:
        rank: number of this process. Only rank 0 writes files, reports progress and decides to stop.
        size: number of processes.
    """

    rank: int = 0
    size: int = 1

    def __str__(self) -> str:
        return f"rank {self.rank} of {self.size}"

    @property
    def leads(self) -> bool:
        return self.rank == 0

    @property
    def seed_parts(self) -> tuple[int, ...]:
        """Added to the seed of random choices within a step, so that ranks choose differently; empty for rank 0."""
        return () if self.leads else (self.rank,)

    def share(self, recipe: Recipe) -> Share:
        """This rank's share of every batch."""
        return Share(self.rank, self.size, recipe.accumulate)

    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over the ranks, in one message; the tensors have one dtype and device."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with _rank_errors():
            dist.all_reduce(flat)
        for tensor, total in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(total.view_as(tensor))

    def broadcast_module(self, module: nn.Module) -> None:
        """Overwrite parameters and buffers by those of rank 0."""
        if self.size > 1:
            with _rank_errors():
                for tensor in module.state_dict().values():
                    dist.broadcast(tensor, 0)

    def broadcast_number(self, number: int) -> int:
        """The number of rank 0, on every rank."""
        return number if self.size == 1 else int(self._broadcast(torch.tensor(number)))

    def broadcast_bytes(self, content: bytes) -> bytes:
        """The bytes of rank 0, on every rank."""
        if self.size == 1:
            return content
        length = self.broadcast_number(len(content))
        if not length:
            return b""
        buffer = torch.frombuffer(bytearray(content or bytes(length)), dtype=torch.uint8)
        return bytes(self._broadcast(buffer).numpy())

    def _broadcast(self, tensor: Tensor) -> Tensor:
        with _rank_errors():
            dist.broadcast(tensor, 0)
        return tensor

    def agree(self, text: str) -> bool:
        """Whether every rank has the same text; every rank gets the same answer."""
        if self.size == 1:
            return True
        own = torch.tensor(list(hashlib.sha256(text.encode()).digest()), dtype=torch.int32)
        low, high = own.clone(), own.clone()
        with _rank_errors():
            dist.all_reduce(low, dist.ReduceOp.MIN)
            dist.all_reduce(high, dist.ReduceOp.MAX)
        return torch.equal(low, high)

    def send_bytes(self, content: bytes) -> None:
        """Send bytes to rank 0."""
        with _rank_errors():
            dist.send(torch.tensor(len(content)), 0)
            dist.send(torch.frombuffer(bytearray(content), dtype=torch.uint8), 0)

    def receive_bytes(self, rank: int) -> bytes:
        """The bytes that another rank sends."""
        length = torch.tensor(0)
        with _rank_errors():
            dist.recv(length, rank)
            buffer = torch.empty(int(length), dtype=torch.uint8)
            dist.recv(buffer, rank)
        return bytes(buffer.numpy())


ALONE = Ranks()


def running_statistics(module: nn.Module) -> list[Tensor]:
    """Statistics of the images of the own rank alone: those of BatchNorms, and what modules name in ``running_statistics``."""
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and not isinstance(m, nn.SyncBatchNorm)]
    statistics = [statistic for norm in norms for statistic in (norm.running_mean, norm.running_var)]
    statistics += [getattr(m, name) for m in module.modules() for name in getattr(m, "running_statistics", ())]
    return [statistic for statistic in statistics if statistic is not None]


def synchronise_norms(module: nn.Module, ranks: Ranks) -> None:
    """On GPUs, replace the BatchNorms inside a module by ones that compute statistics over all ranks; parameters stay the same.

    torch has no such BatchNorm for CPUs. The module itself must not be a BatchNorm.
    """
    if ranks.size > 1 and next(module.parameters()).is_cuda:
        nn.SyncBatchNorm.convert_sync_batchnorm(module)


@contextmanager
def _rank_errors() -> Iterator[None]:
    """Turn the errors that gloo and NCCL raise when a rank has died or does not respond in time into a `RankError`."""
    try:
        yield
    except RuntimeError as error:
        raise RankError(
            f"another process of this training has died or does not respond ({_first_line(error)})"
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]

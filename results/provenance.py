"""The origin of a result: code, machine and time. `benchmark.provenance` creates these models."""

from __future__ import annotations

import hashlib
import json
from typing import Literal

from pydantic import AwareDatetime, field_validator

from results.frozen import Frozen


class Code(Frozen):
    """The checkout that computed a result."""

    commit: str | None
    """None outside a git checkout."""
    dirty: bool | None
    """Whether tracked files differ from the commit; None outside a git checkout."""
    frozen: str | None = None
    """Hash of the copy of the code that a Slurm submission runs from."""


class Machine(Frozen):
    """The hardware and software that can affect a result."""

    python: str
    packages: dict[str, str | None]
    """Versions of the packages that compute, including torch; None if a package is not installed."""
    platform: str
    cpu: str
    cpu_capability: str
    """The instruction set that torch uses, such as AVX2."""
    gpu: str | None
    gpu_memory_bytes: int | None
    device: str
    memory_bytes: int | None
    threads: int
    ranks: int
    """Number of processes in distributed training."""
    deterministic: bool
    precision: str

    @field_validator("packages")
    @classmethod
    def _names_torch(cls, packages: dict[str, str | None]) -> dict[str, str | None]:
        if not packages.get("torch"):
            raise ValueError("the version of torch is missing")
        return packages

    @property
    def name(self) -> str:
        """The GPU, or the CPU with its threads."""
        return self.gpu or f"{self.cpu}, {self.threads} thread{'' if self.threads == 1 else 's'}"

    @property
    def fingerprint(self) -> str:
        """16 hex digits, a hash of GPU, CPU and torch version; equal for equal nodes of a cluster."""
        kind = {"gpu": self.gpu, "cpu": self.cpu, "torch": self.packages.get("torch")}
        return hashlib.sha256(json.dumps(kind, sort_keys=True).encode()).hexdigest()[:16]


class Provenance(Frozen):
    """The origin of one result."""

    code: Code
    machine: Machine
    finished: AwareDatetime
    seconds: float
    """Wall time of the work."""
    peak_memory_bytes: int
    gpu_peak_memory_bytes: int | None


class EarlierAttempt(Frozen):
    """An attempt at a stage that ended without finishing it."""

    number: int
    at: AwareDatetime
    outcome: Literal["failed", "stopped", "killed"]
    failure: str | None = None
    """A value of `results.record.FailureCause`."""
    reason: str = ""
    """One sentence."""
    node: str = ""
    """The machine."""


class StageProvenance(Provenance):
    """The origin of a stage."""

    shared_pass: int = 1
    """Number of stages trained in the same pass, this one included; `seconds` is the time of the whole pass."""
    attempts: int = 1
    """Number of attempts, the successful one included."""
    earlier: tuple[EarlierAttempt, ...] = ()
    """The attempts before the successful one, with their reasons."""

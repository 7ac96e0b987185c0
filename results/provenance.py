"""Where a result comes from: code, machine, time. `benchmark.provenance` fills these models in."""

from __future__ import annotations

import hashlib
import json

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
    """The hardware and software under a result, as far as they can change it."""

    python: str
    packages: dict[str, str | None]
    """Versions of the packages that compute, torch among them; None where one is not installed."""
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
    """Processes that train together."""
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
        return self.gpu or f"{self.cpu}, {self.threads} threads"

    @property
    def fingerprint(self) -> str:
        """16 hex digits over GPU, CPU and torch version; equal nodes of a cluster share them."""
        kind = {"gpu": self.gpu, "cpu": self.cpu, "torch": self.packages.get("torch")}
        return hashlib.sha256(json.dumps(kind, sort_keys=True).encode()).hexdigest()[:16]


class Provenance(Frozen):
    """How a result was made."""

    code: Code
    machine: Machine
    finished: AwareDatetime
    seconds: float
    """Wall time of the work."""
    peak_memory_bytes: int
    gpu_peak_memory_bytes: int | None


class StageProvenance(Provenance):
    """How a stage was made."""

    shared_pass: int = 1
    """Number of stages trained in the same pass, this one included; `seconds` is the time of the whole pass."""
    attempts: int = 1
    """Number of attempts, the successful one included."""

"""Collects where a result comes from: code, packages, machine; see `results.provenance`."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version

from benchmark.checkout import ROOT
from benchmark.hardware import cpu_model, memory_bytes, peak_memory_bytes
from results.provenance import Code, EarlierAttempt, Machine, Provenance, StageProvenance

FROZEN = "frozen.json"
"""File in a Slurm submission's copy of the code: the `Code` of the checkout that was copied."""
PACKAGES = ("torch", "torchvision", "timm", "fvcore", "numpy", "safetensors")


@lru_cache(maxsize=1)
def code() -> Code:
    """The checkout's commit; in a Slurm submission's copy, that of the checkout which was copied."""
    if (ROOT / FROZEN).is_file():
        return Code.model_validate_json((ROOT / FROZEN).read_bytes())
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    return Code(commit=commit, dirty=None if changes is None else bool(changes))


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            # The checkout may belong to another user of the team, whose code runs anyway.
            ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), *arguments],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def machine(device: str) -> Machine:
    """This machine as torch uses it now."""
    import torch  # deferred: commands that compute nothing start without torch

    on_gpu = device.startswith("cuda")
    return Machine(
        python=platform.python_version(),
        packages={name: _version(name) for name in PACKAGES},
        platform=platform.platform(),
        cpu=cpu_model(),
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
        gpu=torch.cuda.get_device_name(device) if on_gpu else None,
        gpu_memory_bytes=torch.cuda.get_device_properties(device).total_memory if on_gpu else None,
        device=device,
        memory_bytes=memory_bytes(),
        threads=torch.get_num_threads(),
        ranks=torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1,
        deterministic=torch.are_deterministic_algorithms_enabled(),
        precision="float32",
    )


def provenance(device: str, seconds: float) -> Provenance:
    """The provenance of a result that has just been finished.

    Args:
        device: on which it was computed.
        seconds: wall time of the computation.
    """
    import torch  # as above

    return Provenance(
        code=code(),
        machine=machine(device),
        finished=datetime.now(UTC).replace(microsecond=0),
        seconds=round(seconds, 3),
        peak_memory_bytes=peak_memory_bytes(),
        gpu_peak_memory_bytes=torch.cuda.max_memory_reserved(device) if device.startswith("cuda") else None,
    )


def stage_provenance(
    device: str,
    seconds: float,
    *,
    shared_pass: int = 1,
    attempts: int = 1,
    earlier: tuple[EarlierAttempt, ...] = (),
) -> StageProvenance:
    """The provenance of a stage; see `StageProvenance` for the fields beyond those of `provenance`."""
    made = provenance(device, seconds)
    return StageProvenance(**dict(made), shared_pass=shared_pass, attempts=attempts, earlier=earlier)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None

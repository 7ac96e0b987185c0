"""Where a number comes from: code, packages, machine."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmark.checkout import ROOT

FROZEN = "frozen.json"
"""In a submission's copy of the code: what the checkout said of itself."""
PACKAGES = ("torch", "torchvision", "timm", "fvcore", "numpy", "safetensors")


@lru_cache(maxsize=1)
def code() -> dict[str, Any]:
    """Commit of the checkout, and whether tracked files differ from it; None outside a git checkout.

    In the copy that a Slurm submission made: the same, and ``frozen``, the hash of that copy.
    """
    if (ROOT / FROZEN).is_file():
        return json.loads((ROOT / FROZEN).read_text(encoding="utf-8"))
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": None if changes is None else bool(changes)}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def machine(device: str) -> dict[str, Any]:
    """The hardware and software under a result, as far as it can change the result."""
    import torch

    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name(device) if device.startswith("cuda") else None,
        "gpu_memory_bytes": torch.cuda.get_device_properties(device).total_memory
        if device.startswith("cuda")
        else None,
        "device": device,
        "memory_bytes": memory_bytes(),
        "threads": torch.get_num_threads(),
        "ranks": torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "precision": "float32",
    }


def made(device: str, seconds: float) -> dict[str, Any]:
    """Everything about the making of a result: code, machine, when, how long, how much memory."""
    return {
        "code": code(),
        "machine": machine(device),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "peak_memory_bytes": peak_memory_bytes(),
        "gpu_peak_memory_bytes": _gpu_peak_memory_bytes(device),
    }


def peak_memory_bytes() -> int:
    """The largest resident size that this process has had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _gpu_peak_memory_bytes(device: str) -> int | None:
    """The most that this process has had reserved on a GPU."""
    import torch

    return torch.cuda.max_memory_reserved(device) if device.startswith("cuda") else None


def memory_bytes() -> int | None:
    """Of the machine; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@lru_cache(maxsize=1)
def cpu_model() -> str:
    """As the system calls it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()

"""How long the suite's own commands take on very many runs: as a user calls them, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from benchmark.checkout import ROOT

FIRST = "vit_nano_patch4_28"
WIDE: dict[str, list[Any]] = {
    "backbones": [FIRST, "deit_nano_distilled_patch4_28", "vit_nano_patch4_32", "deit_nano_distilled_patch4_32"],
    "datasets": [{"name": "fashion-mnist-mini", "set": {"train": count}} for count in range(1000, 6000, 1000)],
    "methods": ["lgvit", "lgvit-official", "vanilla", "homogeneous-local", "homogeneous-global"]
    + [{"name": "lgvit", "set": {"kd_weight": weight}} for weight in (0.1, 0.2, 0.4, 0.5, 0.6)],
    "exits": ["paper"] + [{"name": n, "set": {"count": c}} for n in ("uniform", "deep", "middle") for c in (2, 4, 6)],
}
"""Axes of a large grid: 2,000 runs a seed."""
NARROW: dict[str, list[Any]] = {
    "backbones": [FIRST],
    "datasets": ["fashion-mnist-mini"],
    "methods": ["static", "lgvit", "vanilla", "homogeneous-local"],
}
"""4 runs a seed."""


@dataclass(frozen=True)
class Timed:
    """A command, timed.

    Attributes:
        seconds: wall time of every call, start of Python included.
        cpu_seconds: of the processes.
        output: of the last call.
    """

    seconds: tuple[float, ...]
    cpu_seconds: tuple[float, ...]
    output: str

    @property
    def median(self) -> float:
        return median(self.seconds)

    @property
    def cpu_median(self) -> float:
        return median(self.cpu_seconds)


def write_grid(folder: Path, axes: dict[str, list[Any]], seeds: int) -> Path:
    """A grid file over some axes and so many seeds."""
    path = folder / "grid.yaml"
    path.write_text(yaml.safe_dump({"name": "bench", **axes, "seeds": list(range(seeds))}), encoding="utf-8")
    return path


def time_command(*arguments: object, repeats: int) -> Timed:
    """Call ``python -m benchmark`` with these arguments.

    Raises:
        RuntimeError: it failed; with what it said.
    """
    seconds, cpu_seconds, output = [], [], ""
    for _ in range(repeats):
        begun, cpu = time.perf_counter(), _children()
        done = subprocess.run(
            [sys.executable, "-m", "benchmark", *map(str, arguments)], cwd=ROOT, capture_output=True, text=True
        )
        seconds.append(time.perf_counter() - begun)
        cpu_seconds.append(_children() - cpu)
        if done.returncode:
            raise RuntimeError(f"{' '.join(map(str, arguments))}: {done.stderr.strip()}")
        output = done.stdout
    return Timed(tuple(seconds), tuple(cpu_seconds), output)


def _children() -> float:
    """CPU seconds of all processes that this one has waited for."""
    times = os.times()
    return times.children_user + times.children_system

"""Fake Slurm programs, and a grid that is submitted to them."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmark.cli.slurm import run_on_slurm
from benchmark.execution.config import ExecutionConfig
from benchmark.execution.slurm.submission import Submission
from benchmark.grid.load import load_grid
from benchmark.stages.plan import Plan, make_plan
from results.store.folder import Store
from tests.grids import bundled, write_grid

GRID: dict[str, Any] = {
    "name": "many",
    "datasets": [bundled(200, 100, 100)],
    "methods": ["static", "lgvit", "vanilla", "homogeneous-local"],
    "exits": None,
    "seeds": [0, 1, 2],
}
SBATCH = """#!/bin/sh
if [ "$1" = --test-only ]; then
  grep -q dependency && exit 1
  [ -e "$FAKE/refuse" ] && { echo "allocation failure: Requested node configuration is not available" >&2; exit 1; }
  echo "sbatch: Job 7 to start at 2026-11-29T20:00:00 using 1 processors on nodes n1 in partition main" >&2; exit 0
fi
for last; do :; done
count=$(ls "$FAKE" | grep -c script)
if [ -e "$FAKE/refuse" ] && [ "$count" = 2 ]; then
  echo "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy" >&2; exit 1
fi
cp "$last" "$FAKE/script-$((100 + count))"
echo "Submitted batch job $((100 + count))"
"""
TOLD = '#!/bin/sh\n[ -e "$FAKE/%s" ] || exit 1\ncat "$FAKE/%s"\n'


class FakeSlurm:
    """A folder in front of PATH with fake programs; the output of squeue and sacct is in files there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        programs = {
            "sbatch": SBATCH,
            "squeue": (TOLD % ("squeue", "squeue")).replace("cat", 'echo "$@" > "$FAKE/squeue-arguments"; cat'),
            "sacct": TOLD % ("sacct", "sacct"),
            "scancel": '#!/bin/sh\necho "$@" >> "$FAKE/cancelled"\n',
            "scontrol": "#!/bin/sh\necho 'MaxArraySize            = 4'\n",
            "srun": "#!/bin/sh\n",
        }
        for name, text in programs.items():
            path = folder / "bin" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        self.says("squeue", "")

    def says(self, program: str, text: str) -> None:
        (self.folder / program).write_text(text)

    @property
    def scripts(self) -> list[str]:
        return [path.read_text() for path in sorted(self.folder.glob("script-*"))]


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    folder = tmp_path / "slurm"
    folder.mkdir()
    monkeypatch.setenv("FAKE", str(folder))
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
    return FakeSlurm(folder)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / 'it\'s my "results"')


def plan_of(store: Store, **changes: Any) -> Plan:
    grid = write_grid(store.root.parent / "grid.yaml", **(GRID | changes))
    return make_plan(load_grid(grid), store)


def run(plan: Plan, store: Store, **options: Any) -> tuple[Submission | None, str]:
    out = io.StringIO()
    config = ExecutionConfig(results=store.root, session="", device="cpu")
    report = store.root.parent / "report"
    return run_on_slurm(Console(file=out, width=100), plan, plan, config, report, ("pdf",), options), out.getvalue()

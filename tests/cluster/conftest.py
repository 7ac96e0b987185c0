"""A real Slurm on this machine for the test session, and a plug-in method whose training time the tests set."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import call, environment

HERE = Path(__file__).parent
SCRIPT = HERE / "local-slurm.sh"
ASKED_FOR = "CLUSTER_TESTS"
MOST_TASKS = 2
"""The cluster's MaxArraySize."""


@dataclass(frozen=True)
class Cluster:
    """A running Slurm.

    Attributes:
        folder: the daemons' files.
        env: environment of a user's shell; the plug-in of tests/cluster/plugin is installed.
    """

    folder: Path
    env: dict[str, str]

    def command(self, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run ``python -m benchmark`` as on the login node."""
        return call(*arguments, env=self.env, **options)

    def says(self, *command: str) -> str:
        return subprocess.run(command, env=self.env, check=True, capture_output=True, text=True).stdout

    def wait(self, results: Path, seconds: float = 420) -> dict[str, Any]:
        """Until no job of the results folder's submissions is left; the last manifest."""
        until(lambda: not self.queue(results), seconds, lambda: self.says("squeue") + self.logs(results))
        return manifests(results)[-1]

    def queue(self, results: Path) -> list[str]:
        """Ids of its arrays that wait or run."""
        ids = {array["job"] for manifest in manifests(results) for array in manifest["arrays"]}
        return [line for line in self.says("squeue", "-h", "-o", "%F").split() if line in ids]

    def logs(self, results: Path) -> str:
        return "\n".join(path.read_text() for path in sorted(results.glob("submissions/*/jobs/*_log.out")))


def until(true: Callable[[], object], seconds: float, why: Callable[[], str] = str) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, why()
        time.sleep(0.3)


def manifests(results: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(results.glob("submissions/*/manifest.json"))]


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    if os.environ.get(ASKED_FOR) != "1":
        pytest.skip("these tests start a real Slurm: python -m tox -e cluster")
    folder = Path(tempfile.mkdtemp(prefix="slurm", dir="/tmp"))  # short, because the paths of sockets are limited
    settings = {"LOCAL_SLURM_DIR": str(folder), "LOCAL_SLURM_MAX_ARRAY": str(MOST_TASKS), "LOCAL_SLURM_INSTALL": "0"}
    env = environment(**settings)
    started = subprocess.run(["bash", SCRIPT, "start"], env=env, capture_output=True, text=True)
    if started.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"no Slurm here: {started.stderr.strip().splitlines()[-1]}")
    env |= {"SLURM_CONF": f"{folder}/etc/slurm.conf", "PYTHONPATH": str(HERE / "plugin")}
    try:
        yield Cluster(folder, env)
    finally:
        subprocess.run(["bash", SCRIPT, "stop"], env=env, capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)

"""A real Slurm on this machine for the test session, and a plug-in method whose training time the tests set."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from results.store.folder import Store
from tests.conftest import environment
from tests.grids import bundled, write_grid
from tests.warm_start import Server, WarmProcess, wait_until_ready

HERE = Path(__file__).parent
SCRIPT = HERE / "local-slurm.sh"
ASKED_FOR = "CLUSTER_TESTS"
MOST_TASKS = 2
"""The cluster's MaxArraySize."""
# A training whose steps after the first epoch are slow in the first start of its job.
SLOW_AT_FIRST = 'export SLOW_AFTER=10 SLOW_SECONDS=$([ "${SLURM_RESTART_COUNT:-0}" = 0 ] && echo 5 || echo 0)'


@dataclass(frozen=True)
class Cluster:
    """A running Slurm.

    Attributes:
        folder: the daemons' files.
        env: environment of a user's shell; the plug-in of tests/cluster/plugin is installed.
        login: address of a process that has torch and the plug-in, which the commands are forks of.
    """

    folder: Path
    env: dict[str, str]
    login: str

    def command(self, *arguments: object, **changes: str) -> subprocess.CompletedProcess[str]:
        """Run ``python -m benchmark`` as on the login node, with changes of the environment."""
        process = WarmProcess(self.login, [*map(str, arguments)], self.env | changes)
        output, errors = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.wait(), output, errors)

    def says(self, *command: str) -> str:
        return subprocess.run(command, env=self.env, check=True, capture_output=True, text=True).stdout

    def wait(self, results: Path, seconds: float = 700) -> dict[str, Any]:
        """Until no job of the results folder's submissions is left; the last manifest."""
        until(lambda: not self.queue(results), seconds, lambda: self.says("squeue") + self.logs(results))
        return manifests(results)[-1]

    def queue(self, results: Path) -> list[str]:
        """Ids of its arrays that wait or run."""
        ids = {array["job"] for manifest in manifests(results) for array in manifest["arrays"]}
        return [line for line in self.says("squeue", "-h", "-o", "%F").split() if line in ids]

    def cancel(self, results: Path) -> None:
        """Cancel the arrays that wait or run."""
        if jobs := self.queue(results):
            self.says("scancel", *jobs)

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
def login() -> Iterator[str]:
    """The address of a process that all commands are forks of."""
    if os.environ.get(ASKED_FOR) != "1":
        pytest.skip("these tests start a real Slurm: python -m tox -e cluster")
    folder = Path(tempfile.mkdtemp(prefix="login", dir="/tmp"))
    server = Server(folder, environment(PYTHONPATH=str(HERE / "plugin")))
    wait_until_ready(server.address)
    yield server.address
    server.close()
    shutil.rmtree(folder)


@contextmanager
def running(login: str, **settings: object) -> Iterator[Cluster]:
    """A Slurm with these settings of local-slurm.sh."""
    folder = Path(tempfile.mkdtemp(prefix="slurm", dir="/tmp"))  # short, because the paths of sockets are limited
    settings |= {"DIR": folder, "MAX_ARRAY": MOST_TASKS, "INSTALL": 0}
    env = environment(**{f"LOCAL_SLURM_{name}": str(value) for name, value in settings.items()})
    started = subprocess.run(["bash", SCRIPT, "start"], env=env, capture_output=True, text=True)
    if started.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        said = [line for line in started.stderr.splitlines() if line.startswith("local-slurm:")]
        pytest.skip(f"no Slurm here: {'; '.join(said)}")
    env |= {"SLURM_CONF": f"{folder}/etc/slurm.conf", "PYTHONPATH": str(HERE / "plugin")}
    try:
        yield Cluster(folder, env, login)
    finally:
        subprocess.run(["bash", SCRIPT, "stop"], env=env, capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def cluster(login: str) -> Iterator[Cluster]:
    """A Slurm with accounting, and with limits of memory where this machine has cgroups."""
    with running(login, MEM_LIMITS=1) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def without_accounting(login: str) -> Iterator[Cluster]:
    """A Slurm whose sacct says that accounting is disabled."""
    with running(login, ACCOUNTING=0) as cluster:
        yield cluster


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[None]:
    """A disk of this size at a new folder."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this user cannot mount a disk")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def cluster_grid(folder: Path, name: str, methods: list[str], seeds: tuple[int, ...] = (0,)) -> Path:
    return write_grid(
        folder / f"{name}.yaml",
        name=name,
        datasets=[bundled(200, 100, 100)],
        methods=methods,
        exits=None,
        seeds=list(seeds),
        recipes={"finetune": {"epochs": 1, "batch_size": 50}, "exits": {"epochs": 4}},
    )


def arguments(grid: Path, results: Path) -> list[object]:
    return ["run", "--grid", grid, "--results", results, "--format", "none", "--device", "cpu"]


def on_slurm(grid: Path, results: Path, *more: object) -> list[object]:
    return [*arguments(grid, results), "--executor", "slurm", *more]


def records(results: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(results.glob("runs/*/record.json"))]


def tasks_of(results: Path) -> list[dict[str, Any]]:
    return [task for manifest in manifests(results) for array in manifest["arrays"] for task in array["tasks"]]


def same_bits(results: Path, expected: Path, kinds: tuple[str, ...] = ("finetune", "exits", "scores")) -> None:
    """Whether stages are equal to those of other results, which may have more."""
    for kind in kinds:
        names = Store(results).stages(kind)
        assert names
        assert set(names) <= set(Store(expected).stages(kind))
        assert [Store(results).manifest(name) for name in names] == [Store(expected).manifest(name) for name in names]


@pytest.fixture(scope="session")
def undisturbed(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of two seeds of the same training on this machine, without Slurm."""
    folder = tmp_path_factory.mktemp("undisturbed")
    grid = cluster_grid(folder, "limited", ["slow"], (0, 1))
    done = cluster.command(*arguments(grid, folder / "results"))
    assert done.returncode == 0, done.stderr
    return folder / "results"

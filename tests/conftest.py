"""Shared by all tests: the command line as processes, and one run of the grid `smoke`."""

from __future__ import annotations

import functools
import os
import site
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from results.store.folder import Store
from tests.warm_start import Server, WarmProcess, use_fork_server, wait_until_ready

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(__file__).parent / "data"
# Tests run in parallel, so each uses one thread.
THREADS = "1"

Command = Callable[..., subprocess.CompletedProcess[str]]


def environment(**changes: str) -> dict[str, str]:
    """The environment of a user's shell, without variables of pytest and of this suite."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "LGVIT", "COV_"))}
    return {**inherited, "COLUMNS": "100", "OMP_NUM_THREADS": THREADS, **changes}


LONGEST = {"test_contract.py", "test_documented_commands.py"}
"""Files that take minutes."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files come first, then others with slow tests: no worker starts one when the others are about to end."""
    slow_files = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path.name not in LONGEST, item.path not in slow_files))


ADDRESS = "LGVIT_WARM_SERVER"
"""Environment variable of a pytest-xdist worker: the address of the server that the workers share."""


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput[ADDRESS] = _new_server().address


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        os.environ[ADDRESS] = config.workerinput[ADDRESS]
    use_fork_server(_warm_server)


@functools.cache
def _new_server() -> Server:
    return Server(Path(tempfile.mkdtemp(prefix="warm-")), environment())


@functools.cache
def _warm_server() -> str:
    """The address of the server, which is ready."""
    address = os.environ.get(ADDRESS) or _new_server().address
    wait_until_ready(address)
    return address


def start_command(*arguments: object, merge: bool = False, session: bool = False) -> WarmProcess:
    """Start ``python -m benchmark`` with these arguments in the checkout, as a fork of a process that has torch imported."""
    return WarmProcess(_warm_server(), [*map(str, arguments)], environment(), merge=merge, session=session)


def call(
    *arguments: object, cwd: Path = ROOT, env: dict[str, str] | None = None, safe_path: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m benchmark`` with these arguments to its end. In another folder or environment it starts a new Python.

    With ``safe_path``, the current folder is not on the path of modules, as with the launcher.
    """
    if cwd == ROOT and env is None:
        process = start_command(*arguments)
        output, errors = process.communicate(timeout=600)
        return subprocess.CompletedProcess(process.args, process.wait(), output, errors)
    return subprocess.run(
        [sys.executable, *(["-P"] if safe_path else []), "-m", "benchmark", *map(str, arguments)],
        cwd=cwd, env=env or environment(), capture_output=True, text=True, timeout=600,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def _restore_threads() -> Iterator[None]:
    """Undo a test's change of torch's number of threads: bits depend on it."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(int(THREADS))


@pytest.fixture(scope="session")
def benchmark_command() -> Command:
    return call


@dataclass(frozen=True)
class SmokeRun:
    """The grid `smoke`, run once for all tests that read its results; none of them may write there."""

    results: Path
    out: Path
    output: str


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> SmokeRun:
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "smoke"  # pytest-xdist's workers share it
    output = folder / "output.txt"
    with FileLock(f"{folder}.lock"):
        if not output.is_file():
            done = call("run", "--grid", "smoke", "--results", folder / "results", "--out", folder / "report")
            assert done.returncode == 0, done.stdout + done.stderr
            output.write_text(done.stdout)
    return SmokeRun(folder / "results", folder / "report", output.read_text())


@pytest.fixture(scope="session")
def hard_photos(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The runs of `tests.hard_photos`; no test may write there."""
    from tests.hard_photos import write_hard_photos  # it imports torch, which takes seconds

    return write_hard_photos(tmp_path_factory.mktemp("hard-photos"))


@pytest.fixture(scope="session")
def without_torch(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a Python without torch: the site-packages of this one, except what training needs."""
    folder = tmp_path_factory.mktemp("site")
    left_out = ("torch", "timm", "fvcore", "functorch", "nvidia", "triton")
    for packages in site.getsitepackages():
        for path in Path(packages).iterdir():
            if not path.name.startswith(left_out) and not (folder / path.name).exists():
                (folder / path.name).symlink_to(path)
    return environment(PYTHONPATH=str(folder))


def torch_free(env: dict[str, str], *arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """``python -m benchmark`` with these arguments in the environment of `without_torch`."""
    command = [sys.executable, "-S", "-m", "benchmark", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=120)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    import torch

    torch.set_num_threads(int(THREADS))

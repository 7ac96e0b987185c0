"""Starts commands as forks of one process that has everything imported.

Importing torch and timm takes longer than most commands of the tests. The server (this file as a module) imports them once
and forks for each command. A command is still a process of its own: pid, signals, environment, output and exit code.
The local worker pool of a command starts its processes by a fork server, which imports torch too: the commands and the tests
share one that is a fork of the server. The workers of pytest-xdist share the server.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("benchmark", "methods", "datasets", "results", "reports")
STARTS_THREADS = (".runner", ".onnx_graphs", ".exported_speed")
"""Endings of modules that import onnxruntime, which starts threads."""
LIBRARIES = (
    "fvcore.nn",
    "matplotlib.pyplot",
    "pyarrow.parquet",
    "scipy.stats",
    "seaborn",
    "timm",
    "torchvision",
    "typst",
)


READY_SECONDS = 300


class Server:
    """The process that forks. It ends when its standard input closes, which is when its owner ends.

    Args:
        folder: for its socket and its log.
        env: its environment.
    """

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.address = str(folder / "warm.sock")
        with (folder / "warm.log").open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.warm_start", self.address],
                cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def wait_until_ready(address: str) -> None:
    """Wait until a server has imported everything."""
    log, end = Path(address).with_suffix(".log"), time.monotonic() + READY_SECONDS
    while not Path(address).exists():
        text = log.read_text()
        assert "Traceback" not in text, text
        assert time.monotonic() < end, text
        time.sleep(0.05)


def use_fork_server(address: Callable[[], str]) -> None:
    """Let `multiprocessing` of this process use the fork server of a server, whose address is asked for at the first use."""
    shared: Any = multiprocessing.forkserver._forkserver

    def ensure_running() -> None:
        multiprocessing.resource_tracker.ensure_running()
        if shared._forkserver_address is None:
            shared._forkserver_address = f"{address()}.fork"
            _, shared._forkserver_alive_fd = os.pipe()

    shared.ensure_running = ensure_running


class WarmProcess:
    """``python -m benchmark`` with these arguments. The part of `subprocess.Popen` that tests use.

    Args:
        address: of a server that is ready.
        merge: the error output goes to ``stdout`` too.
        session: start a new session.
    """

    def __init__(
        self, address: str, arguments: list[str], env: dict[str, str], *, merge: bool = False, session: bool = False
    ) -> None:
        self.args = arguments
        self.returncode: int | None = None
        out, out_end = os.pipe()
        err, err_end = (None, out_end) if merge else os.pipe()
        self.stdout: IO[str] = os.fdopen(out)
        self.stderr: IO[str] | None = None if err is None else os.fdopen(err)
        self._server = socket.socket(socket.AF_UNIX)
        self._server.connect(address)
        socket.send_fds(self._server, [b"\0"], [out_end, err_end])
        request = {"arguments": arguments, "env": env, "session": session}
        self._server.sendall(json.dumps(request).encode() + b"\n")
        self._answers = self._server.makefile("r")
        self.pid = int(self._answers.readline())
        for end in {out_end, err_end}:
            os.close(end)

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._server], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = os.waitstatus_to_exitcode(int(self._answers.readline()))
            self._server.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        texts: dict[IO[str], str] = {}

        def read(stream: IO[str]) -> None:
            with stream:
                texts[stream] = stream.read()

        streams = [stream for stream in (self.stdout, self.stderr) if stream is not None]
        readers = [threading.Thread(target=read, args=(stream,), daemon=True) for stream in streams]
        for reader in readers:
            reader.start()
        self.wait(timeout)
        for reader in readers:
            reader.join()
        return texts[self.stdout], "" if self.stderr is None else texts[self.stderr]


def _import_everything() -> None:
    for name in LIBRARIES:
        importlib.import_module(name)
    for package in map(importlib.import_module, PACKAGES):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith(("__main__", *STARTS_THREADS)) and ".bundled." not in module.name:
                importlib.import_module(module.name)


def _share_fork_server(address: str) -> None:
    """Start the fork server of `multiprocessing` as a fork of this process, for all commands.

    The processes that it starts start fork servers of their own, as users' do.
    """
    shared: Any = multiprocessing.forkserver._forkserver
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    alive, shared._forkserver_alive_fd = os.pipe()  # the server ends when all copies of the second end are closed
    shared._forkserver_address = listener.getsockname()
    shared.ensure_running = multiprocessing.resource_tracker.ensure_running
    if os.fork() == 0:
        os.close(shared._forkserver_alive_fd)
        del shared.ensure_running
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        multiprocessing.forkserver.main(listener.detach(), alive, [])
    listener.close()
    os.close(alive)


def _next_request(listener: socket.socket) -> dict[str, Any]:
    """Serve requests; returns the request in the forked process of each command."""
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            os._exit(0)
        connection, _ = listener.accept()
        if os.fork() == 0:
            break
        connection.close()
    # A process for each command waits for its end and reports it.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, streams, _, _ = socket.recv_fds(connection, 1, 2)
    request: dict[str, Any] = json.loads(connection.makefile("r").readline())
    listener.close()
    if pid := os.fork():
        for stream in streams:
            os.close(stream)
        os.close(1)
        connection.sendall(f"{pid}\n".encode())
        _, status = os.waitpid(pid, 0)
        with contextlib.suppress(OSError):
            connection.sendall(f"{status}\n".encode())
        os._exit(0)
    connection.close()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(streams[0], 1)
    os.dup2(streams[1], 2)
    for stream in streams:
        os.close(stream)
    return request


def main() -> None:
    _import_everything()
    threads = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    threads = [name for name in threads if name != "jemalloc_bg_thd"]  # jemalloc restarts its own after a fork
    assert len(threads) == 1, f"a fork would lack the threads {threads}"
    gc.collect()
    gc.freeze()  # a collection in a fork would copy every page
    _share_fork_server(f"{sys.argv[1]}.fork")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{sys.argv[1]}.new")
    listener.listen()
    Path(f"{sys.argv[1]}.new").rename(sys.argv[1])  # the server is ready
    request = _next_request(listener)
    if request["session"]:
        os.setsid()
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv[1:] = request["arguments"]
    try:
        runpy.run_module("benchmark", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        _end(end.code)
    _end(0)


def _end(code: object) -> None:
    """End the process as Python does on `SystemExit`, but without clearing the modules, which would copy every page."""
    if code is not None and not isinstance(code, int):
        sys.stderr.write(f"{code}\n")
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


if __name__ == "__main__":
    main()

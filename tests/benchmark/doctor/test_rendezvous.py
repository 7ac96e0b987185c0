"""The rendezvous test of `doctor`, with processes on this machine."""

from __future__ import annotations

import multiprocessing
import socket
import threading
from collections.abc import Callable
from multiprocessing.queues import Queue

import pytest
from click.testing import CliRunner

from benchmark.cli.doctor import command
from benchmark.doctor.rendezvous import Rendezvous, interfaces
from results.check import Check


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def checks_of(test: Rendezvous) -> list[Check]:
    checks: list[Check] = []
    for step in test.steps.values():
        checks.append(step())
        if checks[-1].status == "fail":
            break
    return checks


def in_process(port: int, queue: Queue[list[Check]]) -> None:
    queue.put(checks_of(Rendezvous("127.0.0.1", port, 2, seconds=60)))


def test_two_processes_meet() -> None:
    context = multiprocessing.get_context("fork")
    queue: Queue[list[Check]] = context.Queue()
    port = free_port()
    processes = [context.Process(target=in_process, args=(port, queue)) for _ in range(2)]
    for process in processes:
        process.start()
    results = [queue.get(timeout=90) for _ in processes]
    for process in processes:
        process.join(30)
    for checks in results:
        assert [check.name for check in checks] == ["endpoint", "nodes", "links", "gloo"]
        assert {check.status for check in checks} == {"ok"}, checks
        assert "lo" in checks[0].result
    assert {"rank 0" in checks[1].result for checks in results} == {True, False}


def test_a_node_that_is_missing_is_counted() -> None:
    port = free_port()
    *_, last = checks_of(Rendezvous("127.0.0.1", port, 2, seconds=0.5))
    assert (last.name, last.status) == ("nodes", "fail")
    for part in ("1 of 2", f"127.0.0.1:{port}"):
        assert part in last.result


def test_an_endpoint_that_nobody_hosts_names_interface_and_port(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()

    def remote(test: Rendezvous, *, is_host: bool) -> None:
        raise RuntimeError("the address is that of another machine")

    monkeypatch.setattr(Rendezvous, "_store", remote)
    (check,) = checks_of(Rendezvous("127.0.0.1", port, 2, seconds=0.5))
    assert check.status == "fail"
    for part in (f"127.0.0.1:{port}", "interface lo", "nothing listens"):
        assert part in check.result


def test_a_closed_port_of_a_peer_is_named() -> None:
    """The second process meets the first, and closes its port before the first connects."""
    port = free_port()
    first, second = (Rendezvous("127.0.0.1", port, 2, seconds=20) for _ in range(2))
    results: dict[str, Check] = {}

    def start(name: str, step: Callable[[], Check]) -> threading.Thread:
        thread = threading.Thread(target=lambda: results.update({name: step()}))
        thread.start()
        return thread

    assert first.endpoint().status == second.endpoint().status == "ok"
    meeting = start("second", second.meet)
    assert first.meet().status == "ok"
    meeting.join()
    second.listener.close()
    assert second.store is not None
    second.store.add("linked", 1)
    failure = first.links()
    assert failure.status == "fail"
    peer = first.peers[second.rank]
    for part in (f"port {peer.port}", f"interface {peer.interface}", "nothing listens"):
        assert part in failure.result
    assert "GLOO_SOCKET_IFNAME" in failure.advice


def test_an_interface_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "ib7")
    (check,) = checks_of(Rendezvous("127.0.0.1", free_port(), 2, seconds=0.5))
    assert check.status == "fail"
    assert "ib7" in check.result
    assert all(name in check.advice for name in interfaces())


def test_names_that_do_not_resolve_and_invalid_endpoints() -> None:
    (check,) = checks_of(Rendezvous("no-such-node.invalid", 29500, 2, seconds=0.5))
    assert check.status == "fail"
    assert "no-such-node.invalid" in check.result
    for endpoint in ("n1", "n1:80", "n1:99999", ":29500"):
        refused = CliRunner().invoke(command, ["--rendezvous", endpoint])
        assert repr(endpoint) in str(refused.exception)

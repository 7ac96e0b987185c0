"""``doctor --rendezvous``: whether the nodes of a training reach each other, and by which interface and port they do not.

The same command runs once on every node. One process hosts a key-value store at the endpoint, as rank 0 of a training does.
Then each process connects to a port of every other, and all sum a tensor with gloo.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import timedelta

import torch
from torch import distributed as dist

from results.check import Check

LIMIT_SECONDS = 120.0
CONNECT_SECONDS = 10.0
END_SECONDS = 15.0
"""How long the host of the store waits for the others to finish."""
POLL_SECONDS = 0.2
SIOCGIFADDR = 0x8915
"""Linux: the IPv4 address of an interface."""
INTERFACE = "GLOO_SOCKET_IFNAME"
FIREWALL = "open the port between the nodes, or choose another interface or port"


@dataclass(frozen=True)
class Peer:
    """A process of the test, and where it listens."""

    host: str
    interface: str
    address: str
    port: int

    def __str__(self) -> str:
        return f"{self.host} at {self.address} port {self.port} (interface {self.interface})"


@dataclass
class Rendezvous:
    """The steps of one process, in the order of `steps`.

    Attributes:
        host: of the endpoint, name or address.
        port: of the endpoint.
        nodes: number of processes that meet.
        seconds: limit of the whole test.
    """

    host: str
    port: int
    nodes: int
    seconds: float = LIMIT_SECONDS
    rank: int = field(default=-1, init=False)
    store: dist.TCPStore | None = field(default=None, init=False)
    peers: list[Peer] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self.deadline = time.monotonic() + self.seconds
        self.listener = socket.socket()

    @property
    def steps(self) -> dict[str, Callable[[], Check]]:
        """The checks by name. A check after a failed one must not be called."""
        return {"endpoint": self.endpoint, "nodes": self.meet, "links": self.links, "gloo": self.gloo}

    def endpoint(self) -> Check:
        """Host the store, or connect to it."""
        place = f"{self.host}:{self.port}"
        try:
            address = socket.getaddrinfo(self.host, self.port, socket.AF_INET)[0][4][0]
        except OSError as error:
            advice = "use an address, as with --setup 'export MASTER_ADDR=$(hostname -i)'"
            return Check(
                "endpoint", "fail", f"{self.host} does not resolve on {socket.gethostname()} ({error})", advice
            )
        self.own = _address_towards(str(address), self.port)
        interface = interface_of(self.own)
        if (chosen := os.environ.get(INTERFACE)) and chosen not in interfaces():
            text = f"{INTERFACE} is {chosen}, which {socket.gethostname()} does not have"
            return Check("endpoint", "fail", text, f"one of {', '.join(interfaces())}")
        try:
            self.store = self._store(is_host=True)
            return Check("endpoint", "ok", f"{place} is hosted here, interface {interface} ({self.own})")
        except (RuntimeError, OSError):  # it belongs to another machine, or another process has it
            pass
        reason = ""
        while time.monotonic() < self.deadline:
            try:
                with socket.create_connection((self.host, self.port), timeout=CONNECT_SECONDS):
                    pass
                self.store = self._store(is_host=False)
                return Check("endpoint", "ok", f"{place} is reached through interface {interface} ({self.own})")
            except (RuntimeError, OSError) as error:
                reason = _reason(error)
                time.sleep(POLL_SECONDS)
        text = f"{place} is not reached from interface {interface} ({self.own}): {reason}"
        return Check("endpoint", "fail", text, FIREWALL)

    def meet(self) -> Check:
        """Announce this process, and wait for the others."""
        assert self.store is not None
        interface = os.environ.get(INTERFACE) or interface_of(self.own)
        address = interfaces().get(interface, self.own)
        self.listener.bind((address, 0))
        self.listener.listen(self.nodes)
        own = Peer(socket.gethostname(), interface, address, self.listener.getsockname()[1])
        self.rank = self.store.add("arrived", 1) - 1
        self.store.set(f"peer {self.rank}", json.dumps(asdict(own)))
        if not self._all_have("arrived"):
            place = f"{self.host}:{self.port}"
            text = f"{self.store.add('arrived', 0)} of {self.nodes} nodes reached {place} in {self.seconds:.0f} s"
            return Check(
                "nodes", "fail", text, "see the line endpoint of the others; --nodes states how many there are"
            )
        self.peers = [Peer(**json.loads(self.store.get(f"peer {rank}"))) for rank in range(self.nodes)]
        return Check("nodes", "ok", f"{self.nodes} of {self.nodes}; this is rank {self.rank}, {own}")

    def links(self) -> Check:
        """Connect to a port of every other process."""
        assert self.store is not None
        failures = []
        for rank, peer in enumerate(self.peers):
            if rank == self.rank:
                continue
            try:
                with socket.create_connection((peer.address, peer.port), timeout=CONNECT_SECONDS):
                    pass
            except OSError as error:
                failures.append(f"{peer}: {_reason(error)}")
        self.store.add("linked", 1)
        self._all_have("linked")  # the others may still connect to this process
        self.listener.close()
        if failures:
            advice = f"{FIREWALL}: export {INTERFACE}=NAME, with one of {', '.join(interfaces())}"
            return Check("links", "fail", f"not reached: {'; '.join(failures)}", advice)
        return Check(
            "links", "ok", f"every port of {self.nodes - 1} other node{'s' if self.nodes > 2 else ''} was reached"
        )

    def gloo(self) -> Check:
        """Sum a tensor over all processes."""
        assert self.store is not None
        own = self.peers[self.rank]
        os.environ.setdefault(INTERFACE, own.interface)
        limit = timedelta(seconds=max(1.0, self.deadline - time.monotonic()))
        start = time.monotonic()
        try:
            group = dist.PrefixStore("gloo", self.store)
            dist.init_process_group("gloo", store=group, rank=self.rank, world_size=self.nodes, timeout=limit)
            total = torch.ones(1)
            dist.all_reduce(total)
            dist.destroy_process_group()
        except RuntimeError as error:
            text = f"interface {os.environ[INTERFACE]}: {str(error).splitlines()[0]}"
            return Check("gloo", "fail", text, f"export {INTERFACE}=NAME, with one of {', '.join(interfaces())}")
        finally:
            self._end()
        if total.item() != self.nodes:
            return Check("gloo", "fail", f"the sum over {self.nodes} nodes is {total.item():g}", "reinstall torch")
        text = f"{self.nodes} nodes sum a tensor on interface {os.environ[INTERFACE]}, {time.monotonic() - start:.1f} s"
        return Check("gloo", "ok", text)

    def _store(self, *, is_host: bool) -> dist.TCPStore:
        limit = timedelta(seconds=max(1.0, self.deadline - time.monotonic()))
        return dist.TCPStore(self.host, self.port, None, is_host, timeout=limit, wait_for_workers=False)

    def _all_have(self, key: str, limit: float | None = None) -> bool:
        """Wait until every process has counted up a key; False after the limit."""
        assert self.store is not None
        end = self.deadline if limit is None else time.monotonic() + limit
        while self.store.add(key, 0) < self.nodes:
            if time.monotonic() > end:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def _end(self) -> None:
        """Keep the store until the others have finished."""
        assert self.store is not None
        try:
            self.store.add("ended", 1)
            self._all_have("ended", END_SECONDS)
        except RuntimeError:  # its host has ended
            pass


def interfaces() -> dict[str, str]:
    """The IPv4 addresses of this machine, by interface."""
    addresses = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(probe.fileno(), SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:  # it has no address
                continue
            addresses[name] = socket.inet_ntoa(answer[20:24])
    return addresses


def interface_of(address: str) -> str:
    """The name of the interface that has an address; ``unknown`` if none has."""
    if address.startswith("127."):
        return next((name for name, own in interfaces().items() if own.startswith("127.")), "unknown")
    return next((name for name, own in interfaces().items() if own == address), "unknown")


def _address_towards(address: str, port: int) -> str:
    """The own address from which packets to another one are sent. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((address, port))
        return str(probe.getsockname()[0])


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer in {CONNECT_SECONDS:.0f} s, as behind a firewall"
    if isinstance(error, OSError) and error.errno == errno.ECONNREFUSED:
        return "nothing listens at this port"
    return " ".join(str(error).split()) or type(error).__name__

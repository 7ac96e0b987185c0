"""Measured latencies of a server with random arrivals: the artifact of the stage ``server``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from results.frozen import Frozen
from results.provenance import Machine
from results.store.latency import Audit, Milliseconds

FILE = "server.json"
BACKBONE, EXITS, MERGED = "backbone", "exits", "exits, merged"
SERVERS = (BACKBONE, EXITS, MERGED)
"""The backbone without exits; the model with exits, batch by batch; and with survivors of several batches merged."""


class ServedLoad(Frozen):
    """One server at one load."""

    server: Literal["backbone", "exits", "exits, merged"]
    load: Annotated[float, Field(gt=0)]
    """Arrivals as a share of the requests per second that the backbone serves in full batches."""
    requests_per_second: float
    """Arrivals of this draw."""
    p50: Milliseconds
    """From arrival to answer, waiting included; likewise `p99`."""
    p99: Milliseconds
    mean_batch: float
    """Mean number of requests per execution."""
    busy: Annotated[float, Field(ge=0, le=1)]
    """Share of the time in which the server computes."""


class ServerLatency(Frozen):
    """The server scenario of one run at one operating point on one device."""

    run_id: str
    point: str
    threshold: float
    execution: Literal["executed batches, simulated arrivals"]
    attention: tuple[str, ...]
    """See `results.store.latency.Latency`; likewise precision, machine and audit."""
    precision: str
    machine: Machine
    batch_size: PositiveInt
    """The largest batch."""
    requests: PositiveInt
    """Per load and server."""
    seed: int
    full_batch_ms: Milliseconds
    """Time of the backbone for a full batch."""
    limit_ms: Milliseconds
    audit: Audit
    rows: tuple[ServedLoad, ...]

    def largest_load(self, server: str) -> float | None:
        """The largest measured load with p99 within `limit_ms`, and so at all smaller loads; None if there is none."""
        largest = None
        for row in sorted((row for row in self.rows if row.server == server), key=lambda row: row.load):
            if row.p99 > self.limit_ms:
                break
            largest = row.load
        return largest

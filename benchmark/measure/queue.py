"""A batching queue in front of one server: which requests run next, and when each leaves. Times come from the caller."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

Execute = Callable[[int, list[int]], tuple[float, Sequence[bool]]]
"""Runs requests that wait at a depth: (depth, requests) to the seconds that it took and which of the requests leave."""


def poisson_arrivals(requests: int, rate: float, seed: int) -> np.ndarray:
    """Arrival times in seconds of a Poisson process with ``rate`` requests per second, float64 [requests], ascending."""
    return np.cumsum(np.random.default_rng(seed).exponential(1 / rate, requests))


def serve(arrivals: np.ndarray, depths: int, batch_size: int, execute: Execute, *, merge: bool) -> np.ndarray:
    """The time at which each request leaves, on a clock that advances by the seconds of each execution.

    A request waits at depth 0 when it arrives, and at depth k if it did not leave at exit k. The server runs requests of one
    depth at a time, at most ``batch_size``, in the order of their arrival at that depth.

    Without ``merge`` the deepest waiting requests run first, so a batch passes through the model alone. With ``merge``
    survivors of several batches wait for each other at the same block: the deepest full batch runs first, then new requests,
    then the deepest survivors.

    Args:
        arrivals: ascending, in seconds, [N].
        depths: number of depths; all requests of the last one leave.
        batch_size: the largest batch.
        execute: runs a batch.
        merge: whether survivors of several batches are merged.

    Returns:
        float64 [N], in seconds.
    """
    waiting: list[list[int]] = [[] for _ in range(depths)]
    departures = np.full(len(arrivals), np.nan)
    clock, arrived, served = 0.0, 0, 0
    while served < len(arrivals):
        while arrived < len(arrivals) and arrivals[arrived] <= clock:
            waiting[0].append(arrived)
            arrived += 1
        depth = _next_depth([len(requests) for requests in waiting], batch_size, merge=merge)
        if depth is None:
            clock = float(arrivals[arrived])
            continue
        requests, waiting[depth] = waiting[depth][:batch_size], waiting[depth][batch_size:]
        seconds, leave = execute(depth, requests)
        clock += seconds
        for request, leaves in zip(requests, leave, strict=True):
            if leaves:
                departures[request] = clock
                served += 1
            else:
                waiting[depth + 1].append(request)
    return departures


def _next_depth(waiting: list[int], batch_size: int, *, merge: bool) -> int | None:
    """The depth to run, from the number of requests that wait at each; None if none waits."""
    deepest_first = [depth for depth in reversed(range(len(waiting))) if waiting[depth]]
    if merge:
        full = [depth for depth in deepest_first if waiting[depth] >= batch_size]
        if full:
            return full[0]
        if waiting[0]:
            return 0
    return deepest_first[0] if deepest_first else None

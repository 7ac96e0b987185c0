"""What the command `latency` prints."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from results.store.latency import Audit, Latency
from results.store.server import SERVERS, ServerLatency


def show_latency(console: Console, latency: Latency) -> None:
    """The times of batches of fixed sizes, the audit, and the repeated image."""
    _show_subject(console, latency)
    shown = Table(box=None, pad_edge=False)
    for title in ("batch", "backbone ms p50/p95/p99", "dynamic ms p50/p95/p99", "images/s", "time", "MACs", "realised"):
        shown.add_column(title, justify="right")
    for timing in latency.timings:
        rates = (timing.throughput(which) for which in (timing.backbone, timing.dynamic))
        shown.add_row(
            str(timing.batch_size),
            *(f"{q.p50:.2f} {q.p95:.2f} {q.p99:.2f}" for q in (timing.backbone, timing.dynamic)),
            " -> ".join(f"{rate:,.0f}" for rate in rates),
            f"{timing.speedup:.2f}x",
            f"{timing.mac_speedup:.2f}x",
            f"{timing.realised:.2f}",
        )
    console.print(shown)
    console.print(
        "time: speed-up in mean time over the backbone without exits; MACs: speed-up in MACs on the same images, with all "
        "evaluated heads; realised: the first divided by the second",
        soft_wrap=True,
    )
    console.print(
        f"{latency.moved} of {latency.checked} samples left at another exit than by the stored scores, because their score is "
        f"within rounding of the threshold (logits differ by {latency.logit_error:.1e} of the largest)",
        soft_wrap=True,
    )
    show_audit(console, latency.audit)
    repeated = latency.repeated
    beside = latency.at(repeated.batch_size)
    assert beside is not None
    console.print(
        f"data-dependent: one easy image (sample {repeated.sample_id}, exit {repeated.exit}) repeated takes "
        f"{repeated.dynamic.mean:.2f} ms per batch of {repeated.batch_size}, the test images {beside.dynamic.mean:.2f} ms; "
        "its time is no throughput",
        soft_wrap=True,
    )


def show_server(console: Console, result: ServerLatency) -> None:
    """p50 and p99 of each server against load, and the largest load within the limit."""
    _show_subject(console, result)
    console.print(
        f"Poisson arrivals, {result.requests} requests per load (seed {result.seed}), batches of at most {result.batch_size}; "
        f"load 1: as many requests as the backbone serves in full batches ({result.full_batch_ms:.2f} ms each)",
        soft_wrap=True,
    )
    shown = Table(box=None, pad_edge=False)
    shown.add_column("load", justify="right")
    shown.add_column("server")
    for title in ("p50 ms", "p99 ms", "batch", "busy"):
        shown.add_column(title, justify="right")
    for row in result.rows:
        cells = (f"{row.p50:.1f}", f"{row.p99:.1f}", f"{row.mean_batch:.1f}", f"{row.busy:.0%}")
        shown.add_row(f"{row.load:g}", row.server, *cells)
    console.print(shown)
    console.print(
        "p50, p99: from arrival to answer, waiting included; batch: mean number of requests that run together; busy: share of "
        "the time in which the server computes; merged: survivors of several batches wait for each other at the same block",
        soft_wrap=True,
    )
    largest = {server: result.largest_load(server) for server in SERVERS}
    words = ", ".join(f"{server}: {'none' if load is None else f'{load:g}'}" for server, load in largest.items())
    console.print(f"largest load with p99 of at most {result.limit_ms:.1f} ms: {words}", soft_wrap=True)
    show_audit(console, result.audit)


def _show_subject(console: Console, result: Latency | ServerLatency) -> None:
    machine = result.machine
    console.print(f"{result.run_id} at {result.point} ({result.threshold:.6g})", markup=False, soft_wrap=True)
    console.print(
        f"{machine.name}, {result.precision}, torch {machine.packages['torch']}, attention {', '.join(result.attention)}; "
        f"{result.execution}",
        soft_wrap=True,
    )


def show_audit(console: Console, audit: Audit) -> None:
    """What was compared."""
    if not audit.answers:
        console.print("audit: none, since the model has one exit, and its boxes are not compared", soft_wrap=True)
        return
    console.print(
        f"audit: {audit.answers} answers drawn from the timed runs (seed {audit.seed}) are the offline decisions, "
        f"{audit.rounding} of them up to rounding",
        soft_wrap=True,
    )

"""``python -m benchmark latency``: measure the time of a finished run and of the backbone without exits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmark.cli.latency_view import show_latency, show_server
from benchmark.cli.options import Device, data_dir_option, results_option
from benchmark.environment import require_torch
from benchmark.errors import UserError
from results.store.folder import Store
from results.store.latency import FILE
from results.store.server import FILE as SERVER_FILE

BATCH_SIZES = (1, 8, 32)
QUEUE_BATCH = 8
LOADS = (0.5, 0.8, 1.1)
REQUESTS = 300
IMAGES = 1000
SERVER_ONLY = {"loads": "--load", "requests": "--requests", "seed": "--seed", "limit_ms": "--p99-limit"}


@click.command("latency")
@click.option(
    "--run", "reference", required=True, metavar="RUN", help="A finished run: its id or short id; see: list --runs."
)
@results_option
@click.option("--point", metavar="NAME", help="Operating point; by default the accuracy drop of 0.01.")
@click.option(
    "--scenario",
    type=click.Choice(["batches", "server"]),
    default="batches",
    show_default=True,
    help="Batches of fixed sizes, or random arrivals into a batching queue.",
)
@click.option(
    "--batch-size",
    "batch_sizes",
    multiple=True,
    type=click.IntRange(min=1),
    help="Repeatable; by default 1, 8 and 32. With server: the largest batch of the queue, 8 by default.",
)
@click.option(
    "--device", type=Device(), metavar="NAME", default="cpu", show_default=True, help="auto, cpu, cuda or cuda:N."
)
@click.option("--precision", type=click.Choice(["fp32", "bf16", "fp16"]), default="fp32", show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads; by default torch's own choice.")
@click.option(
    "--images",
    type=click.IntRange(min=1),
    help="Test images; 1000 by default, with server as many as requests per load.",
)
@click.option("--warmup", type=click.IntRange(min=1), default=50, show_default=True, help="Warm-up batches, not timed.")
@click.option(
    "--load",
    "loads",
    multiple=True,
    type=click.FloatRange(min=0.01, max=10),
    help="server: arrivals as a share of what the backbone serves in full batches; repeatable, by default 0.5, 0.8 and 1.1.",
)
@click.option("--requests", type=click.IntRange(min=10), help="server: requests per load; 300 by default.")
@click.option("--seed", type=click.IntRange(min=0), help="server: of arrivals and images; 0 by default.")
@click.option(
    "--p99-limit",
    "limit_ms",
    type=click.FloatRange(min=0, min_open=True),
    help="server: bound of the 99th percentile in ms; by default 4 times the backbone's time for a full batch.",
)
@data_dir_option
def command(reference: str, results_dir: Path, scenario: str, **options: Any) -> None:
    """Time dynamic inference: samples leave the batch at their exit, and the others continue in a smaller batch.

    A model without exits other than static, such as a truncated backbone or one with fewer tokens, is timed in the same way.

    The model with exits and the backbone without exits process the same images in one process, batch by batch in turn. The
    quantiles are over batches; the speed-up is the ratio of mean times. A seeded 1 % of the answers of the timed runs must be
    the offline decisions, and one easy image is timed beside the real mix. The scenario server puts a queue with random
    arrivals in front of the model: p50 and p99 of the time from arrival to answer, without exits, with exits, and with the
    survivors of several batches merged. The result is stored: the same measurement on the same device is not repeated.

    \b
    Examples:
      python -m benchmark latency --run RUN
      python -m benchmark latency --run RUN --device cuda --precision bf16
      python -m benchmark latency --run RUN --scenario server --load 0.5 --load 1
    """
    sizes = tuple(dict.fromkeys(options.pop("batch_sizes")))
    queue = {name: options.pop(name) for name in SERVER_ONLY}
    warmup, requests = options.pop("warmup"), queue["requests"] or REQUESTS
    options["images"] = options["images"] or (requests if scenario == "server" else IMAGES)
    _check(scenario, sizes, queue, options["images"])
    require_torch()
    # These import torch, which takes seconds: --help and mistakes in the options are answered without it.
    from benchmark.execution.device import usable_device
    from benchmark.measure.checked_model import Subject
    from benchmark.measure.server import ServerSetup, measure_server
    from benchmark.measure.timed_run import measure_run

    console = Console(highlight=False)
    store = Store(results_dir)
    subject = Subject.of(store, reference, options.pop("point"), usable_device(options.pop("device")), **options)
    if scenario == "server":
        setup = ServerSetup(
            batch_size=sizes[0] if sizes else QUEUE_BATCH,
            loads=tuple(sorted(set(queue["loads"]))) or LOADS,
            requests=requests,
            seed=queue["seed"] or 0,
            limit_ms=queue["limit_ms"],
            warmup=warmup,
        )
        name, served = measure_server(subject, setup, console.print)
        show_server(console, served)
        file = SERVER_FILE
    else:
        name, latency = measure_run(subject, sizes or BATCH_SIZES, console.print, warmup=warmup)
        show_latency(console, latency)
        file = FILE
    console.print(f"{store.stage(name) / file}", markup=False, soft_wrap=True)


def _check(scenario: str, sizes: tuple[int, ...], queue: dict[str, Any], images: int) -> None:
    """
    Raises:
        UserError: the options do not fit together.
    """
    if scenario == "server":
        if len(sizes) > 1:
            raise UserError(f"--batch-size: --scenario server has one largest batch, not {len(sizes)}")
        return
    unused = [option for name, option in SERVER_ONLY.items() if queue[name] not in (None, ())]
    if unused:
        raise UserError(f"{unused[0]} belongs to --scenario server; add it, or leave the option out")
    if min(sizes or BATCH_SIZES) > images:
        raise UserError(
            f"--images {images}: fewer than one batch of {min(sizes or BATCH_SIZES)} images; use more images"
        )

"""``python -m benchmark latency``: measure the time of a finished run and of the backbone without exits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from benchmark.cli.options import data_dir_option, results_option
from benchmark.environment import require_torch
from benchmark.errors import UserError
from results.store.folder import Store
from results.store.latency import FILE, Latency

BATCH_SIZES = (1, 8, 32)


@click.command("latency")
@click.option(
    "--run", "reference", required=True, metavar="RUN", help="A finished run: its id or short id; see: list --runs."
)
@results_option
@click.option("--point", metavar="NAME", help="Operating point; by default the accuracy drop of 0.01.")
@click.option(
    "--batch-size",
    "batch_sizes",
    multiple=True,
    type=click.IntRange(min=1),
    help="Repeatable; by default 1, 8 and 32.",
)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--precision", type=click.Choice(["fp32", "bf16", "fp16"]), default="fp32", show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads; by default torch's own choice.")
@click.option(
    "--images", type=click.IntRange(min=1), default=1000, show_default=True, help="Test images for each batch size."
)
@click.option("--warmup", type=click.IntRange(min=1), default=50, show_default=True, help="Warm-up batches, not timed.")
@data_dir_option
def command(reference: str, results_dir: Path, **options: Any) -> None:
    """Time dynamic inference: samples leave the batch at their exit, and the others continue in a smaller batch.

    The model with exits and the backbone without exits process the same images in one process, batch by batch in turn. The
    quantiles are over batches; the speed-up is the ratio of mean times. The result is stored: the same measurement on the same
    device is not repeated.

    \b
    Examples:
      python -m benchmark latency --run RUN
      python -m benchmark latency --run RUN --device cuda --precision bf16
    """
    store = Store(results_dir)
    sizes = tuple(dict.fromkeys(options.pop("batch_sizes") or BATCH_SIZES))
    if min(sizes) > options["images"]:
        raise UserError(f"--images {options['images']}: fewer than one batch of {min(sizes)} images; use more images")
    require_torch()
    # These import torch, which takes seconds: --help and mistakes in the options are answered without it.
    from benchmark.execution.device import usable_device
    from benchmark.measure.timed_run import measure_run

    console = Console(highlight=False)
    device = usable_device(options.pop("device"))
    name, latency = measure_run(store, reference, sizes, device, console.print, **options)
    _show(console, latency)
    console.print(f"{store.stage(name) / FILE}", markup=False, soft_wrap=True)


def _show(console: Console, latency: Latency) -> None:
    machine = latency.machine
    console.print(f"{latency.run_id} at {latency.point} ({latency.threshold:.6g})", markup=False, soft_wrap=True)
    console.print(f"{machine.name}, {latency.precision}, torch {machine.packages['torch']}", soft_wrap=True)
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

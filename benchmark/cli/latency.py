"""``python -m benchmark latency``: measured time of a finished run, beside the backbone without exits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from benchmark.cli.options import results_option
from benchmark.environment import require_torch
from benchmark.errors import UserError
from results.store.folder import Store
from results.store.latency import FILE, Latency

BATCH_SIZES = (1, 8, 32)


@click.command("latency")
@click.option("--run", "run_id", required=True, metavar="ID", help="A finished run; 'results/runs' has their names.")
@results_option
@click.option("--point", metavar="NAME", help="Operating point; by default at most 1 point of drop on val.")
@click.option(
    "--batch-size",
    "batch_sizes",
    multiple=True,
    type=click.IntRange(min=1),
    help="May be repeated; by default 1, 8, 32.",
)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--precision", type=click.Choice(["fp32", "bf16", "fp16"]), default="fp32", show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads; by default torch's own choice.")
@click.option("--images", type=click.IntRange(min=1), default=1000, show_default=True, help="Test images a batch size.")
@click.option("--warmup", type=click.IntRange(min=1), default=50, show_default=True, help="Batches before the clock.")
@click.option(
    "--data-dir", type=click.Path(path_type=Path, resolve_path=True), envvar="LGVIT_BENCH_DATA", help="Your datasets."
)
def command(run_id: str, results_dir: Path, **options: Any) -> None:
    """Time true dynamic inference: samples leave the batch at their exit, the survivors go on compacted.

    Both models see the same images in one process, batch by batch in turn. Quantiles are of a batch; the measured speed-up is
    the ratio of mean times. A measurement is a stage of its own: the same one on the same device is not made twice.

    \b
    Examples:
      python -m benchmark latency --run lgvit-vit_nano_patch4_28-fashion-mnist-mini-paper-s0-0123abcd
      python -m benchmark latency --run ID --batch-size 1 --batch-size 64 --device cuda --precision bf16
    """
    require_torch()
    from benchmark.measure.timed_run import measure_run

    store = Store(results_dir)
    sizes = tuple(dict.fromkeys(options.pop("batch_sizes") or BATCH_SIZES))
    if min(sizes) > options["images"]:
        raise UserError(
            f"--images {options['images']}: no batch of {min(sizes)} images can be filled; take more images"
        )
    console = Console(highlight=False)
    name, latency = measure_run(store, run_id, sizes, console.print, **options)
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
        "time: the backbone without exits over dynamic inference, mean; MACs: of the same images, every evaluated head "
        "counted; realised: the one over the other",
        soft_wrap=True,
    )
    console.print(
        f"{latency.moved} of {latency.checked} samples left elsewhere than the stored scores say, within rounding of the "
        f"threshold (logits differ by {latency.logit_error:.1e} of the largest)",
        soft_wrap=True,
    )

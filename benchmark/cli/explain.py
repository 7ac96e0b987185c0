"""``python -m benchmark explain``: what the blocks of the backbones of finished runs represent."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from benchmark.cli.options import data_dir_option, results_option
from benchmark.environment import require_torch
from benchmark.run_reference import find_run
from results.store.folder import Store


@click.command("explain")
@click.argument("references", nargs=-1, required=True, metavar="RUN...")
@results_option
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads; by default torch's own choice.")
@data_dir_option
def command(
    references: tuple[str, ...], results_dir: Path, device: str, threads: int | None, data_dir: Path | None
) -> None:
    """Probe the tokens of every block of the backbones of finished runs, with one pass over train, val and test.

    For each block and for class token, patch mean and both: the accuracy of a linear probe and of the nearest class mean. Heads
    below the probe of their inputs have not converged; reports say so. Runs on the same backbone share the result, which is
    stored: nothing is measured twice. RUN is an id or a short id; see: list --runs.

    \b
    Examples:
      python -m benchmark explain RUN
      python -m benchmark explain RUN RUN --device cuda
    """
    require_torch()
    # These import torch, which takes seconds: --help is answered without it.
    import torch

    from benchmark.cli.explain_view import show_probes
    from benchmark.execution.device import usable_device
    from benchmark.representations.probes import probe_backbone
    from benchmark.representations.subject import Subject

    console, store = Console(highlight=False), Store(results_dir)
    records = [store.done_record(find_run(one, store.run_ids(), str(store.root))) for one in references]
    if threads is not None:
        torch.set_num_threads(threads)
    subjects = {
        (subject.backbone, str(subject.fields)): subject
        for subject in (Subject(store, record, usable_device(device), data_dir) for record in records)
    }
    for subject in subjects.values():
        train = subject.record.spec.train
        console.print(f"{train.backbone}, seed {train.seed}: probing {subject.depth} blocks ...", markup=False)
        name, probes = probe_backbone(subject, range(1, subject.depth + 1))
        show_probes(console, probes)
        console.print(f"{store.stage(name)}", markup=False, soft_wrap=True)

"""``python -m benchmark predict``: classify images with a finished run."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click
import pandas as pd

from benchmark.cli.options import InputFile, device_option, results_option, threads_option
from benchmark.environment import require_torch
from benchmark.errors import UserError
from results.store.folder import Store


@click.command("predict")
@click.argument("arguments", metavar="RUN IMAGES...", nargs=-1, required=True)
@results_option
@click.option("--point", metavar="NAME", help="Operating point; by default at most 1 point of accuracy lost on val.")
@click.option("--threshold", type=float, metavar="T", help="A threshold, instead of a point.")
@click.option("--policy", metavar="NAME", help="The policy of --threshold or --max-ms; by default the run's first.")
@click.option(
    "--max-ms",
    type=click.FloatRange(min=0, min_open=True),
    metavar="MS",
    help="Mean time of an image in batches of one, among the points that the command latency measured here.",
)
@click.option(
    "--deployed",
    type=InputFile(),
    help="A file that deploy wrote; it names run and threshold, so RUN is left out.",
)
@click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
@click.option("--batch-size", type=click.IntRange(min=1), default=64, show_default=True, help="Images per batch.")
@device_option
@threads_option
@click.pass_context
def command(
    context: click.Context,
    arguments: tuple[str, ...],
    results_dir: Path,
    point: str | None,
    threshold: float | None,
    policy: str | None,
    max_ms: float | None,
    deployed: Path | None,
    form: str,
    batch_size: int,
    device: str,
    threads: int | None,
) -> None:
    """Classify IMAGES (files, folders or glob patterns) with RUN, a finished run with early exits.

    Each image leaves the model at its exit. Shown are its class, the confidence there, the exit, its block, and the MACs that
    were computed, in millions in the table. An image that cannot be decoded is named and skipped, and the exit code is 1.

    \b
    Examples:
      python -m benchmark predict RUN photo.jpg
      python -m benchmark predict RUN photos/ 'more/*.png' --format csv
      python -m benchmark predict RUN photos/ --point confidence/equal-macs-0.5
      python -m benchmark predict --deployed model.json photos/
    """
    if sum(option is not None for option in (point, threshold, max_ms, deployed)) > 1:
        raise UserError("use one of --point, --threshold, --max-ms and --deployed: each names a threshold")
    if policy is not None and threshold is None and max_ms is None:
        raise UserError("--policy goes with --threshold or --max-ms; a point and a file of deploy name their policy")
    if deployed is None and len(arguments) == 1:
        raise UserError(f"predict needs RUN and IMAGES, and got only {arguments[0]}")
    require_torch()
    # These import torch, which takes seconds: --help and mistakes in the options are answered without it.
    from benchmark.deployment.budget import Budget
    from benchmark.deployment.choice import choose_deployment
    from benchmark.deployment.deployed import read_deployed
    from benchmark.deployment.image_files import image_files
    from benchmark.deployment.measured_times import TimingSetup
    from benchmark.deployment.predictor import load_predictor
    from benchmark.execution.device import set_up_torch

    store = Store(results_dir)
    if deployed is None:
        run_id, *images = arguments
    else:
        content = read_deployed(deployed)
        run_id, images, policy, threshold = content.run, [*arguments], content.policy.label, content.setting
        if run_id not in store.run_ids():
            raise UserError(f"{deployed}: its run {run_id} is not in {store.root}; name its folder with --results")
    files = image_files(images)
    torch_device = set_up_torch(device, threads)
    if max_ms is not None:
        budget = Budget("time", max_ms, f"{max_ms:g}", "--max-ms")
        chosen = choose_deployment(store, run_id, budget, policy, TimingSetup(torch_device))
        policy, threshold = chosen.policy.label, chosen.setting
    predictor = load_predictor(store, run_id, torch_device, point=point, threshold=threshold, policy=policy)
    skipped: list[str] = []
    rows = [
        {"image": str(path), **asdict(prediction)}
        for path, prediction in predictor.predict_files(files, skipped.append, batch_size)
    ]
    if not rows:
        raise UserError(*skipped)
    if form == "json":
        click.echo(json.dumps({"run": predictor.run_id, "point": predictor.point, "images": rows}, indent=1))
    elif form == "csv":
        click.echo(pd.DataFrame(rows).to_csv(index=False), nl=False)
    else:
        _show(pd.DataFrame(rows), predictor.point, predictor.costs.baseline)
    for sentence in skipped:
        click.echo(f"skipped: {sentence}", err=True)
    if skipped:
        context.exit(1)


def _show(table: pd.DataFrame, point: str, baseline: int) -> None:
    shown = pd.DataFrame(
        {
            "image": table["image"],
            "class": table["name"],
            "confidence": table["confidence"].map("{:.3f}".format),
            "exit": table["exit"],
            "block": table["block"],
            "MMACs": (table["macs"] / 1e6).map("{:.2f}".format),
        }
    )
    click.echo(shown.to_string(index=False))
    mean = table["macs"].mean()
    click.echo(
        f"\n{len(table)} images at {point}: {mean / 1e6:.2f} MMACs on average, {mean / baseline:.0%} of the backbone "
        "without exits"
    )

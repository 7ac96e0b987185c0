"""``python -m benchmark export``: write the model of a run as graphs that run without this suite."""

from __future__ import annotations

from pathlib import Path

import click

from benchmark.cli.options import OutputPath, results_option
from benchmark.environment import require_deploy, require_torch
from benchmark.errors import UserError
from results.store.folder import Store


@click.command("export")
@click.argument("run_id", metavar="RUN")
@click.option("--to", "form", type=click.Choice(["onnx", "torch"]), required=True, help="ONNX, or torch.export.")
@results_option
@click.option("--point", metavar="NAME", help="Operating point; by default at most 1 point of accuracy lost on val.")
@click.option("--threshold", type=float, metavar="T", help="A threshold, instead of a point.")
@click.option("--policy", metavar="NAME", help="The policy of --threshold; by default the run's first.")
@click.option(
    "--out",
    type=OutputPath(file_okay=False),
    show_default="RUN.onnx or RUN.torch here",
    help="The folder to write; new or empty.",
)
def command(
    run_id: str,
    form: str,
    results_dir: Path,
    point: str | None,
    threshold: float | None,
    policy: str | None,
    out: Path | None,
) -> None:
    """Write the model of RUN as one graph per segment: from the image to the first exit, from there to the second, and so on.

    The folder also gets export.json (policy, threshold, classes, image form, exits with their MACs) and, for ONNX, runner.py,
    which needs only onnxruntime and numpy. The batch size is free. The policies are confidence, entropy and margin.

    \b
    Examples:
      python -m benchmark export RUN --to onnx
      python -m benchmark export RUN --to torch --threshold 0.9 --out model
    """
    if point is not None and threshold is not None:
        raise UserError("use one of --point and --threshold: each names a threshold")
    if policy is not None and threshold is None:
        raise UserError("--policy goes with --threshold; a point names its policy")
    require_torch()
    if form == "onnx":
        require_deploy("onnx", "onnxruntime")
    # These import torch, which takes seconds: --help and mistakes in the options are answered without it.
    from benchmark.deployment.export import TORCH, export
    from benchmark.deployment.predictor import load_predictor
    from benchmark.execution.device import set_up_torch

    predictor = load_predictor(
        Store(results_dir), run_id, set_up_torch("cpu", None), point=point, threshold=threshold, policy=policy
    )
    folder = out or Path.cwd() / f"{predictor.run_id}.{form}"
    writer = TORCH
    if form == "onnx":
        from benchmark.deployment.onnx_graphs import ONNX  # needs onnxruntime, which the torch form does without

        writer = ONNX
    exported = export(predictor, folder, writer)
    opset = f", opset {exported.opset}" if exported.opset else ""
    click.echo(f"{len(exported.segments)} graphs{opset}, {exported.point}, threshold {exported.threshold:.6g}")
    for name in exported.segments:
        click.echo(f"  {name}  {(folder / name).stat().st_size / 1e6:.1f} MB")
    click.echo(folder)

"""``python -m benchmark bench shared-heads``: what it costs to train many methods' heads in one pass."""

from __future__ import annotations

import click
from rich.console import Console

from benchmark import registry
from benchmark.cli.options import require_torch
from benchmark.errors import UserError
from results.spec import DEFAULT_RECIPES, Configured, Recipes

BAR = 1.1
METHODS = (
    "lgvit",
    "vanilla",
    "homogeneous-local",
    "homogeneous-global",
    "homogeneous-mlp",
    "vit-ee",
    "pabee",
    "berxit",
)


@click.command("shared-heads")
@click.option("--backbone", default="vit_nano_patch4_28", show_default=True)
@click.option("--dataset", default="fashion-mnist-mini", show_default=True)
@click.option("--method", "methods", multiple=True, help="May be given more than once; default: eight kinds of heads.")
@click.option("--batch-size", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--batches", type=click.IntRange(min=1), default=30, show_default=True, help="Measured, after two.")
@click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--device", default="cpu", show_default=True)
def shared_heads(
    backbone: str, dataset: str, methods: tuple[str, ...], batch_size: int, batches: int, threads: int, device: str
) -> None:
    """Heads of several methods trained in one pass over the data, beside one frozen pass and the heads' steps alone.

    The parts and the whole take turns, batch by batch, in one process. Time it on a machine that does nothing else.

    \b
    Examples:
      python -m benchmark bench shared-heads
      python -m benchmark bench shared-heads --method lgvit --method vanilla --batch-size 64
    """
    mistakes = []
    chosen = list(dict.fromkeys(methods or METHODS))
    for kind, names in (("backbone", [backbone]), ("dataset", [dataset]), ("method", chosen)):
        for name in names:
            try:
                registry.card(kind, name)
            except KeyError as error:
                mistakes.append(f"--{kind}: {error.args[0]}")
    if mistakes:
        raise UserError(*mistakes)
    require_torch()
    import torch

    from benchmark.execution.device import usable_device
    from benchmark.measure.shared_pass_speed import measure_shared_pass

    torch.set_num_threads(threads)
    recipes = Recipes(exits=DEFAULT_RECIPES["exits"].model_copy(update={"batch_size": batch_size}))
    try:
        speed = measure_shared_pass(backbone, Configured(name=dataset), chosen, recipes, batches, usable_device(device))
    except ValueError as error:
        raise UserError(str(error)) from None
    console = Console(highlight=False)
    console.print(f"{backbone}, {dataset}, batches of {batch_size}, {device}, {threads} threads; ms a batch, medians")
    for name, seconds in {"frozen pass": speed.frozen, **speed.heads, "all in one pass": speed.shared}.items():
        console.print(f"  {name:<24}{1e3 * seconds:9.1f}")
    verdict = "reached" if speed.overhead <= BAR else "missed"
    console.print(f"one pass over the sum of its parts: {speed.overhead:.3f} (bar {BAR}: {verdict})")
    console.print(f"training each method alone would take {speed.saved:.2f} times as long")

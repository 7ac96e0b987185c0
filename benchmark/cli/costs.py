"""``python -m benchmark costs``: count the parameters and MACs of a method on a backbone, without data or weights."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from benchmark.cli.option_values import configured, registered
from benchmark.environment import require_torch
from benchmark.errors import UserError
from methods.placement import PUBLISHED, place_exits
from results.record import CostTable


@click.command("costs")
@click.option("--backbone", required=True, metavar="NAME")
@click.option("--method", "method_text", required=True, metavar="NAME[:KEY=VALUE,...]")
@click.option("--num-classes", type=click.IntRange(min=1), required=True, metavar="K")
@click.option("--exits", "exits_text", default="paper", show_default=True, metavar="SCHEME|BLOCKS",
              help="An exit scheme, or block numbers: 4,5,6.")  # fmt: skip
@click.option("--policy", "policy_text", metavar="NAME[:KEY=VALUE,...]",
              help="The exit policy whose own MACs are shown; by default the method's.")  # fmt: skip
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def command(
    backbone: str, method_text: str, num_classes: int, exits_text: str, policy_text: str | None, form: str
) -> None:
    """Count the parameters, and the multiply-accumulates (MACs) for leaving at each exit, all evaluated heads included.

    linear_conv counts linear and convolution layers only, as most published values do. matrix_products also counts the matrix
    products of attention; the suite's speed-ups use it. Separate rows show the MACs of gates and of choosing tokens, which the
    table includes, and those of the policy's ensemble or scores, which it does not.

    \b
    Examples:
      python -m benchmark costs --backbone vit_base_patch16_224 --method lgvit \\
          --num-classes 100
      python -m benchmark costs --backbone vit_base_patch16_224 \\
          --method truncated:depth=8 --num-classes 100 --format json
      python -m benchmark costs --backbone swin_base_patch4_window7_224 \\
          --method vit-ee --num-classes 1000 --exits 12
    """
    card = registered("backbone", backbone, "--backbone")
    config, method = configured("method", method_text, "--method")
    named = method.published_exits(card) if exits_text == PUBLISHED else _exits(exits_text, card.depth)
    exits = method.fixed_exits(card) or named
    if method.tokens_leave:
        raise UserError(
            f"--method {config.label}: its cost depends on the images; the record of a run has the mean of its own"
        )
    own = method.policy()
    rule, policy = configured("policy", policy_text or own.name, "--policy")
    require_torch()
    # This imports torch, which takes seconds: --help and mistakes in the options are answered without it.
    from benchmark.measure.price import priced

    try:
        table, parts = priced(backbone, method, exits, num_classes)
    except ValueError as error:
        raise UserError(f"{config.label} on {backbone}: {error}") from None
    blocks = [*(exits if len(table.heads) > 1 else ()), len(table.blocks)]
    deciding = sum(policy.macs(exit_index, num_classes) for exit_index in range(len(blocks) - 1))
    if form == "json":
        about = {"backbone": backbone, "method": config.label, "num_classes": num_classes, "exits": blocks[:-1]}
        about |= {"gates_macs": parts.gates, "token_choice_macs": parts.token_choice}
        about |= {"policy": rule.label, "policy_macs": deciding}
        click.echo(json.dumps([about | convention for convention in conventions(table)], indent=1))
    else:
        _show(table, blocks, f"{config.label} on {backbone}, {num_classes} classes")
        for count, what in (
            (parts.gates, "of these in gates"),
            (parts.token_choice, "of these to choose the tokens that are merged or dropped"),
            (deciding, f"more, not in the table, for {rule.label} at all early exits"),
        ):
            if count:
                click.echo(f"{count:,} {what}")


def conventions(table: CostTable) -> list[dict[str, Any]]:
    """The MACs of one image by both conventions, as plain data."""
    parameters = {"params_total": table.parameters, "heads_params": table.heads_parameters}
    counts = {
        "linear_conv": (table.linear_conv_baseline, table.linear_conv_cumulative),
        "matrix_products": (table.baseline, table.cumulative),
    }
    return [
        {"convention": name, **parameters, "baseline_macs": baseline, "macs_cumulative": list(cumulative)}
        for name, (baseline, cumulative) in counts.items()
    ]


def _exits(text: str, depth: int) -> tuple[int, ...]:
    numbers = text.replace(",", " ").split()
    try:
        if not all(number.isdigit() for number in numbers) or not numbers:
            return place_exits(text, depth)
    except ValueError as error:
        raise UserError(f"--exits: {error}") from None
    blocks = tuple(sorted({int(number) for number in numbers}))
    if not 1 <= blocks[0] <= blocks[-1] < depth:
        raise UserError(f"--exits: exits of {depth} blocks are 1 to {depth - 1}, not {text}")
    return blocks


def _show(table: CostTable, blocks: list[int], title: str) -> None:
    console = Console(highlight=False)
    console.print(f"{title}: {table.parameters:,} parameters, {table.heads_parameters:,} of them in the exit heads")
    shown = Table("leave after block", "linear + conv", "speed-up", "+ matrix products", "speed-up", "layers", box=None)
    for column in shown.columns[1:]:
        column.justify = "right"
    for block, lean, macs in zip(blocks, table.linear_conv_cumulative, table.cumulative, strict=True):
        shown.add_row(
            str(block), f"{lean:,}", f"{table.linear_conv_baseline / lean:.3f}x", f"{macs:,}",
            f"{table.baseline / macs:.3f}x", f"{table.depth / block:.3f}x",
        )  # fmt: skip
    shown.add_row("no exits", f"{table.linear_conv_baseline:,}", "", f"{table.baseline:,}", "", "")
    console.print(shown)
    console.print("MACs of one image with all evaluated heads; speed-ups over the backbone without exits")

"""``python -m benchmark sweep``: any policy, threshold and budget over runs that are finished, without touching a model."""

from __future__ import annotations

from pathlib import Path

import click
import pandas as pd
from rich.console import Console

from benchmark import registry
from benchmark.cli.options import data_dir_option, grid_option, results_option
from benchmark.environment import require_torch
from benchmark.errors import UserError
from benchmark.grid.load import find_grid, load_grid
from benchmark.grid.yaml_files import read_value
from benchmark.stages.graph import run_stages
from results.record import DoneRecord
from results.spec import Configured
from results.store.folder import Store, StoreError
from results.store.output import write_table


@click.command("sweep")
@grid_option("Only the runs of this grid; without the option, every run in the results folder.")
@results_option
@data_dir_option
@click.option(
    "--policy",
    "policies",
    multiple=True,
    metavar="NAME[:KEY=VALUE,...]",
    help="May be repeated; without it, all policies.",
)
@click.option(
    "--budget", "budgets", multiple=True, type=click.FloatRange(0, 2, min_open=True), help="Share of the MACs."
)
@click.option("--drop", "drops", multiple=True, type=click.FloatRange(0, 1), help="Accuracy that may be lost on val.")
@click.option(
    "--out", type=click.Path(path_type=Path, resolve_path=True, dir_okay=False), help="Also write a CSV file."
)
def command(
    grid_name: str | None,
    results_dir: Path,
    data_dir: Path | None,
    policies: tuple[str, ...],
    budgets: tuple[float, ...],
    drops: tuple[float, ...],
    out: Path | None,
) -> None:
    """Evaluate policies on the stored scores of finished runs: chosen on val, looked up on test.

    A policy with its threshold is taken as it is; without, its settings are swept, and the operating points are those of
    --drop and --budget (by default 0.01 and 0.5).

    \b
    Examples:
      python -m benchmark sweep --grid quick
      python -m benchmark sweep --policy entropy --policy pcee:patience=3 --budget 0.4 --budget 0.6
      python -m benchmark sweep --policy confidence:threshold=0.8 --out confidence.csv
    """
    require_torch()
    console = Console()
    store = Store(results_dir)
    selections = _selections(policies)
    records = _records(store, grid_name, data_dir)
    if not drops and not budgets:
        drops, budgets = (0.01,), (0.5,)
    rows = []
    for number, record in enumerate(records, start=1):
        if console.is_terminal:
            console.print(f"run {number}/{len(records)}: {record.run_id}", highlight=False, markup=False)
        rows += _sweep_run(store, record, selections, drops, budgets, every=not policies)
    table = pd.DataFrame(rows)
    if out is not None:
        write_table(out, table)
        console.print(f"{out}  {len(table)} rows", highlight=False, markup=False, soft_wrap=True)
    _show(console, table)


def _selections(texts: tuple[str, ...]) -> list[Configured]:
    """The policies that were named, each checked before any work; all mistakes at once."""
    selections, mistakes = [], []
    for text in texts or tuple(registry.table("policy")):
        name, _, options = text.partition(":")
        pairs = [pair.partition("=") for pair in options.split(",") if pair]
        try:
            selection = Configured(name=name, set={key.strip(): read_value(value) for key, _, value in pairs})
            registry.configured("policy", selection.name, selection.set)
        except (KeyError, ValueError) as error:
            mistakes.append(f"--policy {text}: {error.args[0]}")
        else:
            selections.append(selection)
    if mistakes:
        raise UserError(*mistakes)
    return selections


def _records(store: Store, grid_name: str | None, data_dir: Path | None) -> list[DoneRecord]:
    """The finished runs with early exits."""
    wanted = store.run_ids()
    if grid_name is not None:
        grid = load_grid(find_grid(grid_name), data_dir)
        wanted = list(dict.fromkeys(run_stages(run).run_id for run in grid.runs))
    records = [store.done_record(run_id) for run_id in wanted if store.is_done(run_id)]
    records = [record for record in records if len(record.exits) > 1]
    if not records:
        command_line = f"python -m benchmark run --grid {grid_name or ''}".rstrip()
        raise UserError(
            f"there is no finished run with early exits in {store.root / 'runs'}; run this first: {command_line}"
        )
    return records


def _sweep_run(
    store: Store,
    record: DoneRecord,
    selections: list[Configured],
    drops: tuple[float, ...],
    budgets: tuple[float, ...],
    *,
    every: bool,
) -> list[dict[str, object]]:
    """Rows of one run. Where ``every`` policy is swept, those that read gates are left out of runs without gates."""
    from benchmark.evaluation.evaluate import choose, look_up, prepare
    from benchmark.evaluation.scores import SCORED, load_scores, score_file
    from benchmark.evaluation.sweep import sweep

    # The backbone without exits was scored first, the run itself last.
    stage = [f"scores-{reference.key}" for reference in record.stages if reference.stage == "scores"][-1]
    scores = {split: load_scores(store.artifact(stage, score_file(split))) for split in SCORED}
    blocks = [exit_.block for exit_ in record.exits]
    rows: list[dict[str, object]] = []
    for selection in selections:
        reads_gates = registry.card("policy", selection.name).load().reads_gates
        if reads_gates and scores["val"].errors is None:
            if every:
                continue
            raise UserError(f"--policy {selection.name}: the exits of {record.run_id} have no learned gate to read")
        try:
            policy, settings = prepare(selection, scores["val"], record.costs)
            sweeps = {split: sweep(policy, found, settings) for split, found in scores.items()}
        except ValueError as error:
            raise StoreError(f"{store.stage(stage)}: {selection.label}: {error}") from error
        static = record.static_accuracy
        chosen = choose(sweeps["val"], record.costs, static.val, drops, budgets)
        for point in look_up(selection.label, chosen, sweeps, record.costs, blocks):
            row: dict[str, object] = {"run_id": record.run_id, "method": record.label, "policy": selection.label}
            row |= {"point": point.kind, "target": point.target}
            if point.test is not None:
                row |= {
                    "settings": " ".join(f"{setting.threshold:.6g}" for setting in point.settings),
                    "accuracy": point.test.accuracy,
                    "drop": static.test - point.test.accuracy,
                    "mean_block": point.test.mean_block,
                    "layer_speedup": record.depth / point.test.mean_block,
                    "mac_speedup": record.costs.baseline / point.test.mean_macs,
                }
            rows.append(row)
    return rows


def _show(console: Console, table: pd.DataFrame) -> None:
    shown = table.copy()
    shown["point"] = [
        f"{kind} {target:g}" if target else kind for kind, target in zip(table["point"], table["target"], strict=True)
    ]
    for column in ("accuracy", "drop"):
        shown[column] = (100 * table[column]).map("{:.1f}".format)
    for column in ("layer_speedup", "mac_speedup"):
        shown[column] = table[column].map("{:.2f}x".format)
    columns = ["method", "policy", "point", "settings", "accuracy", "drop", "layer_speedup", "mac_speedup"]
    reached = table["accuracy"].notna()
    shown.loc[~reached, columns[3:]] = "-"
    text = shown[columns].to_string(index=False)
    console.print(text, markup=False, highlight=False, soft_wrap=True)
    console.print(
        "\naccuracy and drop (against the backbone without exits) in % of the test images; chosen on val; layers: depth over "
        "mean exit block; MACs: every evaluated head counted",
        soft_wrap=True,
    )

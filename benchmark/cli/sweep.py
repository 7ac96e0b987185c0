"""``python -m benchmark sweep``: evaluate policies, thresholds and budgets on the stored scores of finished runs."""

from __future__ import annotations

from pathlib import Path

import click
import pandas as pd
from rich.console import Console

from benchmark import registry
from benchmark.cli.grid_runs import selected_run_ids
from benchmark.cli.option_values import configured
from benchmark.cli.options import OutputPath, changes_option, data_dir_option, grid_option, results_option
from benchmark.cli.sweep_view import points
from benchmark.environment import require_torch
from benchmark.errors import UserError
from results.judge.judgement import CONTROLS
from results.operating_point import DROP
from results.record import DoneRecord
from results.spec import Configured
from results.store.files import DamagedError
from results.store.folder import Store
from results.store.output import write_table


@click.command("sweep")
@grid_option("Only the runs of this grid; without the option, every run in the results folder.")
@changes_option
@results_option
@data_dir_option
@click.option(
    "--policy",
    "policies",
    multiple=True,
    metavar="NAME[:KEY=VALUE,...]",
    help="Repeatable; by default, all policies.",
)
@click.option(
    "--budget",
    "budgets",
    multiple=True,
    type=click.FloatRange(0, 2, min_open=True),
    help="Repeatable: mean MACs over those of the backbone.",
)
@click.option("--drop", "drops", multiple=True, type=click.FloatRange(0, 1), help="Repeatable: accuracy drop on val.")
@click.option("--best", is_flag=True, help="Rank the policies at one budget, each compared with the best one.")
@click.option("--out", type=OutputPath(dir_okay=False), help="Also write a CSV file.")
def command(
    grid_name: str | None,
    changes: tuple[str, ...],
    results_dir: Path,
    data_dir: Path | None,
    policies: tuple[str, ...],
    budgets: tuple[float, ...],
    drops: tuple[float, ...],
    best: bool,
    out: Path | None,
) -> None:
    """Evaluate policies on the stored scores of finished runs: thresholds are chosen on val and applied to test.

    A policy with a threshold is evaluated at that threshold. Without one, its thresholds are swept, and the operating points
    are those of --drop and --budget (by default 0.01 and 0.5).

    Also shown: the budget drift, the cost on test of the thresholds that cost the budget on val, over the budget; and the share
    of test images for which the probability of the true class falls along the exits by more than 0.1.

    --best ranks the policies of each method at one budget (by default 0.5), over all seeds, with the paired difference of each
    to the best one; "tie" marks those that are not shown to differ from it. The controls oracle and random, which nobody can
    run, are left out unless --policy names them; so is running-quantile, whose decisions are not independent. Without --policy,
    eenet is left out, because it trains networks for every budget.

    \b
    Examples:
      python -m benchmark sweep --grid quick
      python -m benchmark sweep --policy pcee:patience=3 --budget 0.4 --budget 0.6
      python -m benchmark sweep --policy confidence:threshold=0.8 --out table.csv
      python -m benchmark sweep --grid quick --budget 0.5 --best
    """
    mistakes = [f"--budget: {budget} is no number" for budget in budgets if budget != budget]
    mistakes += [f"--drop: {drop} is no number" for drop in drops if drop != drop]
    if best and (drops or len(budgets) > 1):
        mistakes.append("--best compares at equal cost: give one --budget and no --drop")
    if mistakes:
        raise UserError(*mistakes)
    require_torch()
    # This imports torch, which takes seconds: --help is answered without it.
    from benchmark.evaluation.stored_sweeps import evaluate_policies

    console = Console()
    store = Store(results_dir)
    chosen_policies = _policies(policies)
    records = _records(store, grid_name, data_dir, changes)
    if best:
        from benchmark.cli.sweep_best import show_best  # as above

        usable = chosen_policies if policies else [each for each in chosen_policies if each.name not in CONTROLS]
        show_best(
            console, store, records, usable, budgets[0] if budgets else 0.5, skip_unsupported=not policies, out=out
        )
        return
    if not drops and not budgets:
        drops, budgets = (DROP,), (0.5,)
    rows, left_out = [], []
    alike: dict[str, list[str]] = {}  # sentences that differ only in the run
    for number, record in enumerate(records, start=1):
        if console.is_terminal:
            console.print(f"run {number}/{len(records)}: {record.run_id}", highlight=False, markup=False)
        try:
            rows += evaluate_policies(store, record, chosen_policies, drops, budgets, skip_unsupported=not policies)
        except (UserError, DamagedError) as error:  # a policy reads what this run lacks, or its scores are damaged
            sentence = f"{record.run_id}: {str(error).removeprefix(f'{record.run_id}: ')}"
            left_out.append(sentence)
            alike.setdefault(sentence.replace(record.run_id, ""), []).append(sentence)
    if not rows:
        more = " (and {} more runs in the same way)"
        raise UserError(*(first + more.format(len(rest)) * bool(rest) for first, *rest in alike.values()))
    for sentence in left_out:
        console.print(f"left out: {sentence}", highlight=False, markup=False, soft_wrap=True)
    table = pd.DataFrame(rows)
    for column in (
        "thresholds",
        "accuracy",
        "drop",
        "mean_block",
        "layer_speedup",
        "mac_speedup",
        "budget_drift",
        "falls_0.1",
    ):
        if column not in table:
            table[column] = pd.Series(dtype="float64")  # no point was reached
    if out is not None:
        write_table(out, table)
        console.print(f"{out}  {len(table)} rows", highlight=False, markup=False, soft_wrap=True)
    console.print("\n".join(points(table, console.width)), markup=False, highlight=False, soft_wrap=True)


def _policies(texts: tuple[str, ...]) -> list[Configured]:
    """The policies that the user named; by default, all but those that train networks.

    Raises:
        UserError: every mistake in the names and options.
    """
    policies: list[Configured] = []
    mistakes: list[str] = []
    for text in texts or (name for name, card in registry.table("policy").items() if not card.trains_networks):
        try:
            policies.append(configured("policy", text, f"--policy {text}")[0])
        except UserError as error:
            mistakes += error.messages
    if mistakes:
        raise UserError(*mistakes)
    return policies


def _records(store: Store, grid_name: str | None, data_dir: Path | None, changes: tuple[str, ...]) -> list[DoneRecord]:
    """The records of finished runs with early exits.

    Raises:
        UserError: there is none.
    """
    run_ids = selected_run_ids(store, grid_name, data_dir, changes)
    records = [store.done_record(run_id) for run_id in run_ids if store.is_done(run_id)]
    records = [record for record in records if len(record.exits) > 1]
    if not records:
        command_line = f"python -m benchmark run --grid {grid_name or ''}".rstrip()
        raise UserError(
            f"there is no finished run with early exits in {store.root / 'runs'}; run this first: {command_line}"
        )
    return records

"""``sweep --best``: which policy is the most accurate at one cost. Imports torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rich.console import Console

from benchmark import registry
from benchmark.cli.sweep_view import as_table, ranking
from benchmark.errors import UserError
from benchmark.evaluation.stored_sweeps import correct_at_budget
from results.judge.policy_ranking import rank_policies
from results.metric import METRICS, Metric
from results.record import DoneRecord
from results.spec import Configured
from results.store.folder import Store
from results.store.output import write_table

Setting = tuple[str, str, str | None, str | None]
"""What runs that are seeds of each other share: a name to show, the recipes, and the identities of the test images and of the
initial weights."""
Correct = dict[str, np.ndarray | None]
"""Correctness of every test sample by policy; None for a policy that does not reach the budget."""


def show_best(
    console: Console,
    store: Store,
    records: list[DoneRecord],
    policies: list[Configured],
    budget: float,
    *,
    skip_unsupported: bool,
    out: Path | None,
) -> None:
    """Rank the policies of each method and setting over its seeds.

    Args:
        console: where to write.
        store: the results folder.
        records: of runs with early exits.
        policies: to rank.
        budget: mean MACs over those of the backbone.
        skip_unsupported: whether policies that read what a run lacks are left out.
        out: a CSV file to write.

    Raises:
        UserError: a policy has a threshold of its own or depends on the order of samples, or no policy reaches the budget.
    """
    fixed = [p.label for p in policies if registry.configured("policy", p.name, p.set).setting is not None]
    if fixed:
        raise UserError(f"--best compares at equal cost, which a fixed threshold does not have: {', '.join(fixed)}")
    ordered = [p.label for p in policies if registry.card("policy", p.name).load().ordered]
    if ordered and not skip_unsupported:
        message = (
            "--best compares independent test samples; the decisions of these policies depend on the samples before"
        )
        raise UserError(f"{message}: {', '.join(ordered)}")
    policies = [p for p in policies if p.label not in ordered]
    settings: dict[Setting, dict[int, Correct]] = {}
    metrics: dict[Setting, Metric] = {}
    for number, record in enumerate(sorted(records, key=lambda record: record.run_id), start=1):
        if record.is_external:
            console.print(f"left out: {record.run_id} has no logits", highlight=False, markup=False, soft_wrap=True)
            continue
        if console.is_terminal:
            console.print(
                f"run {number}/{len(records)}: {record.run_id}", highlight=False, markup=False, soft_wrap=True
            )
        seeds = settings.setdefault(_setting(record), {})
        metrics[_setting(record)] = METRICS[record.data.task]
        if record.spec.train.seed not in seeds:  # the same training under a second id is no further evidence
            correct = correct_at_budget(store, record, policies, budget, skip_unsupported=skip_unsupported)
            seeds[record.spec.train.seed] = correct
    named = {name: settings[setting] for setting, name in _names(settings).items()}
    reached = {name: _reached_by_all(list(seeds.values())) for name, seeds in named.items()}
    left_out = {
        name: sorted({policy for correct in seeds.values() for policy in correct} - set(reached[name]))
        for name, seeds in named.items()
    }
    named_metrics = {name: metrics[setting] for setting, name in _names(settings).items()}
    ranked = rank_policies({name: policies for name, policies in reached.items() if policies}, named_metrics)
    if not ranked:
        raise UserError(f"no policy reaches {budget:g} of the backbone's MACs on val and test; try another --budget")
    lines = ranking(ranked, named_metrics, left_out, budget, console.width)
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
    if out is not None:
        table = as_table(ranked, budget)
        write_table(out, table)
        console.print(f"{out}  {len(table)} rows", highlight=False, markup=False, soft_wrap=True)


def _setting(record: DoneRecord) -> Setting:
    train = record.spec.train
    name = f"{record.label}, {train.backbone}, {train.dataset.label}, exits {record.spec.scheme}"
    return name, train.recipes.model_dump_json(), record.data.content.get("test"), train.weights.identity


def _names(settings: dict[Setting, dict[int, Correct]]) -> dict[Setting, str]:
    """A name for each setting, with its number of seeds; equal names of settings with other recipes, initial weights
    or images are numbered."""
    names: dict[Setting, str] = {}
    for setting, seeds in settings.items():
        count = f"{len(seeds)} seed{'' if len(seeds) == 1 else 's'}"
        earlier = sum(name == setting[0] for name, *_ in names)
        names[setting] = (
            f"{setting[0]}, {count}{f' (other recipes, weights or images: {earlier + 1})' if earlier else ''}"
        )
    return names


def _reached_by_all(seeds: list[Correct]) -> dict[str, list[np.ndarray]]:
    """The policies that reach the budget in every seed, with the correctness in each."""
    reached = {}
    for policy in seeds[0]:
        arrays = [array for correct in seeds if (array := correct.get(policy)) is not None]
        if len(arrays) == len(seeds):
            reached[policy] = arrays
    return reached

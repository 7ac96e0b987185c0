"""``python -m benchmark explain``: what the blocks of the backbones of finished runs represent."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from benchmark.cli.options import Device, data_dir_option, results_option
from benchmark.environment import require_torch
from benchmark.errors import UserError
from benchmark.run_reference import find_run
from results.store.folder import Store


@click.command("explain")
@click.argument("references", nargs=-1, required=True, metavar="RUN...")
@results_option
@click.option(
    "--device", type=Device(), metavar="NAME", default="cpu", show_default=True, help="auto, cpu, cuda or cuda:N."
)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads; by default torch's own choice.")
@data_dir_option
def command(
    references: tuple[str, ...], results_dir: Path, device: str, threads: int | None, data_dir: Path | None
) -> None:
    """Measure what the tokens after every block of the backbones of finished runs represent.

    With one pass over train, val and test: the accuracy of a linear probe and of the nearest class mean. With one pass over val
    and test: the similarity (linear CKA) with the last block, the mean attention distance of every head, and the share of high
    spatial frequencies. For every early exit: how often it differs from the final classifier and, where heads and backbone
    trained together, whether their gradients agree.

    Several runs also answer the rules on LGViT's mechanisms: supported, not supported or open.

    Heads below a probe with their inputs and their loss have not converged; reports say so. Runs on the same backbone share the
    results, which are stored: nothing is measured twice. Of several runs, those without a backbone of their own are left out,
    such as external ones. RUN is an id or a short id; see: list --runs.

    \b
    Examples:
      python -m benchmark explain RUN
      python -m benchmark explain RUN RUN --device cuda
    """
    require_torch()
    # These import torch, which takes seconds: --help is answered without it.
    import torch

    from benchmark.cli.explain_view import (
        show_answers,
        show_disagreement,
        show_gradients,
        show_probes,
        show_refusals,
        show_tokens,
    )
    from benchmark.execution.device import usable_device
    from benchmark.representations.gradient_agreement import gradient_refusal, measure_gradients
    from benchmark.representations.grid_probes import exit_blocks, same_probes
    from benchmark.representations.probes import probe_backbone
    from benchmark.representations.subject import Subject
    from benchmark.representations.token_measures import measure_tokens
    from results.judge.mechanism_evidence import mechanism_answers
    from results.store.probes import distillation_of, without_probes
    from results.tables.loading import load_runs
    from results.tables.representations import disagreement_table

    console, store = Console(highlight=False), Store(results_dir)
    run_ids = list(dict.fromkeys(find_run(one, store.run_ids(), str(store.root)) for one in references))
    if threads is not None:
        torch.set_num_threads(threads)
    named = [Subject(store, store.done_record(run_id), usable_device(device), data_dir) for run_id in run_ids]
    left_out = {subject.record.run_id: subject.refusal for subject in named if subject.refusal}
    if len(left_out) == len(named):
        raise UserError(*(f"{run_id}: {reason}" for run_id, reason in left_out.items()))
    show_refusals(console, "Nothing is measured for", left_out)
    subjects = [subject for subject in named if not subject.refusal]
    by_backbone = {(subject.backbone, str(subject.fields)): subject for subject in subjects}
    for subject in by_backbone.values():
        train = subject.record.spec.train
        console.print(f"{train.backbone}, seed {train.seed}: measuring {subject.depth} blocks ...", markup=False)
        probed, probes = probe_backbone(subject, range(1, subject.depth + 1))
        show_probes(console, probes)
        measured, tokens = measure_tokens(subject)
        show_tokens(console, tokens)
        for name in (probed, measured):
            console.print(f"stored: {store.stage(name)}", markup=False, soft_wrap=True)
    by_run = {subject.record.run_id: subject for subject in subjects}
    unprobed = {record.run_id for record in without_probes(store, list(by_run))}
    for group in same_probes([subject.record for subject in subjects]):
        if distillation := distillation_of(group[0]):  # the probes above have the loss of all other heads
            train = group[0].spec.train
            console.print(f"{train.backbone}, seed {train.seed}: probes with distillation ...", markup=False)
            if any(record.run_id in unprobed for record in group):  # else probes of other blocks, too, may be stored
                probe_backbone(by_run[group[0].run_id], exit_blocks(group), distillation)
    runs, problems = load_runs(store, list(by_run))
    exits = disagreement_table(runs)
    if exits is not None:
        show_disagreement(console, exits)
    kept = {run.record.run_id for run in runs}  # of several learning rates, only the chosen one
    refusals = {}
    for subject in subjects:
        run_id = subject.record.run_id
        if run_id in kept:
            if refusal := gradient_refusal(subject.record):
                refusals[run_id] = refusal
            else:
                name, gradients = measure_gradients(subject)
                show_gradients(console, run_id, gradients)
                console.print(f"stored: {store.stage(name)}", markup=False, soft_wrap=True)
    show_refusals(console, "No gradients are compared for", refusals)
    if len(runs) > 1:
        show_answers(console, mechanism_answers(runs))
    for problem in problems:
        console.print(problem, markup=False)

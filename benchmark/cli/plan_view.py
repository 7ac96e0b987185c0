"""Shows a plan: how many stages are finished, to do and shared; `plan`, `run` and `retry` use it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

from rich.console import Console
from rich.table import Table

from benchmark.cli.units import hours, size
from benchmark.execution.image_sizes import shrinking
from benchmark.execution.requirements import Requirements
from benchmark.run_reference import short_id
from benchmark.stages.plan import Plan, counted
from benchmark.stages.stage import Stage
from benchmark.text_table import left_out, text_table, without_constants, wrapped
from benchmark.weights import can_be_downloaded
from results.store.folder import Store

SHOWN_PASSES = 5
STAGE_TITLES = {
    "finetune": "fine-tune the backbone",
    "joint": "train backbone and exits",
    "exits": "train the exits",
    "scores": "score val and test",
    "cost": "count MACs",
}


def show_plan(console: Console, plan: Plan, *, runs: bool = False) -> None:
    """Show the number of stages of each kind that are finished, to do and shared; with ``runs`` also every run."""
    total, missing = len(plan.runs), len(plan.missing_runs)
    console.print(f"Grid {plan.grid.name}: {total} runs, {total - missing} finished, {missing} to run", highlight=False)
    table = Table("stage", "finished", "to do", "", box=None, pad_edge=False, header_style="bold")
    table.columns[1].justify = table.columns[2].justify = "right"
    to_do = Counter(stage.kind for stage in plan.missing_stages)
    done = Counter(stage.kind for stage in plan.stages if plan.is_done(stage))
    runs_per_stage: dict[str, list[int]] = {kind: [] for kind in STAGE_TITLES}
    for stage, count in plan.stages.items():
        runs_per_stage[stage.kind].append(count)
    for kind, title in STAGE_TITLES.items():
        if counts := runs_per_stage[kind]:
            table.add_row(title, str(done[kind]), str(to_do[kind]), _shared(counts))
    console.print(table)
    _show_passes(console, plan)
    for sentence in shrinking(run.spec for run in plan.missing_runs):
        shown = "\n".join(wrapped(sentence, console.width, "warning: "))
        console.print(shown, style="yellow", markup=False, highlight=False, soft_wrap=True)
    console.print()
    if runs:
        _show_runs(console, plan)


def show_damaged(console: Console, plan: Plan) -> None:
    """Warn of runs whose record is damaged; they count as not finished."""
    for sentence in plan.damaged.values():
        text = f"{sentence}; run sets the run aside and evaluates it again"
        shown = "\n".join(wrapped(text, console.width, "warning: "))
        console.print(shown, style="yellow", markup=False, highlight=False, soft_wrap=True)


def show_late_endpoint(console: Console, plan: Plan, store: Store) -> None:
    """Warn if finished runs do not have the primary endpoint of the grid: reports then ignore it."""
    declared = next((run.spec.primary for run in plan.runs), None)  # all runs of a grid have the same
    if declared is None:
        return
    tested = [run for run in plan.runs if run.spec.train.method.label == declared.method]
    done = [run.run_id for run in tested if run.run_id in plan.done_runs]
    late = sum(store.done_record(run_id).spec.primary != declared for run_id in done)
    if late:
        sentence = (
            f"primary: {late} of {len(done)} finished runs of {declared.method} were recorded before this endpoint was "
            "declared, so reports do not use it"
        )
        shown = "\n".join(wrapped(sentence, console.width, "warning: "))
        console.print(shown, style="yellow", markup=False, highlight=False, soft_wrap=True)


def show_requirements(console: Console, needs: Requirements) -> None:
    """Show what has to be there before the missing runs can train, and what they will take."""
    lines = []
    for name, how_to_get in needs.data.items():
        lines += [("data", f"{name} is not on this machine; to get it:", "red"), ("", how_to_get, "red")]
    for source in needs.weights:
        fetched = can_be_downloaded(source)
        then = "run downloads it" if fetched else "there is no such file"
        text = f"{source} is not on this machine ({then}); until then keys and run names are provisional"
        lines.append(("weights", text, "yellow" if fetched else "red"))
    disk = f"{size(needs.artifact_bytes)} of results"
    if needs.checkpoint_bytes:
        disk += f", and up to {size(needs.checkpoint_bytes)} while a stage trains"
    lines.append(("disk", f"{disk}; {size(needs.free_bytes)} free", "" if needs.fits else "red"))
    lines.append(("time", f"about {hours(needs.hours)} of training and scoring ({needs.basis})", ""))
    console.print("To run the missing runs:", style="bold")
    for name, text, style in lines:
        shown = "\n".join(wrapped(text, console.width, f"  {name:<9}"))
        console.print(shown, style=style, markup=False, highlight=False, soft_wrap=True)
    console.print()


def _show_runs(console: Console, plan: Plan) -> None:
    trains = [run.spec.train for run in plan.runs]
    columns = {
        "run": [short_id(run.run_id) for run in plan.runs],
        "": ["finished" if run.run_id in plan.done_runs else "to run" for run in plan.runs],
        "method": [train.method.label for train in trains],
        "backbone": [train.backbone for train in trains],
        "dataset": [train.dataset.label for train in trains],
        "exits": [run.spec.scheme for run in plan.runs],
        "seed": [str(train.seed) for train in trains],
    }
    shown, constant = without_constants(columns, ["backbone", "dataset", "exits", "seed"])
    optional = ["dataset", "backbone", "exits"]
    lines = text_table(shown, console.width, optional=optional, right=["seed"])
    missing = left_out(shown, console.width, optional)
    notes = [f"all: {constant}"] if constant else []
    notes += [f"a wider terminal also shows: {', '.join(missing)}"] if missing else []
    below = wrapped("; ".join(notes), console.width) or [""]
    console.file.write("\n".join([*lines, *below, ""]))  # rich is slow for thousands of lines


def _shared(counts: list[int]) -> str:
    """How many stages of one kind are shared. ``counts`` holds the number of runs that use each stage."""
    shared = sum(count > 1 for count in counts)
    if not shared:
        return ""
    return (
        f"shared by {max(counts)} runs"
        if shared == len(counts) == 1
        else f"{shared} shared by up to {max(counts)} runs"
    )


def _show_passes(console: Console, plan: Plan) -> None:
    """Show which methods train in the same pass over the data."""
    passes: dict[Hashable, list[Stage]] = {}
    for stage in plan.missing_stages:
        if shared := stage.shared_pass:
            passes.setdefault(shared, []).append(stage)
    together = [stages for stages in passes.values() if len(stages) > 1]
    methods = Counter(counted(stage.run.train.method.label for stage in stages) for stages in together)
    for names, count in methods.most_common(SHOWN_PASSES):
        times = f", {count} times" if count > 1 else ""
        console.print(
            f"Heads trained together, in one pass over the data{times}: {names}", markup=False, highlight=False
        )
    if len(methods) > SHOWN_PASSES:
        console.print(f"... and {sum(methods.values())} shared passes in all", highlight=False)

"""Shows job arrays before their submission: resources, estimates, tasks, scripts."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console

from benchmark.cli.units import size
from benchmark.execution.estimate import Estimate, total
from benchmark.execution.slurm import scheduler
from benchmark.execution.slurm.layout import ArrayTask, JobArray
from benchmark.execution.slurm.options import SlurmOptions
from benchmark.execution.slurm.throughput import Throughput
from benchmark.stages.plan import counted
from benchmark.text_table import text_table, wrapped

SHOWN_TASKS = 3
SHOWN_UNITS = 2
TITLES = ("", "array", "tasks", "at once", "after", "GPUs", "limit", "longest", "hours", "keeps")


def gpu_hours(arrays: Sequence[JobArray], estimates: Sequence[Sequence[Estimate]], tflops: float) -> float:
    """Over the arrays that request GPUs."""
    pairs = zip(arrays, estimates, strict=True)
    return sum(total(tasks).hours(tflops) for array, tasks in pairs if array.resources.gpus)


def wall_hours(arrays: Sequence[JobArray], estimates: Sequence[Sequence[Estimate]], tflops: float) -> float:
    """From the first start to the last end, if every array gets all the tasks at once that it may run."""
    ends: list[float] = []
    for array, tasks in zip(arrays, estimates, strict=True):
        together = total(tasks).hours(tflops) / _devices(array) / array.parallelism
        start = max((ends[i] for i in array.after), default=0.0)
        ends.append(start + max(together, _longest(array, tasks, tflops)))
    return max(ends, default=0.0)


def show_arrays(
    console: Console,
    arrays: Sequence[JobArray],
    estimates: Sequence[Sequence[Estimate]],
    options: SlurmOptions,
    speed: Throughput,
    grid: str,
) -> None:
    """A table of the arrays, warnings about time limits, and the tasks.

    Args:
        console: where to write.
        arrays: in the order of submission.
        estimates: for every array, one for each task.
        options: of the command.
        speed: of a device.
        grid: its name.
    """
    tflops = speed.tflops
    rows = []
    warnings = []
    for number, (array, tasks) in enumerate(zip(arrays, estimates, strict=True), start=1):
        whole, limit, longest = total(tasks), array.resources.time / 60, _longest(array, tasks, tflops)
        rows.append((
            str(number), array.name, str(len(array.tasks)), str(array.parallelism),
            ", ".join([*(str(i + 1) for i in array.after), *array.after_jobs]), str(array.resources.gpus),
            hours_and_minutes(limit), hours_and_minutes(longest), f"{whole.hours(tflops):.1f}", size(whole.artifact_bytes),
        ))  # fmt: skip
        if longest > limit:
            enough = longest <= limit * (options.max_requeues + 1)
            consequence = "it will be requeued and continue" if enough else "more than the limit and all requeues allow"
            warnings.append(
                (f"{array.name}: a task is estimated at {hours_and_minutes(longest)}, {consequence}", enough)
            )
    whole = total(estimate for tasks in estimates for estimate in tasks)
    count = counted_tasks(sum(len(array.tasks) for array in arrays))
    console.print(f"Grid {grid} on Slurm: {count} in {len(arrays)} arrays", highlight=False)
    columns = dict(zip(TITLES, zip(*rows, strict=True), strict=True))
    lines = text_table(columns, console.width, optional=["keeps", "at once", "after"], right=[*TITLES[:1], *TITLES[2:]])
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
    on_gpus = gpu_hours(arrays, estimates, tflops)
    on_cpus = whole.hours(tflops) - on_gpus
    parts = [f"{on_gpus:.1f} GPU-hours"] if on_gpus else []
    hours = ", ".join([*parts, f"{on_cpus:.1f} hours without a GPU"] if on_cpus > 0.05 or not parts else parts)
    summary = (
        f"Estimated at {tflops:.3g} TFLOP/s a {'GPU' if on_gpus else 'task'} ({speed.basis}): {hours}, done in "
        f"{hours_and_minutes(wall_hours(arrays, estimates, tflops))} h if no job waits for resources; "
        f"{size(whole.artifact_bytes)} of artifacts, and at most {size(whole.checkpoint_bytes)} of checkpoints"
    )
    console.print("\n".join(wrapped(summary, console.width)), highlight=False, soft_wrap=True)
    if not any(array.resources.gpus for array in arrays):
        console.print("No array requests a GPU; --gpus-per-node does", highlight=False, soft_wrap=True)
    for text, enough in warnings:
        lines = wrapped(text, console.width)
        console.print("\n".join(lines), style=None if enough else "red", highlight=False, soft_wrap=True)
    console.print()
    for number, (array, tasks) in enumerate(zip(arrays, estimates, strict=True), start=1):
        for i, (task, estimate) in enumerate(zip(array.tasks[:SHOWN_TASKS], tasks, strict=False)):
            duration = f"  ({hours_and_minutes(_longest(array, [estimate], tflops))})" if estimate.macs else ""
            lines = wrapped(f"{task.kind}: {_description(task)}{duration}", console.width, f"{number}.{i}  ")
            console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
        if len(array.tasks) > SHOWN_TASKS:
            console.print(f"     ... and {len(array.tasks) - SHOWN_TASKS} more tasks", highlight=False)
    console.print()


def show_scripts(console: Console, arrays: Sequence[JobArray], scripts: Sequence[str]) -> None:
    """What sbatch would get for every array."""
    for number, (array, script) in enumerate(zip(arrays, scripts, strict=True), start=1):
        console.print(f"# --- script {number}: {array.name}", markup=False, highlight=False, soft_wrap=True)
        console.print(script, markup=False, highlight=False, soft_wrap=True)
    console.print("Nothing was submitted.")


def show_starts(console: Console, arrays: Sequence[JobArray], scripts: Sequence[str]) -> None:
    """What Slurm says of one array for each set of resources: when its first task would start, or why it is refused.

    Arrays that wait for others are tested as if they did not.
    """
    tested: set[str] = set()
    for array, script in zip(arrays, scripts, strict=True):
        if (resources := array.resources.model_dump_json()) in tested:
            continue
        tested.add(resources)
        lines = [line for line in script.splitlines() if not line.startswith("#SBATCH --dependency")]
        accepted, sentence = scheduler.test_only("\n".join(lines) + "\n")
        shown = wrapped(f"sbatch --test-only: {array.name} {sentence}", console.width)
        style = None if accepted else "red"
        console.print("\n".join(shown), style=style, markup=False, highlight=False, soft_wrap=True)
    console.print()


def _longest(array: JobArray, estimates: Sequence[Estimate], tflops: float) -> float:
    """Hours of the longest task, whose devices share the work."""
    return max(estimate.hours(tflops) for estimate in estimates) / _devices(array)


def _devices(array: JobArray) -> int:
    """GPUs of a task, or its processes if it has no GPU."""
    return array.resources.gpus or array.at_once


def _description(task: ArrayTask) -> str:
    """The stages or runs of a task in words."""
    if task.kind == "report":
        return "missing records, and the report"
    parts = []
    for unit in task.units[:SHOWN_UNITS]:
        if not unit.stages:
            parts.append(unit.names[0])
            continue
        train = unit.stages[0].run.train
        methods = counted(stage.run.train.method.label for stage in unit.stages)
        seed = "" if task.kind == "cost" else f", seed {train.seed}"
        parts.append(f"{train.backbone}{seed}" if task.kind == "finetune" else f"{methods} on {train.backbone}{seed}")
    more = len(task.units) - SHOWN_UNITS
    return "; ".join(parts) + (f"; and {more} more" if more > 0 else "")


def counted_tasks(count: int) -> str:
    return f"{count} task" + ("" if count == 1 else "s")


def hours_and_minutes(hours: float) -> str:
    """``8:30``, rounded up to minutes."""
    minutes = math.ceil(hours * 60)
    return f"{minutes // 60}:{minutes % 60:02d}"

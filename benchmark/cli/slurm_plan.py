"""A plan for Slurm on the screen: arrays, estimates, scripts."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from benchmark.execution.slurm.estimate import Estimate, Estimator, total
from benchmark.execution.slurm.layout import JobArray, Task
from benchmark.execution.slurm.options import SlurmChoice
from benchmark.execution.slurm.submission import Submission
from benchmark.stages.plan import counted
from results.store.folder import Store

SHOWN_TASKS = 3
SHOWN_UNITS = 2


def estimates_of(store: Store, arrays: Sequence[JobArray]) -> list[list[Estimate]]:
    estimator = Estimator(store)
    return [estimator.of_array(array) for array in arrays]


def gpu_hours(arrays: Sequence[JobArray], estimates: Sequence[Sequence[Estimate]], choice: SlurmChoice) -> float:
    """Of the arrays that ask for GPUs."""
    pairs = zip(arrays, estimates, strict=True)
    return sum(total(each).hours(choice.options.tflops) for array, each in pairs if array.resources.gpus)


def show_arrays(
    console: Console,
    arrays: Sequence[JobArray],
    estimates: Sequence[Sequence[Estimate]],
    choice: SlurmChoice,
    grid: str,
) -> None:
    """The plan as a table: arrays, what they wait for, how long they take, what they store."""
    titles = ("", "array", "tasks", "at once", "after", "GPUs", "limit", "longest", "hours", "keeps")
    table = Table(*titles, box=None, pad_edge=False, header_style="bold")
    for column in (0, 2, 3, 5, 6, 7, 8, 9):
        table.columns[column].justify = "right"
    tflops = choice.options.tflops
    for number, (array, each) in enumerate(zip(arrays, estimates, strict=True), start=1):
        whole = total(each)
        table.add_row(
            str(number), array.name, str(len(array.tasks)), str(array.at_once),
            ", ".join([*(str(i + 1) for i in array.after), *array.after_jobs]), str(array.resources.gpus),
            _hours(array.resources.time / 60), _hours(_longest(array, each, tflops)),
            f"{whole.hours(tflops):.1f}", _size(whole.kept),
        )  # fmt: skip
    everything = total(one for each in estimates for one in each)
    tasks = sum(len(array.tasks) for array in arrays)
    console.print(f"Grid {grid} on Slurm: {counted_tasks(tasks)} in {len(arrays)} arrays", highlight=False)
    console.print(table, soft_wrap=True)
    console.print(
        f"Estimated at {tflops:g} TFLOP/s a GPU (--tflops): {gpu_hours(arrays, estimates, choice):.1f} GPU-hours; "
        f"{_size(everything.kept)} to keep, at most {_size(everything.passing)} of checkpoints beside it",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    for array, each in zip(arrays, estimates, strict=True):
        longest, limit = _longest(array, each, tflops), array.resources.time / 60
        if longest > limit:
            enough = longest <= limit * (choice.options.max_requeues + 1)
            then = "it will be requeued and go on" if enough else "more than the limit and all requeues allow"
            text = f"{array.name}: a task is estimated at {_hours(longest)}, {then}"
            console.print(text, style=None if enough else "red", highlight=False, soft_wrap=True)
    console.print()
    for number, (array, each) in enumerate(zip(arrays, estimates, strict=True), start=1):
        for i, (task, one) in enumerate(zip(array.tasks[:SHOWN_TASKS], each, strict=False)):
            took = f"  ({_hours(_longest(array, [one], tflops))})" if one.macs else ""
            text = f"{number}.{i}  {task.kind}: {_what(task)}{took}"
            console.print(text, markup=False, highlight=False, soft_wrap=True)
        if len(array.tasks) > SHOWN_TASKS:
            console.print(f"     ... and {len(array.tasks) - SHOWN_TASKS} more tasks", highlight=False)
    console.print()


def _longest(array: JobArray, estimates: Sequence[Estimate], tflops: float) -> float:
    """Hours of its longest task, whose GPUs share the work."""
    return max(one.hours(tflops) for one in estimates) / max(1, array.resources.gpus)


def _what(task: Task) -> str:
    """Its stages or runs in words."""
    if task.kind == "report":
        return "the missing records, and the report"
    parts = []
    for unit in task.units[:SHOWN_UNITS]:
        if not unit.stages:
            parts.append(unit.names[0])
            continue
        train = unit.stages[0].run.train
        methods = counted(stage.run.train.method.label for stage in unit.stages)
        seed = "" if task.kind == "cost" else f", seed {train.seed}"
        parts.append(f"{methods} on {train.backbone}{seed}" if task.kind != "finetune" else f"{train.backbone}{seed}")
    more = len(task.units) - SHOWN_UNITS
    return "; ".join(parts) + (f"; and {more} more" if more > 0 else "")


def show_scripts(console: Console, arrays: Sequence[JobArray], choice: SlurmChoice, store: Store, grid: str) -> None:
    """What sbatch would get; <1> stands for the job id of the first array."""
    from benchmark.execution.slurm.submit import executor_of

    submission = Submission(store.root / "submissions" / f"<time>-{grid}-<code>")
    for number, array in enumerate(arrays, start=1):
        after = [*(f"<{i + 1}>" for i in array.after), *array.after_jobs]
        text = executor_of(array, submission, choice.options, after, grid).script(len(array.tasks))
        console.print(f"# --- script {number}: {array.name}", markup=False, highlight=False, soft_wrap=True)
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    console.print("Nothing was submitted.")


def counted_tasks(count: int) -> str:
    return f"{count} task" + ("" if count == 1 else "s")


def _hours(hours: float) -> str:
    """``8:30``."""
    minutes = -(-hours * 60 // 1)
    return f"{int(minutes // 60)}:{int(minutes % 60):02d}"


def _size(count: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"

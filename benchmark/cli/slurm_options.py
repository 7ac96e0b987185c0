"""The options of ``run --executor slurm``; the same names are the keys of a profile."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import click

from benchmark.cli.options import InputFile
from benchmark.errors import UserError

SIGNAL_DELAY = "time for the last checkpoint before the limit.  [default: 120]"
TFLOPS = "throughput of a GPU, for estimates.  [default: that of finished runs on the same GPU, else 10]"
PROFILE = "a YAML file with these options as keys, also for one kind of stage."
OPTIONS = (
    click.option("--partition", help="Slurm: the partition."),
    click.option("--gpus-per-node", type=click.IntRange(min=0), help="Slurm: GPUs of a task that trains; scoring takes one."),
    click.option("--time", metavar="TIME", help="Slurm: limit of a task: 30, 8:00:00 or 1-12.  [default: 1:00:00]"),
    click.option("--array-parallelism", type=click.IntRange(min=1), help="Slurm: tasks at once.  [default: 32]"),
    click.option("--account", help="Slurm: the account that is charged."),
    click.option("--qos", help="Slurm: quality of service."),
    click.option("--constraint", help="Slurm: features that a node must have."),
    click.option("--mem", help="Slurm: memory of a node, such as 64G."),
    click.option("--cpus-per-task", type=click.IntRange(min=1), help="Slurm: CPUs, and threads unless --threads is given."),
    click.option("--nodes", type=click.IntRange(min=1), help="Slurm: nodes of a task that trains.  [default: 1]"),
    click.option("--exclude", help="Slurm: nodes to avoid."),
    click.option("--max-mem", metavar="MEM", help="Slurm: most memory that retry requests after oom.  [default: 512G]"),
    click.option("--setup", multiple=True, metavar="CMD", help="Slurm: a shell command before the work; repeatable."),
    click.option("--sbatch", multiple=True, metavar="KEY=VALUE", help="Slurm: any other option of sbatch; repeatable."),
    click.option("--max-array-size", type=click.IntRange(min=1), help="Slurm: maximum number of tasks in an array."),
    click.option("--stages-per-task", type=click.IntRange(min=1), help="Slurm: short stages that share a task.  [default: 8]"),
    click.option("--stages-at-once", type=click.IntRange(min=1), help="Slurm: trainings side by side in a task.  [default: 1]"),
    click.option("--max-requeues", type=click.IntRange(min=0), help="Slurm: restarts of a task.  [default: 10]"),
    click.option("--signal-delay", type=click.IntRange(min=10), metavar="SECONDS", help=f"Slurm: {SIGNAL_DELAY}"),
    click.option("--stage-data", is_flag=True, help="Slurm: copy datasets to the node's own disk, once a node."),
    click.option("--notify", metavar="CMD", help="Slurm: command that gets the summary on standard input at the end."),
    click.option("--tflops", type=click.FloatRange(min=0, min_open=True), help=f"Slurm: {TFLOPS}"),
    click.option("--profile", type=InputFile(), help=f"Slurm: {PROFILE}"),
    click.option("--dry-run", is_flag=True, help="Slurm: show tasks, arrays, estimates and scripts; submit nothing."),
    click.option("--max-gpu-hours", type=click.FloatRange(min=0), help="Slurm: refuse a plan with a higher estimate."),
    click.option("--wait", is_flag=True, help="Slurm: show progress until all jobs have ended."),
)  # fmt: skip
COMMAND_ONLY = ("profile", "dry_run", "max_gpu_hours", "wait")
"""Options that a profile cannot contain."""


def slurm_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options to a command, which receives those that were given as the mapping ``slurm``."""
    names: list[str] = []

    @functools.wraps(command)
    def with_slurm(**values: Any) -> Any:
        options = {name: values.pop(name) for name in names}
        slurm = {name: value for name, value in options.items() if value not in (None, ()) and value is not False}
        return command(**values, slurm=slurm)

    decorated: Any = with_slurm
    for option in reversed(OPTIONS):
        decorated = option(decorated)
        names.append(decorated.__click_params__[-1].name)
    return decorated


def check_executor(executor: str, slurm: Mapping[str, Any], **local: bool) -> None:
    """
    Args:
        executor: ``local`` or ``slurm``.
        slurm: the options for Slurm that were given.
        local: options that only the local executor has, and whether they were given.

    Raises:
        UserError: an option belongs to the other executor.
    """
    if executor != "slurm" and slurm:
        raise UserError(f"--{next(iter(slurm)).replace('_', '-')} requires --executor slurm")
    for name, is_given in local.items():
        if executor == "slurm" and is_given:
            raise UserError(f"--{name} requires --executor local")

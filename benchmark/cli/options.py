"""Options that several commands share. `doctor` imports this where packages are missing, so it needs click alone."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from benchmark.checkout import ROOT
from benchmark.errors import UserError

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT_GRID = "quick"
DEFAULT_RESULTS = ROOT / "results"
REPORTS_OUT = ROOT / "reports" / "out"


class InputFile(click.Path):
    """A file that is read. A pipe or a device is refused: it would be waited for, or read without an end."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, resolve_path=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """
        Raises:
            UserError: there is no plain file.
        """
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if not path.is_file():
            name = param.opts[0] if isinstance(param, click.Option) else "FILE"
            raise UserError(f"{name}: {path} is no file" if path.exists() else f"{name}: there is no file {path}")
        return path


class OutputPath(click.Path):
    """A file or folder that need not exist. An empty text is refused: it would be the current folder."""

    def __init__(self, **limits: bool) -> None:
        super().__init__(path_type=Path, resolve_path=True, **limits)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """
        Raises:
            UserError: the text is empty.
        """
        if value == "":
            name = param.opts[0] if param is not None else "the path"
            raise UserError(
                f"{name} is empty: name a path, or leave the option out (is a variable of your shell unset?)"
            )
        return super().convert(value, param, ctx)


class Device(click.ParamType):
    """A device of torch, by the form of its name; whether it is usable here is found when torch is imported."""

    name = "device"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """
        Raises:
            UserError: it has another form.
        """
        if not re.fullmatch(r"auto|cpu|cuda(:\d{1,4})?", value):
            raise UserError(f"--device {value}: allowed are auto, cpu, cuda and cuda:N")
        return value


def grid_option(help_text: str):  # type: ignore[no-untyped-def]
    """The option ``--grid [NAME|PATH]``: a shipped grid or a YAML file; without a value, `DEFAULT_GRID`."""
    return click.option(
        "--grid",
        "grid_name",
        is_flag=False,
        flag_value=DEFAULT_GRID,
        default=None,
        metavar="[NAME|PATH]",
        help=help_text,
    )


changes_option = click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Replace a value of the grid file, such as recipes.finetune.epochs=5 or 'seeds=[0, 1]'; repeatable.",
)

results_option = click.option(
    "--results",
    "results_dir",
    type=OutputPath(),
    default=DEFAULT_RESULTS,
    show_default="results/ of the checkout",
    help="The results folder.",
)

data_dir_option = click.option(
    "--data-dir",
    type=OutputPath(),
    envvar="LGVIT_BENCH_DATA",
    help="Folder of your datasets, with pretrained weights in weights/; also LGVIT_BENCH_DATA.",
)

device_option = click.option(
    "--device", type=Device(), metavar="NAME", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."
)
threads_option = click.option(
    "--threads", type=click.IntRange(min=1), help="CPU threads of each process; the bits of results depend on it."
)
executor_option = click.option(
    "--executor", type=click.Choice(["local", "slurm"]), default="local", show_default=True, help="Where to run."
)
workers_option = click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processes that make different stages; without --threads they share the CPU threads.",
)
gpus_option = click.option(
    "--gpus",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="GPUs of each training, one process per GPU; with --device cpu, processes.",
)
loader_workers_option = click.option(
    "--loader-workers", type=click.IntRange(min=0), help="Processes that load batches; affects the speed only."
)
offline_option = click.option(
    "--offline", is_flag=True, help="Never use the network: pretrained weights must be on this machine."
)
out_option = click.option("--out", type=OutputPath(), help="The report's folder.")

log_option = click.option(
    "--log",
    type=click.Choice(["tensorboard"]),
    help="Write training curves into tensorboard/ of the results folder; needs the package tensorboard.",
)


hang_minutes_option = click.option(
    "--hang-minutes",
    type=click.FloatRange(min=0, min_open=True),
    default=15.0,
    show_default=True,
    help="End a training that makes no step for this long after its first one; it resumes from its checkpoint.",
)


def execution_options(command: Command) -> Command:
    """Adds the options of `run` and `retry`, which execute a plan and report on it."""
    for option in (
        log_option, hang_minutes_option, out_option, loader_workers_option, gpus_option, workers_option, executor_option,
        threads_option, device_option, offline_option, data_dir_option, results_option,
    ):  # fmt: skip
        command = option(command)
    return command

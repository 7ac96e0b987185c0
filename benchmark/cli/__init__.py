"""The command line. A command's module is imported when the command is called, so that --help answers at once."""

from __future__ import annotations

import errno
import io
import os
import re
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import NoReturn

import click

from benchmark.errors import Interrupted, RankError, UserError
from results.text import printable

# Name to (module with the click command `command`, help line).
COMMANDS = {
    "run": ("benchmark.cli.run", "Run a grid: train, score, measure, report."),
    "plan": ("benchmark.cli.plan", "Show what a grid needs and what is already there."),
    "status": ("benchmark.cli.status", "Show the state of each run of a grid, and why."),
    "retry": ("benchmark.cli.retry", "Run failed runs again, all or by cause."),
    "cancel": ("benchmark.cli.cancel", "Stop the runs of a grid after their next checkpoint."),
    "costs": ("benchmark.cli.costs", "Count parameters and MACs of a method on a backbone."),
    "sweep": ("benchmark.cli.sweep", "Evaluate policies, thresholds and budgets on stored scores."),
    "latency": ("benchmark.cli.latency", "Measure the time of a finished run on a device."),
    "explain": ("benchmark.cli.explain", "Probe what the blocks of finished runs represent."),
    "predict": ("benchmark.cli.predict", "Classify images with a finished run, by dynamic inference."),
    "deploy": ("benchmark.cli.deploy", "Choose the threshold of a run for a budget, and write it to a file."),
    "export": ("benchmark.cli.export", "Write the model of a run as ONNX or torch.export graphs."),
    "evaluate": ("benchmark.cli.evaluate", "Make a run from the answers of a model trained elsewhere."),
    "claims": ("benchmark.cli.claims", "Judge LGViT's claims and published numbers by the records."),
    "reproduce": ("benchmark.cli.reproduce", "Train a finished run again from its record, and judge."),
    "compare": ("benchmark.cli.compare", "Compare two runs or two results folders."),
    "list": (
        "benchmark.cli.list",
        "List what is registered (methods, heads, ...), or the finished runs.",
    ),
    "new-grid": ("benchmark.cli.new_grid", "Write a commented grid file to start from."),
    "clean": ("benchmark.cli.clean", "Remove stages and runs that no grid on disk names."),
    "data": ("benchmark.cli.data", "List, locate, check and download datasets."),
    "report": ("benchmark.cli.report", "Rebuild the report from records and outcomes."),
    "import-checkpoint": ("benchmark.cli.import_checkpoint", "Make a run from a checkpoint of the authors' code."),
    "doctor": ("benchmark.cli.doctor", "Check this machine: what is missing, and how to fix it."),
    "bench": ("benchmark.cli.bench", "Measure data loading, dynamic inference and exported models."),
}


LONG_WORD = re.compile(r"(\S{60})\S{60,}(\S{20})")
"""A value of an option that would fill the screen in a message: its middle is left out."""


class LazyGroup(click.Group):
    def list_commands(self, context: click.Context) -> list[str]:
        return [*COMMANDS]  # the module of the command `list` shadows the function

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        return import_module(COMMANDS[name][0]).command

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            from methods.lookup import unknown  # imports pydantic, which a broken installation may lack

            raise UserError(unknown("command", args[0], COMMANDS))
        return super().resolve_command(context, args)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


OF_A_PATH = (
    errno.ENAMETOOLONG, errno.ELOOP, errno.EISDIR, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC,
    errno.EDQUOT,
)  # fmt: skip
"""Errors of the file system that need no more than the path. Any other `OSError` is a fault of the suite, with a traceback."""


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option("0.1.0", prog_name="lgvit-bench")
def main() -> None:
    """LGViT-Bench: does early exiting in Vision Transformers work, and how much of the speed-up is real?

    Start with: python -m benchmark run --grid
    """


def start() -> None:
    """Run the command line. Each mistake of the user is printed as one sentence; the exit code is 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with suppress(OSError):  # a stream on another file than at the start of Python cannot be changed
                # Names of files may have letters that the terminal's encoding lacks.
                stream.reconfigure(errors="backslashreplace")
    try:
        code = main(standalone_mode=False)  # a command's Exit(code) comes back as its code
        sys.stdout.flush()
        sys.exit(code)
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        click.echo(LONG_WORD.sub(r"\1...\2", shown.getvalue()), err=True, nl=False)
        if isinstance(error, click.NoSuchOption) and error.ctx is not None and _takes_arguments(error.ctx.command):
            click.echo(
                f"A run or file whose name begins with '-' follows '--': {error.ctx.command_path} -- NAME", err=True
            )
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt, Interrupted) as error:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # this is the end; more of them would end in a traceback
        click.echo(f"stopped; {error}" if isinstance(error, Interrupted) else "stopped", err=True)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except RankError as error:
        _complain(error.messages, code=1)  # no mistake of the user's
    except UserError as error:
        _complain(error.messages)
    except Exception as error:
        from datasets.api import DataError
        from results.store.folder import StoreError

        if isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it once more at its end
            _complain([f"the output cannot be written: {error.strerror}"])
        if isinstance(error, OSError) and error.errno in OF_A_PATH and error.filename is not None:
            _complain([f"{str(error.filename)[:200]!r}: {error.strerror}"])
        if not isinstance(error, DataError | StoreError):
            raise
        _complain([str(error)])


def _takes_arguments(command: click.Command) -> bool:
    return any(isinstance(parameter, click.Argument) for parameter in command.params)


def _complain(messages: Sequence[str], code: int = 2) -> NoReturn:
    for message in messages:
        lines = (printable(line) for line in message.split("\n"))
        click.echo("error: " + "\n".join(lines), err=True)
    sys.exit(code)

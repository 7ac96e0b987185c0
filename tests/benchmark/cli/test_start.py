"""The start of the command line: the messages of mistakes that no command sees."""

from __future__ import annotations

import os
import runpy
import signal
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from benchmark.cli import main, start
from benchmark.errors import Interrupted, UserError


def test_a_run_that_begins_with_a_dash_is_explained(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark", "compare", "-x1", "-x1"])
    with pytest.raises(SystemExit) as ended:
        start()
    assert ended.value.code == 2
    assert "compare -- NAME" in capsys.readouterr().err


def test_a_long_value_does_not_fill_the_screen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark", "run", "--workers", "9" * 5000])
    with pytest.raises(SystemExit) as ended:
        start()
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert "--workers" in message
    assert len(message) < 500


@pytest.mark.parametrize("arguments", [
    ("import-checkpoint", "PATH", "--config", "PATH", "--out", "x"), ("evaluate", "PATH"),
    ("evaluate", __file__, "--val-ids", "PATH"),
    ("predict", "--deployed", "PATH", "x.png"), ("run", "--grid", "--executor", "slurm", "--profile", "PATH"),
])  # fmt: skip
def test_a_pipe_is_not_waited_for(arguments: tuple[str, ...], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "missing"):
        path = str(tmp_path / name)
        error = CliRunner().invoke(main, [path if word == "PATH" else word for word in arguments]).exception
        assert isinstance(error, UserError)
        assert path in str(error)


def test_ctrl_c_while_packages_are_imported_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(arguments: list[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("benchmark.environment.switch_environment", interrupt)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("benchmark", run_name="__main__")
    assert ended.value.code == 130


def test_every_command_that_takes_a_grid_takes_what_its_run_ids_depend_on() -> None:
    """Weights in the data folder and changes of the grid are part of the keys."""
    context = click.Context(main)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        options = {option for parameter in command.params for option in parameter.opts}
        assert "--grid" not in options or {"--set", "--data-dir"} <= options, name


@pytest.mark.parametrize(("error", "said"), [
    (KeyboardInterrupt(), "stopped"),  # by most commands, which have no checkpoint
    (Interrupted(), "stopped; the same command resumes from the last checkpoint"),
])  # fmt: skip
def test_ctrl_c_says_what_the_same_command_does(
    error: BaseException, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(**_: object) -> None:
        raise error

    monkeypatch.setattr("benchmark.cli.main", interrupt)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        start()
    assert ended.value.code == 130
    assert capsys.readouterr().err == f"{said}\n"


def test_an_interrupted_rehearsal_starts_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupt(*_: object) -> None:
        raise Interrupted

    monkeypatch.setattr("benchmark.cli.rehearsal.rehearse", interrupt)
    result = CliRunner().invoke(main, ["run", "--grid", "smoke", "--rehearse", "--results", str(tmp_path)])
    assert str(result.exception) == "a rehearsal starts anew"

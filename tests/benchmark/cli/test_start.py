"""The start of the command line: the messages of mistakes that no command sees."""

from __future__ import annotations

import sys

import pytest

from benchmark.cli import start


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

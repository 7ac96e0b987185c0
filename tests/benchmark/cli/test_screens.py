"""The main screens on stored results fit a terminal of 80 columns."""

from __future__ import annotations

from importlib import import_module

import pytest
from click.testing import CliRunner

from benchmark.cli import COMMANDS, main
from benchmark.errors import UserError
from tests.conftest import ROOT, SmokeRun, environment

WIDTH = 80
SCREENS = [
    "plan --grid smoke --results {results}",
    "status --grid smoke --runs --results {results}",
    "list",
    "list --runs --results {results}",
    "claims --results {results}",
    "claims --full --results {results}",
    "sweep --grid smoke --results {results} --policy confidence --policy pcee",
    "sweep --grid smoke --results {results} --policy confidence --policy entropy --best",
    "compare {first} {second} --results {results}",
    "compare {results} {results}",
    "costs --method lgvit --backbone vit_nano_patch4_28 --num-classes 10",
    "clean --results {results}",
    "data list",
]


def too_wide(text: str, width: int = WIDTH) -> list[str]:
    """Lines over the width, but for one word that cannot be broken, such as a path."""
    lines = (line for line in text.splitlines() if len(line) > width)
    return [line for line in lines if max(map(len, line.split())) < width // 2]


@pytest.mark.parametrize("screen", SCREENS)
def test_screens_fit(smoke: SmokeRun, screen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    first, second = sorted(path.name[-8:] for path in (smoke.results / "runs").iterdir())[:2]
    places = {"results": smoke.results, "first": first, "second": second}
    done = CliRunner().invoke(main, [part.format(**places) for part in screen.split()])
    assert done.exit_code == 0, done.output
    assert not too_wide(done.output)


@pytest.mark.parametrize(
    "change", ["methods=[nix]", "backbones=[nix]", "seed=[1]", "methods=[{name: lgvit, set: {x: 1}}]"]
)
def test_a_mistake_in_a_grid_is_four_lines_at_most(change: str) -> None:
    done = CliRunner().invoke(main, ["plan", "--grid", "smoke", "--set", change])
    assert isinstance(done.exception, UserError)
    assert len(str(done.exception).replace(str(ROOT), "")) <= 4 * WIDTH


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_every_command_fits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    command = import_module(COMMANDS[name][0]).command
    nested = [[each] for each in getattr(command, "commands", {})]
    for arguments in ([], *nested):
        shown = CliRunner().invoke(command, [*arguments, "--help"], prog_name=f"python -m benchmark {name}")
        assert shown.exit_code == 0
        assert [line for line in shown.output.splitlines() if len(line) > WIDTH] == []


def test_the_report_and_its_tables_fit(smoke: SmokeRun) -> None:
    assert not too_wide(smoke.output, int(environment()["COLUMNS"]))
    for name in ("summary.txt", "table.txt"):
        assert max(map(len, (smoke.out / name).read_text().splitlines())) <= WIDTH

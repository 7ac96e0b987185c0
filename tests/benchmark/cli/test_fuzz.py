"""Command lines with strange values end in one sentence, and records with strange fields in one problem: never a traceback."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.cli import start
from results.sealed import KEY, sealed
from results.store.folder import Store
from results.tables.loading import load_runs
from tests.conftest import SmokeRun

STRANGE_TEXT = st.one_of(
    st.sampled_from(["", " ", "nan", "inf", "-inf", "1e400", "-1", "1.99", "0x10", "~nouser", "../..", "\udcff", "\x1b[2J",
                     "[/bold]", "[red]", "$\\frac{$", "x" * 5_000, "confidence:threshold={", "confidence:threshold=nan",
                     "entropy:=", "pcee:patience=1e9", "folder:", "timm:a--b.c", "synthetic:" * 2_000, "?", "*"]),
    st.text(st.characters(exclude_characters="\0"), max_size=12),
)  # fmt: skip
COMMANDS = (
    ("sweep", "--policy"), ("sweep", "--budget"), ("sweep", "--drop"), ("plan", "--grid"), ("status", "--grid"),
    ("plan", "--why"),
    ("report", "--grid"), ("report", "--format"), ("claims", "--grid"), ("costs", "--method", "lgvit", "--backbone"),
    ("data", "where"), ("reproduce",), ("compare", "a"), ("latency", "--run"), ("retry", "--cause"),
)  # fmt: skip


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(command=st.sampled_from(COMMANDS), value=STRANGE_TEXT)
def test_strange_values_of_options_are_mistakes(command: tuple[str, ...], value: str) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        results = ["--results", f"{folder}/results"] if command[0] not in ("costs", "data") else []
        patch.setattr(sys, "argv", ["benchmark", *command, value, *results])
        with pytest.raises(SystemExit) as ended:
            start()
        assert ended.value.code in (0, 1, 2, None)


@pytest.mark.parametrize(("command", "place"), [
    (("run", "--grid", "smoke"), ".lock"), (("run", "--grid", "smoke"), "stages"), (("list", "--runs"), "runs"),
])  # fmt: skip
def test_a_folder_or_file_in_the_place_of_the_other_is_named(
    command: tuple[str, ...],
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if place.startswith("."):
        (tmp_path / place).mkdir()
    else:
        (tmp_path / place).write_text("")
    monkeypatch.setattr(sys, "argv", ["benchmark", *command, "--results", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        start()
    assert ended.value.code == 2
    assert str(tmp_path) in capsys.readouterr().err


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2), st.sampled_from([10**400, -(10**20), 1e30, 1e308, -0.0, 0.5]),
    st.text(max_size=8), st.sampled_from(["\x1b[2J", "=1+1", "$\\frac{$", "_a", "a\nb", "../x", "\u202eabc", "e\u0301", "　"]),
    st.just([]), st.just({}), st.just([[]]), st.just({"a": {"b": 1}}),
)  # fmt: skip


def _places(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    parts = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [*([path] if path else []), *(place for key, part in parts for place in _places(part, (*path, key)))]


def test_strange_fields_of_records_are_problems(smoke: SmokeRun, tmp_path: Path) -> None:
    (source,) = smoke.results.glob("runs/lgvit-*")
    store = Store(tmp_path)
    shutil.copytree(source, store.run(source.name))
    path = store.run(source.name) / "record.json"
    whole = json.loads(path.read_text())
    del whole[KEY]
    places = _places(whole)

    @settings(max_examples=100, deadline=None, derandomize=True, database=None)
    @given(place=st.sampled_from(places), value=VALUES)
    def damage(place: tuple[Any, ...], value: Any) -> None:
        record = json.loads(json.dumps(whole))
        part = record
        for key in place[:-1]:
            part = part[key]
        part[place[-1]] = value
        path.write_text(sealed(json.dumps(record)), encoding="utf-8")
        runs, problems = load_runs(store, [source.name])
        assert len(runs) + len(problems) == 1
        assert all(source.name in problem and "\x1b" not in problem for problem in problems)

    damage()

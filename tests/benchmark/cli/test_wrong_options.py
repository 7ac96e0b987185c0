"""Wrong options end at once, with one sentence that names the option."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmark.cli import main
from benchmark.errors import UserError
from results.store.files import StoreError


@pytest.mark.parametrize(("line", "parts"), [
    ("run --grid smoke --results EMPTY", ["--results is empty"]),
    ("run --grid smoke --out EMPTY", ["--out is empty"]),
    ("run --grid smoke --data-dir EMPTY", ["--data-dir is empty"]),
    ("claims --out EMPTY", ["--out is empty"]),
    ("run --grid smoke --device gpu", ["--device gpu", "auto, cpu, cuda and cuda:N"]),
    ("latency --run x --device cuda:x", ["--device cuda:x", "auto, cpu, cuda and cuda:N"]),
    ("run --grid smoke --results FOLDER/results --out FOLDER/file/report", ["FOLDER/file is no folder", "--out"]),
    ("compare FOLDER FOLDER/nothing", ["FOLDER is a results folder", "FOLDER/nothing is none"]),
    ("rn", ["unknown command 'rn'", "did you mean 'run'?"]),
])  # fmt: skip
def test_one_sentence_names_the_option(line: str, parts: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    words = ["" if word == "EMPTY" else word.replace("FOLDER", str(tmp_path)) for word in line.split()]
    error = CliRunner().invoke(main, words).exception
    assert isinstance(error, UserError | StoreError)
    assert [part for part in parts if part.replace("FOLDER", str(tmp_path)) not in str(error)] == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]

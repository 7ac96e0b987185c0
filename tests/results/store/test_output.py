"""A table is written to the user's path, and replaces only an earlier table."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pandas as pd
import pytest

from results.store.files import StoreError
from results.store.output import write_table

TABLE = pd.DataFrame({"run": ["a"], "accuracy": [0.5]})
TEXT = "run,accuracy\na,0.5\n"


def test_an_earlier_table_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "table.csv"
    write_table(path, TABLE)
    write_table(path, TABLE)
    assert path.read_text() == TEXT


@pytest.mark.parametrize("content", ["my notes", "run\n", "run,accuracy,label\n", "x" * 10_000])
def test_other_files_stay(tmp_path: Path, content: str) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(content)
    link = tmp_path / "link"
    link.symlink_to(path)
    for named in (path, link):
        with pytest.raises(StoreError, match="--out"):
            write_table(named, TABLE)
    assert path.read_text() == content
    assert link.is_symlink()


def test_output_into_a_pipe_does_not_replace_it(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(StoreError, match="no program reads"):
        write_table(pipe, TABLE)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_table(pipe, TABLE)
    assert os.read(reader, 1000).decode() == TEXT
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="--out"):
        write_table(tmp_path, TABLE)

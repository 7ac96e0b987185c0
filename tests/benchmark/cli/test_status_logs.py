"""`status` reads logs inside the results folder only: their paths come from files that may be a stranger's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from rich.console import Console

from benchmark.cli.status_view import _log
from benchmark.execution.status import Status
from benchmark.grid.load import find_grid, load_grid
from benchmark.stages.plan import make_plan
from results.store.folder import Store


@pytest.mark.parametrize("kind", ["inside", "outside", "link", "pipe", "missing"])
def test_only_plain_files_of_the_folder_are_read(tmp_path: Path, kind: str) -> None:
    store = Store(tmp_path / "results")
    (store.root / "logs").mkdir(parents=True)
    secret, log = tmp_path / "secret", store.root / "logs" / "worker.log"
    secret.write_text("secret line\n")
    if kind == "inside":
        log.write_text("secret line\n")
    elif kind == "link":
        log.symlink_to(secret)
    elif kind == "pipe":
        os.mkfifo(log)
    status = Status(make_plan(load_grid(find_grid("smoke")), store), store)
    console = Console(record=True, width=200, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    for part in _log(status, str(secret if kind == "outside" else log)):
        console.print(part)
    text = console.export_text()
    assert ("secret line" in text) == (kind == "inside")

"""The commands on the pages of docs/ run, on a copy of the results of the grid `smoke`, which stand for those of any grid.

Not run here: `docs/commands.md` and `docs/slurm.md` (generated, or for a cluster), `docs/reference-results.md` (hours), and
lines that are marked as needing a GPU, a cluster or a download.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmark.cli import main
from benchmark.grid.load import find_grid
from benchmark.representations import logistic
from datasets.cifar import CIFAR_100
from results.store.folder import Store
from tests.conftest import SmokeRun
from tests.datasets.photos import write_photos
from tests.external_tables import answers_of
from tests.test_documentation import COMMAND_LINES, parsed, words_of

NOT_HERE = ("docs/commands.md", "docs/slurm.md", "docs/reference-results.md")
MARKS = re.compile(r"\[(GPU|cluster|download)\]")
SHORTER = {
    "latency": ("--images", "40", "--warmup", "1"), "bench loader": ("--batches", "3"), "report": ("--format", "markdown"),
    "run": ("--format", "markdown"), "sweep": ("--policy", "entropy"),
}  # fmt: skip
"""Options that make a command fast; the last value of an option counts. `tests/benchmark/evaluation/test_sweep.py` sweeps all
policies, and the fixture `smoke` runs a grid with its PDF."""


def distinct_lines() -> list[tuple[str, str]]:
    """The lines to run. Those that differ only in the name of a grid run once: every grid is `smoke` here."""
    lines: dict[tuple[str, ...], tuple[str, str]] = {}
    for page, line in COMMAND_LINES:
        if page not in NOT_HERE and not MARKS.search(line):
            words = words_of(line)
            same = tuple(
                "GRID" if before == "--grid" else word for before, word in zip(["", *words], words, strict=False)
            )
            lines.setdefault(same, (page, line))
    return list(lines.values())


def copy(results: Path, folder: Path) -> None:
    """Hard links: finished files are never changed in place."""
    if not folder.exists():
        shutil.copytree(results, folder, copy_function=os.link)


def prepare(folder: Path, smoke: SmokeRun, words: list[str]) -> list[str]:
    """Make what the words of a command name, and replace the placeholders among them."""
    store = Store(smoke.results)
    lgvit, vanilla = (next(id_ for id_ in store.run_ids() if id_.startswith(name)) for name in ("lgvit-", "vanilla-"))
    grid = find_grid("smoke").read_text(encoding="utf-8")
    names = {"RUN": lgvit[-8:], "OTHER_RUN": vanilla[-8:], "IMAGES": "photos"}
    words = [names.get(word, word) for word in words]
    for at, word in enumerate(words):
        if word in ("results", "MINE", "THEIRS", "THEIR_RESULTS", "results/reference"):
            copy(smoke.results, folder / word)
        elif words[at - 1] == "--grid":
            words[at] = f"{Path(word).stem}.yaml"
            (folder / words[at]).write_text(grid, encoding="utf-8")
        elif word in ("photos", "folder:photos"):
            write_photos(folder / "photos")
        elif word == "exits.csv":
            answers_of(store, store.done_record(lgvit)).to_csv(folder / word, index=False)
        elif word == "DIR":
            for name in CIFAR_100.markers:  # `data where` looks for these files
                (folder / word / name).parent.mkdir(exist_ok=True)
                (folder / word / name).touch()
    return words


def invoke(words: list[str]) -> str:
    done = CliRunner().invoke(main, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.slow
@pytest.mark.parametrize(("page", "line"), distinct_lines())
def test_commands_on_pages_run(
    page: str, line: str, smoke: SmokeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logistic, "ITERATIONS", 10)  # of the probes that `explain` fits
    words = prepare(tmp_path, smoke, words_of(line))
    options = {option for parameter in parsed(words).command.params for option in parameter.opts}
    if "--results" in options and "--results" not in words:
        copy(smoke.results, tmp_path / "results")
        words += ["--results", "results"]
    if "--out" in options and "--out" not in words and words[0] in ("run", "report", "retry"):
        words += ["--out", "out"]
    if "--into" in options:
        words += ["--into", "second"]
    for name, shorter in SHORTER.items():
        if " ".join(words).startswith(name) and (name == "latency" or shorter[0] not in words):
            words += shorter
    if "server" in words:
        words += ["--requests", "40"]
    assert invoke(words).strip()

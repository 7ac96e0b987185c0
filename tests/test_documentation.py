"""The documentation is correct: the worked example of CONTRIBUTING, the commands of the README, plug-ins."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import click
import pytest
import yaml

from benchmark.cli import COMMANDS, main
from benchmark.grid.load import find_grid
from tests.conftest import ROOT, call, environment
from tests.generated_pages import PAGES, rendered
from tests.grids import write_grid

DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix() for folder in (ROOT, ROOT / "docs") for path in folder.glob("*.md")
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this checkout without the files made by running it."""
    copy = tmp_path_factory.mktemp("clone") / "checkout"
    made = shutil.ignore_patterns(".git", ".tox", "__pycache__", "out", ".*_cache", ".hypothesis")

    def ignored(folder: str, names: list[str]) -> set[str]:
        results = {"runs", "stages", "progress"} if Path(folder) == ROOT / "results" else set()
        return set(made(folder, names)) | results

    shutil.copytree(ROOT, copy, ignore=ignored)
    return copy


NAMES_A_TASK = re.compile(
    r"""["'](segmentation|detection)["']|\.is_(segmentation|detection)\b|\b(SEGMENTATION|DETECTION)\b"""
)
"""The code of a dense task."""


def test_the_places_that_a_new_task_touches_are_listed() -> None:
    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8").partition("## A new task")[2]
    listed = set(re.findall(r"`((?:benchmark|datasets|methods|reports|results)/[\w/]+\.py)`", text))
    assert not [path for path in listed if not (ROOT / path).is_file()]
    naming = {
        path.relative_to(ROOT).as_posix()
        for folder in ("benchmark", "datasets", "methods", "reports", "results")
        for path in (ROOT / folder).rglob("*.py")
        if NAMES_A_TASK.search(code := path.read_text(encoding="utf-8")) and 'task="' not in code  # no dataset
    }
    own = {"methods/tasks/__init__.py", "results/metric.py", "benchmark/bundled_weights.py"}
    assert naming - own <= listed


@pytest.mark.slow
def test_the_worked_example_of_contributing(checkout: Path) -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    name = re.search(r"The file, `([^`]+)`:", text)
    assert name is not None
    source, line = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    (checkout / name[1]).write_text(source)
    registry = checkout / "methods" / "__init__.py"
    start = "METHODS: dict[str, MethodCard] = {\n"
    registry.write_text(registry.read_text().replace(start, start + line))

    listed = subprocess.run(
        [sys.executable, "-m", "benchmark", "list"], cwd=checkout, env=environment(), capture_output=True, text=True
    )
    assert "reversed-lgvit" in listed.stdout, listed.stderr
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "tests/methods/test_contract.py",
        "-k",
        "reversed-lgvit",
        "-p",
        "no:cacheprovider",
    ]
    tested = subprocess.run(command, cwd=checkout, env=environment(), capture_output=True, text=True)
    assert tested.returncode == 0, tested.stdout
    assert "5 passed" in tested.stdout

    grid = checkout / "order.yaml"
    (content,) = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    grid.write_text(content)
    planned = subprocess.run(
        [sys.executable, "-m", "benchmark", "plan", "--grid", "order.yaml"],
        cwd=checkout, env=environment(), capture_output=True, text=True,
    )  # fmt: skip
    assert "in one pass over the data: lgvit, reversed-lgvit" in planned.stdout, planned.stderr


def test_a_method_of_an_installed_package_is_registered(tmp_path: Path) -> None:
    (tmp_path / "their_method.py").write_text(
        "from methods.api import MethodCard\n"
        "from methods.vanilla import Vanilla\n"
        "card = MethodCard(target='their_method:Vanilla', summary='from outside', display_name='Theirs')\n"
    )
    info = tmp_path / "their_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[lgvit_bench.method]\ntheirs = their_method:card\n")
    grid = write_grid(tmp_path / "grid.yaml", methods=["theirs"])
    env = environment(PYTHONPATH=str(tmp_path))
    assert "from outside" in call("list", env=env).stdout
    planned = call("plan", "--grid", grid, env=env)
    assert planned.returncode == 0, planned.stderr
    assert "to run  theirs" in planned.stdout


@pytest.mark.parametrize("code", ["card = 1 / 0\n", "card = 'no card'\n"])
def test_a_broken_entry_point_is_named(tmp_path: Path, code: str) -> None:
    (tmp_path / "their_method.py").write_text(code)
    info = tmp_path / "their_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[lgvit_bench.method]\ntheirs = their_method:card\n")
    done = call("list", env=environment(PYTHONPATH=str(tmp_path)))
    assert done.returncode == 2
    assert all(word in done.stderr for word in ("theirs", "their-package", "their_method:card"))
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_in_documents_exist(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for command in re.findall(r"(?:python -m benchmark|bin/lgvit-bench) ([a-z-]+)", text):
        assert command in COMMANDS, f"{document} speaks of {command!r}"


def commands_of(document: str) -> list[str]:
    """The lines of a document that call the suite, with their comments."""
    text = (ROOT / document).read_text(encoding="utf-8").replace("\\\n", " ")
    return [line.strip() for line in re.findall(r"^ {4}python -m benchmark .*$", text, flags=re.MULTILINE)]


def words_of(line: str) -> list[str]:
    """The words after ``python -m benchmark``, without comment and redirection."""
    _, _, _, *words = shlex.split(line.partition(" > ")[0], comments=True)
    return words


def parsed(words: list[str]) -> click.Context:
    """The context of the command that the words call, with its options read and checked."""
    context = main.make_context("benchmark", words)
    while isinstance(context.command, click.Group):
        name, command, rest = context.command.resolve_command(context, context._protected_args + context.args)
        assert command is not None
        context = command.make_context(name, rest, parent=context)
    return context


COMMAND_LINES = sorted({(document, line) for document in DOCUMENTS for line in commands_of(document)})


@pytest.mark.parametrize(("document", "line"), COMMAND_LINES)
def test_command_lines_in_documents_parse(
    document: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the options: names such as RUN and DIR stand for what the reader has. Files that are named exist."""
    words = words_of(line)
    monkeypatch.chdir(tmp_path)
    for word in words:
        if re.search(r"\.(bin|csv|json|parquet|txt|yaml)$", word):
            (tmp_path / word).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / word).touch()
    parsed(words)
    needs = {"--executor slurm": "[cluster]", "data fetch": "[download]"}
    if document in ("docs/commands.md", "docs/slurm.md"):  # generated, and all for a cluster
        return
    for words_of_command, mark in needs.items():
        if words_of_command in line.partition("#")[0]:
            assert mark in line, f"{document}: mark {line!r} with {mark}"


@pytest.mark.parametrize(
    ("document", "grid"),
    [
        ("CONTRIBUTING.md", "quick"),
        ("docs/segmentation.md", "segmentation-cpu"),
        ("docs/detection.md", "detection-cpu"),
    ],
)
def test_an_example_that_shares_stages_with_a_shipped_grid_trains_as_it_does(document: str, grid: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    block = re.search(r"^( *)name: .*\n(?:\1(?!```).+\n)+", text, flags=re.MULTILINE)
    assert block is not None
    example, shipped = yaml.safe_load(textwrap.dedent(block[0])), yaml.safe_load(find_grid(grid).read_text())
    for key in ("backbones", "datasets", "exits", "recipes"):
        assert example.get(key, ["paper"]) == shipped[key]


def test_concepts_and_the_readme_state_the_same_speed_ups() -> None:
    row = re.search(r"^\| LGViT \|.*", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert row is not None
    _, macs, time_of_one, _ = re.findall(r"([\d.]+)×", row[0])
    text = " ".join((ROOT / "docs" / "concepts.md").read_text(encoding="utf-8").split())
    assert f"LGViT's {macs}× in MACs is {time_of_one}× in time for single images" in text


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_in_documents_exist(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    made_by_running = ("results/", "reports/out", ".tox")
    for name in re.findall(r"`([\w./-]+/[\w.-]+\.(?:py|yaml|md|txt|png))`", text):
        if not name.startswith(made_by_running) and "reversed" not in name:
            assert (ROOT / name).exists(), f"{document} names {name}"
    for target in re.findall(r"\]\(([\w./-]+)\)", text):
        assert ((ROOT / document).parent / target).exists(), f"{document} links to {target}"


@pytest.mark.parametrize("page", [path.name for path in PAGES.glob("*.md")])
def test_generated_parts_of_pages_are_current(page: str) -> None:
    text = (PAGES / page).read_text(encoding="utf-8")
    assert rendered(text) == text, ".tox/py/bin/python -m tests.generated_pages writes the pages again"


def test_every_page_is_in_the_menu() -> None:
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert sorted(re.findall(r"[\w-]+\.md", menu)) == sorted(path.name for path in PAGES.glob("*.md"))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_helps_with_an_example(command: str) -> None:
    done = call(command, "--help")
    assert done.returncode == 0
    assert f"python -m benchmark {command}" in done.stdout


def test_the_modules_doctests_hold() -> None:
    modules = ["benchmark/seeds.py", "benchmark/progress.py", "results/stats/curves.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--doctest-modules", *modules, "-p", "no:cacheprovider"],
        cwd=ROOT, env=environment(), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert re.search(r"\d+ passed", done.stdout)

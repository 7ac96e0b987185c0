"""Rules for the whole tree: import directions, modules without torch, file names, and priority of our `datasets` package."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from benchmark.cli import COMMANDS
from tests.conftest import ROOT, call, environment

OURS = {"benchmark", "methods", "datasets", "results", "reports"}
MAY_IMPORT = {
    "benchmark": {"benchmark", "methods", "datasets", "results"},
    "methods": {"methods"},
    "datasets": {"datasets"},
    "results": {"results"},
    "reports": {"reports", "results"},
}
# Commands that write a report.
REPORT_COMMANDS = {
    "benchmark/cli/grid_report.py",
    "benchmark/cli/report.py",
    "benchmark/execution/slurm/report_job.py",  # the last job does what `run` does at its end
}
SOURCES = sorted(path for folder in OURS for path in (ROOT / folder).rglob("*.py") if "out" not in path.parts)


def imported(path: Path) -> set[str]:
    """Top-level names that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    allowed = MAY_IMPORT[name.split("/")[0]] | ({"reports"} if name in REPORT_COMMANDS else set())
    assert imported(path) & OURS <= allowed


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_results_and_reports_import_no_torch(path: Path) -> None:
    if path.relative_to(ROOT).parts[0] in ("results", "reports"):
        assert not imported(path) & {"torch", "torchvision", "timm", "fvcore"}


def test_no_file_is_called_utils() -> None:
    assert not [path for path in SOURCES if path.stem in {"utils", "helpers", "common", "misc"}]


def test_help_imports_next_to_nothing() -> None:
    code = "import sys; from benchmark.cli import main; main(['--help'], standalone_mode=False); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"torch", "numpy", "pandas", "pydantic", "rich", "yaml"}
    assert "python -m benchmark run --grid" in done.stdout


def test_our_datasets_has_priority_over_another_package(tmp_path: Path) -> None:
    other = tmp_path / "datasets"
    other.mkdir()
    (other / "__init__.py").write_text("raise RuntimeError('the wrong datasets')")
    env = environment(PYTHONPATH=str(tmp_path))
    assert call("list", env=env).returncode == 0

    # The launcher works in any folder, also in that of the other package.
    done = subprocess.run(
        [ROOT / "bin" / "lgvit-bench", "list"], cwd=tmp_path, env=environment(PYTHON=sys.executable),
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "fashion-mnist-mini" in done.stdout


def test_a_package_imported_before_ours_is_named(tmp_path: Path) -> None:
    other = tmp_path / "datasets"
    other.mkdir()
    (other / "__init__.py").write_text("")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import datasets\n"
        f"sys.path.insert(0, {str(ROOT)!r}); import runpy; runpy.run_module('benchmark', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert str(other) in done.stderr
    assert "Traceback" not in done.stderr


def test_attributes_of_hugging_faces_datasets_have_a_clear_error() -> None:
    import datasets

    with pytest.raises(AttributeError, match="Hugging Face"):
        datasets.load_dataset  # noqa: B018


def test_nothing_is_installed_as_a_package() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["setuptools"]["packages"] == []
    assert "Private :: Do Not Upload" in project["project"]["classifiers"]


def test_the_tests_install_what_the_extra_deploy_names() -> None:
    """`demo` shares the environment of the tests and does not install them, so tox names them in a command of the tests."""
    import configparser
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    installed = tox["testenv"]["commands_pre"].split("constraints.txt ")[1].split()
    assert installed == [name.split(">")[0] for name in project["optional-dependencies"]["deploy"]]
    assert tox["testenv"]["extras"] == "test"


def test_commands_do_not_import_each_other() -> None:
    modules = {module for module, _ in COMMANDS.values()}
    for path in sorted((ROOT / "benchmark" / "cli").glob("*.py")):
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        imports = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
        assert not imports & modules, path.name


# The reason of each file outside the command line and the registry that imports inside a function.
SCIPY = "scipy is slow to import, and `list` and `plan` read the same modules"
DEFERRED_IMPORTS = {
    "benchmark/doctor/checks.py": "the doctor starts where packages are missing",
    "benchmark/provenance.py": "reports and plans read provenance without torch",
    "benchmark/weights.py": "huggingface_hub is slow to import, and plans rarely need it",
    "benchmark/execution/tensorboard.py": "tensorboard is an optional package",
    "benchmark/execution/after_runs.py": "torch, where latencies or probes are missing",
    "benchmark/execution/cancelling.py": "submitit, for folders with submissions alone",
    "benchmark/execution/pool.py": "torch, in the process that works",
    "methods/policies/risk_control.py": "scipy is slow to import, and most policies do not need it",
    "methods/policies/temperature.py": "likewise",
    "datasets/imagenet.py": "scipy, for the official devkit alone",
    "datasets/timm_augment.py": "torch and timm, in the processes that train",
    "methods/backbones/timm_cards.py": "huggingface_hub is slow to import, and plans rarely need it",
    "results/judge/ranking.py": SCIPY,
    "results/judge/verdicts.py": SCIPY,
    "results/stats/controls.py": SCIPY,
    "results/stats/significance.py": SCIPY,
    "results/stats/statistics.py": SCIPY,
    "results/store/sharing.py": "pyarrow, for shared records alone",
}


def deferred_imports(path: Path) -> list[int]:
    """Line numbers of the imports inside functions."""
    functions = [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return [
        node.lineno
        for function in functions
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_are_at_the_top(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    if not name.startswith("benchmark/cli/") and name != "benchmark/registry.py":
        assert bool(deferred_imports(path)) is (name in DEFERRED_IMPORTS)


def test_each_help_has_an_example_and_needs_no_torch() -> None:
    code = f"""
import sys
from benchmark.cli import main
for name in {[*COMMANDS]}:
    main([name, "--help"], standalone_mode=False)
    assert "torch" not in sys.modules, name
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in COMMANDS:
        assert f"  python -m benchmark {name}" in done.stdout


def test_the_hooks_before_a_commit_have_the_tested_versions() -> None:
    pinned = (ROOT / "constraints.txt").read_text().splitlines()
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    versions = {package for hook in hooks for package in hook.get("additional_dependencies", [])}
    assert versions
    assert versions <= set(pinned)

"""The rules of the house: who imports whom, what needs no torch, what a file may be called, whose `datasets` wins."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

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
# A report is made inside its commands.
REPORT_COMMANDS = {
    "benchmark/cli/run.py",
    "benchmark/cli/grid_run.py",
    "benchmark/cli/report.py",
    "benchmark/execution/slurm/report_job.py",  # the last job does what `run` does at its end
}
SOURCES = sorted(path for folder in OURS for path in (ROOT / folder).rglob("*.py") if "out" not in path.parts)


def imported(path: Path) -> set[str]:
    """Top-level names that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


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


def test_our_datasets_wins_over_an_impostor(tmp_path: Path) -> None:
    impostor = tmp_path / "datasets"
    impostor.mkdir()
    (impostor / "__init__.py").write_text("raise RuntimeError('the wrong datasets')")
    env = environment(PYTHONPATH=str(tmp_path))
    assert call("list", env=env).returncode == 0

    # The launcher starts anywhere: here, in the impostor's own folder.
    done = subprocess.run(
        [ROOT / "bin" / "lgvit-bench", "list"], cwd=tmp_path, env=environment(PYTHON=sys.executable),
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "fashion-mnist-mini" in done.stdout


def test_an_impostor_that_came_first_is_named(tmp_path: Path) -> None:
    impostor = tmp_path / "datasets"
    impostor.mkdir()
    (impostor / "__init__.py").write_text("")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import datasets\n"
        f"sys.path.insert(0, {str(ROOT)!r}); import runpy; runpy.run_module('benchmark', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert str(impostor) in done.stderr
    assert "Traceback" not in done.stderr


def test_who_wanted_hugging_face_is_told() -> None:
    import datasets

    with pytest.raises(AttributeError, match="Hugging Face"):
        datasets.load_dataset  # noqa: B018


def test_nothing_is_installed_as_a_package() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["setuptools"]["packages"] == []
    assert "Private :: Do Not Upload" in project["project"]["classifiers"]


def test_commands_do_not_import_each_other() -> None:
    modules = {module for module, _ in COMMANDS.values()}
    for path in sorted((ROOT / "benchmark" / "cli").glob("*.py")):
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        imports = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
        assert not imports & modules, path.name


# Outside the command line and the registry an import inside a function needs a reason.
DEFERRED_IMPORTS = {
    "benchmark/doctor/checks.py": "the doctor starts where packages are missing",
    "benchmark/provenance.py": "reports and plans read provenance without torch",
    "benchmark/weights.py": "huggingface_hub is slow to import, and plans rarely need it",
    "benchmark/execution/pool.py": "torch, in the process that works",
    "methods/policies": "scipy, for the policies that fit something",
    "datasets/imagenet.py": "scipy, for the official devkit alone",
    "datasets/timm_augment.py": "torch and timm, in the processes that train",
    "results/judge": "scipy is slow to import, and `list` reads the same modules",
    "results/stats": "scipy is slow to import, and `list` reads the same modules",
    "results/store/sharing.py": "pyarrow, for shared records alone",
    "results/tables/run.py": "pyarrow, for runs with tables",
    "reports": "plotting and typesetting are slow to import, and `run` checks the report's folder first",
}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_are_at_the_top(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    if name.startswith("benchmark/cli/") or name == "benchmark/registry.py":
        return
    if any(name == allowed or name.startswith(f"{allowed}/") for allowed in DEFERRED_IMPORTS):
        return
    for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            assert not [node.lineno for node in ast.walk(function) if isinstance(node, ast.Import | ast.ImportFrom)]


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

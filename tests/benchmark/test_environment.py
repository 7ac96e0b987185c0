"""A Python without the packages restarts in the environment made by tox, or explains how to make it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.checkout import PACKAGES as OURS
from tests.conftest import ROOT, environment


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A minimal checkout with only the start of the command line."""
    for package in OURS:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    for name in ("__main__", "checkout", "environment", "errors"):
        shutil.copy(ROOT / "benchmark" / f"{name}.py", tmp_path / "benchmark")
    return tmp_path


def run_bare(checkout: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """``python -m benchmark`` in a Python without site-packages."""
    command = [sys.executable, "-S", "-m", "benchmark", *arguments]
    return subprocess.run(command, cwd=checkout, env=environment(**variables), capture_output=True, text=True)


def test_it_restarts_in_the_environment_of_tox(checkout: Path) -> None:
    python = checkout / ".tox" / "py" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\nprintf "%s|" "$@"\nexit 7\n')
    python.chmod(0o755)
    done = run_bare(checkout, "list", "--runs", "a b")
    assert done.returncode == 7
    assert done.stdout == "-m|benchmark|list|--runs|a b|"
    (line,) = done.stderr.splitlines()
    assert ".tox/py/bin/python" in line

    again = run_bare(checkout, "list", LGVIT_BENCH_SWITCHED="1")  # that environment lacks packages, too
    assert again.returncode == 2


def test_without_an_environment_it_explains_how_to_make_one(checkout: Path) -> None:
    done = run_bare(checkout, "run", "--grid")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "tox -e demo" in line
    assert "click" in line

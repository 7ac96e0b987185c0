"""A change of the code behind a stage must not go unnoticed by its key; a comment must not retrain a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import code_versions


@pytest.mark.parametrize("name", code_versions.units())
def test_code_and_version_go_together(name: str) -> None:
    version, modules = code_versions.units()[name]
    entry = code_versions.on_file().get(name)
    advice = f"{name}: see tests/code_versions.py"
    assert entry is not None, advice
    assert (entry["version"], entry["tree"]) == (version, code_versions.fingerprint(modules)), advice


def test_nothing_on_file_has_gone() -> None:
    assert set(code_versions.on_file()) == set(code_versions.units())


def test_comments_and_docstrings_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_versions, "ROOT", tmp_path)
    source = tmp_path / "module.py"
    source.write_text('def f():\n    """One."""\n    return 1\n')
    first = code_versions.fingerprint(("module.py",))
    source.write_text('# Why.\ndef f():\n    """Another."""\n    return 1  # one\n')
    assert code_versions.fingerprint(("module.py",)) == first
    source.write_text("def f():\n    return 2\n")
    assert code_versions.fingerprint(("module.py",)) != first

"""The JSON schema of grid files: it accepts every shipped grid and the template, and refuses common mistakes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from jsonschema import Draft7Validator

from benchmark.cli.list import command as list_command
from benchmark.cli.new_grid import command as new_grid
from benchmark.errors import UserError
from benchmark.grid.grid_file import GridFile
from benchmark.grid.load import load_grid
from benchmark.grid.schema import grid_schema
from benchmark.grid.template import template
from benchmark.grid.yaml_files import ValueLoader
from benchmark.registry import grids
from benchmark.stages.plan import make_plan
from results.store.folder import Store
from tests.grids import tiny_grid

VALIDATOR = Draft7Validator(grid_schema())


def test_the_schema_is_valid_and_has_every_key() -> None:
    Draft7Validator.check_schema(grid_schema())
    properties = grid_schema()["properties"]
    assert list(properties) == list(GridFile.model_fields)
    assert all(schema["description"] for schema in properties.values())


def test_shipped_grids_fit() -> None:
    texts = [path.read_text(encoding="utf-8") for path in grids().values()]
    for text in [*texts, template("mine")]:
        assert list(VALIDATOR.iter_errors(yaml.load(text, ValueLoader))) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"methods": ["lgvti"]}, {"backbones": None}, {"exits": [[0, 3]]}, {"seeds": ["a"]}, {"epoch": 3},
        {"recipes": {"finetune": {"epochs": -1}}}, {"recipes": {"finetune": {"augment": "no-such"}}},
        {"overrides": [{"method": "lgvit"}]}, {"include": [{"methods": "lgvit"}]}, {"policies": ["no-such"]},
    ],
)  # fmt: skip
def test_mistakes_do_not_fit(changes: dict[str, Any]) -> None:
    assert VALIDATOR.is_valid(tiny_grid(datasets=["folder:photos"]))
    assert not VALIDATOR.is_valid(tiny_grid(**changes))


def test_list_prints_the_schema() -> None:
    done = CliRunner().invoke(list_command, ["--schema"])
    assert yaml.safe_load(done.output) == grid_schema()


@pytest.mark.parametrize("name", ["mine", "2024", "mine.yaml", "folder/mine"])
def test_a_new_grid_plans_as_it_is(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    done = CliRunner().invoke(new_grid, [name], catch_exceptions=False)
    (path,) = tmp_path.rglob("*.yaml")
    assert path.relative_to(tmp_path) == Path(name.removesuffix(".yaml") + ".yaml")
    assert f"plan --grid {path.relative_to(tmp_path)}" in done.output
    grid = load_grid(path)
    assert grid.name == path.stem
    assert len(make_plan(grid, Store(tmp_path)).runs) == 3
    assert max(map(len, path.read_text().splitlines())) <= 128


def test_the_template_has_every_key_and_its_comments_are_correct(tmp_path: Path) -> None:
    """Keys that are commented out load as well."""
    commented = rf"^( *)# ((?:{'|'.join(GridFile.model_fields)}|joint):|  - )"
    text = re.sub(commented, r"\1\2", template("mine"), flags=re.MULTILINE)
    (tmp_path / "mine.yaml").write_text(text)
    content = yaml.load(text, ValueLoader)
    assert set(content) == set(GridFile.model_fields)
    assert "joint" in content["recipes"]
    assert VALIDATOR.is_valid(content)
    assert len(load_grid(tmp_path / "mine.yaml").runs) > 3


@pytest.mark.parametrize("name", ["quick", "a b", "no-folder/mine", ".yaml"])
def test_names_that_cannot_be_used(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError):
        CliRunner().invoke(new_grid, [name], catch_exceptions=False)


def test_a_file_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("content of the user")
    with pytest.raises(UserError, match=r"mine\.yaml"):
        CliRunner().invoke(new_grid, ["mine"], catch_exceptions=False)
    assert (tmp_path / "mine.yaml").read_text() == "content of the user"

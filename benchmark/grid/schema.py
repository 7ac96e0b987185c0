"""A JSON schema of grid files, with which editors complete keys and names and mark mistakes while a file is written."""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import Any

from pydantic import BaseModel

from benchmark import registry
from benchmark.grid.grid_file import AXES, GridFile
from benchmark.grid.values import MAX_SEED, OWN
from datasets.folder import PREFIX
from datasets.joint_augment import JOINT_AUGMENTATIONS
from methods.placement import PUBLISHED, SCHEMES
from results.operating_point import BUDGETS
from results.spec import DEFAULT_RECIPES, Recipe, Recipes

DRAFT = "http://json-schema.org/draft-07/schema#"


def grid_schema() -> dict[str, Any]:
    """The schema (JSON Schema, draft 7), with the names that are registered now."""
    properties = _properties(GridFile)
    values = _values()
    for axis, key in AXES.items():
        properties[key]["items"] = values[axis]
    properties["policies"]["items"] = _named([OWN, *registry.table("policy")])
    properties["recipes"] |= _recipes()
    combination = _object(values)
    properties["include"]["items"] = properties["exclude"]["items"] = combination
    properties["overrides"]["items"] = _object({**values, "recipes": _recipes()}) | {"required": ["recipes"]}
    endpoint = {"method": values["method"], "against": {"type": "array", "items": values["method"], "minItems": 1}}
    endpoint["macs"] = {"enum": list(BUDGETS)}
    properties["primary"]["anyOf"][0] = _object(endpoint) | {"required": list(endpoint)}
    required = [key for key, field in GridFile.model_fields.items() if field.is_required()]
    return {"$schema": DRAFT, "title": "Grid of LGViT-Bench", **_object(properties), "required": required}


def attribute_docstrings(cls: type) -> dict[str, str]:
    """The string below each field of a class, on one line."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    texts = {}
    for statement, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(text, ast.Expr):
            assert isinstance(statement.target, ast.Name)
            assert isinstance(text.value, ast.Constant)
            texts[statement.target.id] = " ".join(str(text.value.value).split())
    return texts


def _values() -> dict[str, dict[str, Any]]:
    """The schema of one value on each axis."""
    datasets = _named(registry.table("dataset"))
    datasets["anyOf"].append({"type": "string", "pattern": f"^{PREFIX}."})
    datasets["anyOf"][1]["properties"]["name"] = {"type": "string"}
    exits = _named([*SCHEMES, PUBLISHED])
    exits["anyOf"].append({"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1})
    return {
        "backbone": _named(registry.table("backbone")),
        "dataset": datasets,
        "method": _named(registry.table("method")),
        "exits": exits,
        "seed": {"type": "integer", "minimum": 0, "maximum": MAX_SEED},
    }


def _named(names: Any) -> dict[str, Any]:
    """A name, or a name with options."""
    name = {"enum": list(dict.fromkeys(names))}
    return {"anyOf": [name, _object({"name": name, "set": {"type": "object"}}) | {"required": ["name"]}]}


def _recipes() -> dict[str, Any]:
    keys = _properties(Recipe)
    keys["augment"]["enum"] = list(JOINT_AUGMENTATIONS)
    texts = attribute_docstrings(Recipes)
    return _object({stage: {**_object(keys), "description": texts[stage]} for stage in DEFAULT_RECIPES})


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _properties(model: type[BaseModel]) -> dict[str, Any]:
    """The schemas of a model's fields, with their docstrings."""
    properties: dict[str, Any] = model.model_json_schema()["properties"]
    texts = attribute_docstrings(model)
    for key, schema in properties.items():
        schema.pop("title", None)
        schema["description"] = texts[key].replace("``", "`")
    return properties

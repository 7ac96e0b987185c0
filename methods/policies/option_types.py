"""The options of a policy, read from the source of its class, so that a grid is checked without importing torch."""

from __future__ import annotations

import ast
from dataclasses import field, make_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin

from methods.policies import ranges

ROOT = Path(__file__).resolve().parent.parent.parent
TYPES: dict[str, Any] = {"int": int, "float": float, "bool": bool, "str": str}
TYPES |= {name: value for name, value in vars(ranges).items() if get_origin(value) is Annotated}


@lru_cache(maxsize=256)
def options_class(target: str) -> type | None:
    """A dataclass with the options of a policy, their types, ranges and defaults, without the policy's behaviour.

    It refuses NaN and infinite numbers, which no option takes.

    Args:
        target: ``module:class``, as on a card.

    Returns:
        None for a class outside this suite, whose source may be anywhere.
    """
    module, _, name = target.partition(":")
    if not module.startswith("methods."):
        return None
    options = [
        (option, annotation, field(default=default) if has_default else field())
        for option, (annotation, has_default, default) in _options(module, name).items()
    ]
    config = {"__pydantic_config__": {"allow_inf_nan": False}}
    return make_dataclass(name, options, kw_only=True, namespace=config)


def _options(module: str, name: str) -> dict[str, tuple[Any, bool, Any]]:
    """(type, whether there is a default, default) of each option of a dataclass and of its bases."""
    tree = _tree(module)
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    options: dict[str, tuple[Any, bool, Any]] = {}
    if name not in classes:
        return options
    imported = {
        alias.asname or alias.name: (node.module or "", alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    for base in reversed(classes[name].bases):
        text = ast.unparse(base)
        place, original = (module, text) if text in classes else imported.get(text, ("", ""))
        if place.startswith("methods."):
            options |= _options(place, original)
    if not any("dataclass" in ast.unparse(decorator) for decorator in classes[name].decorator_list):
        return options
    for statement in classes[name].body:
        if isinstance(statement, ast.AnnAssign) and "ClassVar" not in ast.unparse(statement.annotation):
            annotation = _type(statement.annotation)
            default = None if statement.value is None else ast.literal_eval(statement.value)
            options[ast.unparse(statement.target)] = (annotation, statement.value is not None, default)
    return options


def _type(annotation: ast.expr) -> Any:
    """The type of an annotation: ``int``, ``float``, ``bool``, ``str``, a type of `methods.policies.ranges`, a ``Literal``,
    or a union of them with None.

    Raises:
        TypeError: it is another type.
    """
    match annotation:
        case ast.Name(id=name) if name in TYPES:
            return TYPES[name]
        case ast.Constant(value=None):
            return None
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _type(left) | _type(right)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=values):
            choices = ast.literal_eval(values)
            return Literal[choices]
    raise TypeError(f"an option of a policy cannot have the type {ast.unparse(annotation)}")


@lru_cache(maxsize=64)
def _tree(module: str) -> ast.Module:
    return ast.parse((ROOT / module.replace(".", "/")).with_suffix(".py").read_text(encoding="utf-8"))

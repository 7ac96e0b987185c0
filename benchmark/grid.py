"""A grid file: which runs to make. Read with every mistake reported at once, and expanded into runs.

The form (all keys but the first four are optional):

    name: quick
    backbones: [vit_nano_patch4_28]
    datasets: [fashion-mnist-mini]
    methods: [static, lgvit]            # a name, or {name: lgvit, set: {feature_terms: true}}
    exits: [paper]                      # a scheme, {name: uniform, set: {count: 4}}, or a list of block numbers
    seeds: [0]
    recipes: {finetune: {epochs: 30}, exits: {epochs: 8}}
    policies: [{name: confidence}]
    include: []                         # partial combinations to add: {method: lgvit, exits: [2, 6], seed: 1}
    exclude: []                         # partial combinations to leave out
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, StrictInt, ValidationError

from benchmark import registry
from benchmark.errors import UserError
from benchmark.spec import DEFAULT_RECIPES, Recipe, Recipes, RunSpec, Selection, TrainSpec
from datasets.api import SPLITS
from datasets.augment import AUGMENTATIONS
from methods.placement import SCHEMES, place_exits

AXES = {"backbone": "backbones", "dataset": "datasets", "method": "methods", "exits": "exits", "seed": "seeds"}


@dataclass(frozen=True)
class Grid:
    """A grid that was read and found sound."""

    name: str
    source: Path
    runs: tuple[RunSpec, ...]


class _File(BaseModel):
    """The keys of a grid file, before names are looked up."""

    model_config = ConfigDict(extra="forbid")

    name: str
    backbones: list[Any]
    datasets: list[Any]
    methods: list[Any]
    exits: list[Any] = ["paper"]
    seeds: list[StrictInt] = [0]
    recipes: dict[str, Any] = {}
    policies: list[Any] = ["confidence"]
    include: list[dict[str, Any]] = []
    exclude: list[dict[str, Any]] = []


@dataclass(frozen=True)
class _Combination:
    """One value on every axis, as it stands in the file: looked up when it becomes a run."""

    backbone: str
    dataset: Selection
    method: Selection
    exits: Selection | tuple[int, ...]
    seed: int


def find_grid(name: str) -> Path:
    """The file of a shipped grid's name, or of a path.

    Raises:
        UserError: neither exists.
    """
    shipped = registry.grids()
    if name in shipped:
        return shipped[name]
    path = Path(name)
    if path.is_file():
        return path.resolve()
    if path.suffix in (".yaml", ".yml") or "/" in name:
        raise UserError(f"--grid: there is no file {path.absolute()}")
    raise UserError("--grid: " + registry.unknown("grid", name, shipped) + "; a path to a YAML file is also taken")


def load_grid(path: Path) -> Grid:
    """Read, check and expand a grid file.

    Raises:
        UserError: one sentence for every mistake in the file.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: no valid YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: a grid is a mapping with the keys {', '.join(_File.model_fields)}")
    return _Reader(path).read(content)


class _Reader:
    """Collects the mistakes of one file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mistakes: list[str] = []

    def wrong(self, where: str, message: str) -> None:
        sentence = f"{self.path}: {where}: {message}"
        if sentence not in self.mistakes:
            self.mistakes.append(sentence)

    def read(self, content: dict[str, Any]) -> Grid:
        file = self.validate(_File, content, "")
        recipes = self.recipes(content.get("recipes") or {})
        if file is None:
            raise UserError(*self.mistakes)
        policies = tuple(self.each("policies", file.policies, partial(self.selection, "policy")))
        combinations = list(self.combinations(file))
        if self.mistakes:
            raise UserError(*self.mistakes)
        assert recipes is not None
        runs: dict[str, RunSpec] = {}
        for combination in combinations:
            run = self.run(combination, recipes, policies)
            runs.setdefault(run.model_dump_json(exclude={"scheme"}), run)
        if not runs:
            raise UserError(f"{self.path}: exclude: leaves no run")
        return Grid(file.name, self.path, tuple(runs.values()))

    def validate(self, model: type[BaseModel], content: dict[str, Any], prefix: str) -> Any:
        """The model, or None with its mistakes noted."""
        try:
            return model.model_validate(content)
        except ValidationError as error:
            for problem in error.errors():
                keys = [str(part) for part in problem["loc"]]
                where = ".".join([prefix, *keys] if prefix else keys)
                if problem["type"] == "extra_forbidden":
                    self.wrong(where, _unknown_key(keys[-1], list(model.model_fields)))
                elif problem["type"] == "missing":
                    self.wrong(where, "this key is required")
                else:
                    self.wrong(where, f"{problem['msg']}, not {problem['input']!r}")
            return None

    def recipes(self, given: Any) -> Recipes | None:
        if not isinstance(given, dict):
            return None  # already noted as a wrong type
        stages: dict[str, Recipe] = {}
        for stage, values in given.items():
            if stage not in DEFAULT_RECIPES:
                self.wrong(f"recipes.{stage}", _unknown_key(stage, list(DEFAULT_RECIPES)))
            elif not isinstance(values, dict):
                self.wrong(f"recipes.{stage}", f"a mapping with keys such as epochs and lr, not {values!r}")
            else:
                merged = DEFAULT_RECIPES[stage].model_dump() | values
                recipe = self.validate(Recipe, merged, f"recipes.{stage}")
                if recipe is not None and recipe.augment not in AUGMENTATIONS:
                    where = f"recipes.{stage}.augment"
                    self.wrong(where, registry.unknown("augmentation", recipe.augment, AUGMENTATIONS))
                elif recipe is not None:
                    stages[stage] = recipe
        return Recipes(**stages)

    def each(self, key: str, values: list[Any], read: Callable[[str, Any], Any]) -> list[Any]:
        """The values of one axis that are sound; an empty axis is a mistake."""
        if not values:
            self.wrong(key, "is empty, so the grid has no run")
        found = [read(f"{key}[{i}]", value) for i, value in enumerate(values)]
        return [value for value in found if value is not None]

    def combinations(self, file: _File) -> Iterator[_Combination]:
        axes = {axis: self.each(key, getattr(file, key), self.reader(axis)) for axis, key in AXES.items()}
        excluded = [self.partial(f"exclude[{i}]", entry) for i, entry in enumerate(file.exclude)]
        if not all(axes.values()):
            return
        products = [axes]
        for i, entry in enumerate(file.include):
            given = self.partial(f"include[{i}]", entry)
            products.append(axes | {axis: [value] for axis, value in given.items()})
        for position, values in enumerate(products):
            for chosen in product(*values.values()):
                combination = _Combination(*chosen)
                if any(rule and _matches(combination, rule) for rule in excluded) and position == 0:
                    continue
                if self.fits(combination):
                    yield combination

    def reader(self, axis: str) -> Callable[[str, Any], Any]:
        readers: dict[str, Callable[[str, Any], Any]] = {
            "backbone": self.backbone,
            "dataset": self.dataset,
            "method": partial(self.selection, "method"),
            "exits": self.exits,
            "seed": self.seed,
        }
        return readers[axis]

    def partial(self, where: str, entry: dict[str, Any]) -> dict[str, Any]:
        """An entry of include or exclude: the axes that it names."""
        found = {}
        for axis, value in entry.items():
            if axis not in AXES:
                self.wrong(where, _unknown_key(axis, list(AXES)))
                continue
            read = self.reader(axis)(f"{where}.{axis}", value)
            if read is not None:
                found[axis] = read
        return found

    def seed(self, where: str, value: Any) -> int | None:
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31:
            return value
        self.wrong(where, f"a seed is a whole number from 0 to {2**31 - 1}, not {value!r}")
        return None

    def backbone(self, where: str, value: Any) -> str | None:
        try:
            registry.card("backbone", value)
        except (KeyError, TypeError) as error:
            self.wrong(where, error.args[0])
            return None
        return value

    def parse(self, where: str, value: Any) -> Selection | None:
        """A name, or a mapping with ``name`` and ``set``."""
        return self.validate(Selection, {"name": value} if isinstance(value, str) else value, where)

    def selection(self, kind: str, where: str, value: Any) -> Selection | None:
        selected = self.parse(where, value)
        if selected is None:
            return None
        try:
            # Policies need torch to be built; their options are checked when the run starts.
            if kind == "policy":
                registry.card(kind, selected.name)
            else:
                registry.configured(kind, selected.name, selected.set)
        except (KeyError, ValueError) as error:
            self.wrong(where, error.args[0])
            return None
        return selected

    def dataset(self, where: str, value: Any) -> Selection | None:
        selected = self.parse(where, value)
        if selected is None:
            return None
        try:
            card = registry.card("dataset", selected.name)
        except KeyError as error:
            self.wrong(where, error.args[0])
            return None
        for split, count in selected.set.items():
            if split not in SPLITS:
                self.wrong(f"{where}.set", _unknown_key(split, list(SPLITS)))
                return None
            low, high = len(card.classes), card.sizes[split]
            if not isinstance(count, int) or isinstance(count, bool) or not low <= count <= high:
                self.wrong(f"{where}.set.{split}", f"a whole number of images from {low} to {high}, not {count!r}")
                return None
        return selected

    def exits(self, where: str, value: Any) -> Selection | tuple[int, ...] | None:
        if isinstance(value, list):
            return self.blocks(where, value)
        selected = self.parse(where, value)
        if selected is None:
            return None
        if selected.name not in SCHEMES:
            self.wrong(where, registry.unknown("exit scheme", selected.name, SCHEMES) + "; or a list of blocks")
            return None
        for key, count in selected.set.items():
            if key != "count":
                self.wrong(f"{where}.set", _unknown_key(key, ["count"]))
                return None
            if not isinstance(count, int) or isinstance(count, bool) or count < 1:
                self.wrong(f"{where}.set.count", f"a number of exits from 1, not {count!r}")
                return None
        return selected

    def blocks(self, where: str, value: list[Any]) -> tuple[int, ...] | None:
        if not value:
            self.wrong(where, "an empty list; a model without early exits is the method 'static'")
        elif any(not isinstance(block, int) or isinstance(block, bool) for block in value):
            self.wrong(where, f"1-based block numbers, not {value!r}")
        elif len(set(value)) < len(value):
            twice = sorted({block for block in value if value.count(block) > 1})
            self.wrong(where, f"block {', '.join(map(str, twice))} is given more than once")
        else:
            return tuple(sorted(value))
        return None

    def fits(self, combination: _Combination) -> bool:
        """Whether the exits exist in the backbone."""
        try:
            _resolve(combination)
        except ValueError as error:
            self.wrong("exits", str(error))
            return False
        return True

    def run(self, combination: _Combination, recipes: Recipes, policies: tuple[Selection, ...]) -> RunSpec:
        blocks = _resolve(combination)
        method = registry.configured("method", combination.method.name, combination.method.set)
        exits = combination.exits
        if not method.heads(len(blocks)):  # a model without early exits is the same under every scheme
            blocks, exits = (), Selection(name="none")
        train = TrainSpec(
            dataset=combination.dataset,
            backbone=combination.backbone,
            method=combination.method,
            exits=blocks,
            recipes=recipes,
            seed=combination.seed,
        )
        label = exits.label if isinstance(exits, Selection) else "blocks " + " ".join(map(str, exits))
        return RunSpec(train=train, scheme=label, policies=policies)


def _resolve(combination: _Combination) -> tuple[int, ...]:
    """The block numbers of a combination's exits."""
    card = registry.card("backbone", combination.backbone)
    if isinstance(combination.exits, Selection):
        return place_exits(combination.exits.name, card.depth, combination.exits.set.get("count"))
    for block in combination.exits:
        if not 1 <= block < card.depth:
            raise ValueError(
                f"block {block} is no early exit of {combination.backbone}: it has {card.depth} blocks, exits are 1 to "
                f"{card.depth - 1}"
            )
    return combination.exits


def _matches(combination: _Combination, rule: dict[str, Any]) -> bool:
    return all(getattr(combination, axis) == value for axis, value in rule.items())


def _unknown_key(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown key {key!r}; {hint}allowed: {', '.join(known)}"

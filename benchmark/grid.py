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

import re
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, StrictInt

from benchmark import registry
from benchmark.errors import UserError
from benchmark.grid_values import ValueReader, unknown_key
from benchmark.selection import seen_selection
from benchmark.spec import Recipes, RunSpec, Selection, TrainSpec
from methods.lookup import unknown
from methods.placement import place_exits

AXES = {"backbone": "backbones", "dataset": "datasets", "method": "methods", "exits": "exits", "seed": "seeds"}


@dataclass(frozen=True)
class Grid:
    """A grid that was read and found sound."""

    name: str
    source: Path
    runs: tuple[RunSpec, ...]


def _file_name(name: str) -> str:
    """Reports go to a folder of this name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ValueError("a name has letters, digits, '.', '_' and '-' and begins with a letter or digit")
    return name


class _File(BaseModel):
    """The keys of a grid file, before names are looked up."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, AfterValidator(_file_name)]
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
    raise UserError("--grid: " + unknown("grid", name, shipped) + "; a path to a YAML file is also taken")


def load_grid(path: Path) -> Grid:
    """Read, check and expand a grid file.

    Raises:
        UserError: one sentence for every mistake in the file.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # a SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: no valid YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: a grid is a mapping with the keys {', '.join(_File.model_fields)}")
    return _Reader(path).read(content)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which lets the last of two equal keys win in silence; this one does not."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for i, key in enumerate(keys):
            if key in keys[:i]:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


class _Reader(ValueReader):
    """Reads one file: its keys, its axes' values, and whether they fit each other."""

    def read(self, content: dict[str, Any]) -> Grid:
        file = self.validate(_File, content, "")
        recipes = self.recipes(content.get("recipes") or {})
        if file is None:
            # Say at once also what is wrong in those keys that could be read.
            for key, reader in self.readers.items():
                if isinstance(content.get(key), list):
                    self.each(key, content[key], reader)
            raise UserError(*self.mistakes)
        policies = tuple(self.each("policies", file.policies, self.readers["policies"]))
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
        for run in runs.values():
            if problem := seen_selection(run):
                self.wrong("datasets", problem)
        if self.mistakes:
            raise UserError(*self.mistakes)
        return Grid(file.name, self.path, tuple(runs.values()))

    def combinations(self, file: _File) -> Iterator[_Combination]:
        axes = {axis: self.each(key, getattr(file, key), self.readers[key]) for axis, key in AXES.items()}
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

    def partial(self, where: str, entry: dict[str, Any]) -> dict[str, Any]:
        """An entry of include or exclude: the axes that it names."""
        found = {}
        for axis, value in entry.items():
            if axis not in AXES:
                self.wrong(where, unknown_key(axis, list(AXES)))
                continue
            read = self.readers[AXES[axis]](f"{where}.{axis}", value)
            if read is not None:
                found[axis] = read
        return found

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

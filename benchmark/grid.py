"""A grid file: which runs to make. Read with every mistake reported at once, and expanded into runs.

The form (all keys but the first four are optional):

    name: quick
    backbones: [vit_nano_patch4_28]     # a name, or {name: ..., set: {weights: scratch | timm:TAG | file:PATH}}
    datasets: [fashion-mnist-mini]
    methods: [static, lgvit]            # a name, or {name: lgvit, set: {feature_terms: false}}
    exits: [paper]                      # a scheme, {name: uniform, set: {count: 4}}, or a list of block numbers
    seeds: [0]
    recipes: {finetune: {epochs: 30}, joint: {epochs: 30}, exits: {epochs: 8}}
    overrides: []                       # recipes of a part: {backbone: swin_..., recipes: {finetune: {epochs: 50}}}
    policies: [{name: confidence}]      # own: each method's own rule
    learning_rates: [1.0]               # factors of the exits' and joint recipes' lr; of each method the best on val counts
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
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt

from benchmark import registry
from benchmark.errors import UserError
from benchmark.grid_values import OWN, ValueReader, unknown_key
from benchmark.pipeline.stages import heads_of, own_policy
from benchmark.selection import seen_selection
from benchmark.spec import Instead, Number, Recipes, RunSpec, Selection, TrainSpec
from benchmark.weights import SCRATCH, named
from methods.api import Method
from methods.backbones import truncated
from methods.lookup import unknown
from methods.placement import PUBLISHED, place_exits

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
    overrides: list[dict[str, Any]] = []
    policies: list[Any] = ["confidence"]
    learning_rates: list[Annotated[Number, Field(gt=0, le=100)]] = []
    include: list[dict[str, Any]] = []
    exclude: list[dict[str, Any]] = []


@dataclass(frozen=True)
class _Combination:
    """One value on every axis, as it stands in the file: looked up when it becomes a run."""

    backbone: Selection
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


def load_grid(path: Path, data_dir: Path | None = None) -> Grid:
    """Read, check and expand a grid file.

    Args:
        path: of the file.
        data_dir: where the user keeps data and pretrained weights, if named.

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
    return _Reader(path, data_dir).read(content)


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
        recipes = self.recipes(content.get("recipes") or {}, "recipes", {})
        if file is None:
            # Say at once also what is wrong in those keys that could be read.
            for key, reader in self.readers.items():
                if isinstance(content.get(key), list):
                    self.each(key, content[key], reader)
            raise UserError(*self.mistakes)
        policies = tuple(self.each("policies", file.policies, self.readers["policies"]))
        assert recipes is not None
        overrides = self.overrides(file, recipes)
        combinations = list(self.combinations(file))
        if self.mistakes:
            raise UserError(*self.mistakes)
        runs: dict[str, RunSpec] = {}
        for combination in combinations:
            chosen: Recipes | None = recipes
            for rule, changed in overrides:
                if chosen is not None and _matches(combination, rule):
                    chosen = self.recipes(changed, "overrides", chosen.model_dump())
            assert chosen is not None
            for factor in file.learning_rates or [1.0]:
                run = self.run(combination, chosen, policies, factor, tuple(file.learning_rates))
                runs.setdefault(run.model_dump_json(exclude={"scheme"}), run)
        if not runs:
            raise UserError(f"{self.path}: exclude: leaves no run")
        for run in runs.values():
            if problem := seen_selection(run):
                self.wrong("datasets", problem)
            self.gates(run)
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

    def overrides(self, file: _File, recipes: Recipes) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """(partial combination, recipes to change there), in order; a later one goes over an earlier one."""
        found = []
        for i, entry in enumerate(file.overrides):
            where = f"overrides[{i}]"
            changed = entry.get("recipes")
            if not isinstance(changed, dict) or len(entry) < 2:
                self.wrong(where, "an override has the key recipes and at least one of " + ", ".join(AXES))
                continue
            self.recipes(changed, f"{where}.recipes", recipes.model_dump())
            found.append(
                (self.partial(where, {key: value for key, value in entry.items() if key != "recipes"}), changed)
            )
        return found

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
        method = registry.configured("method", combination.method.name, combination.method.set)
        try:
            blocks = _resolve(combination)
        except ValueError as error:
            self.wrong("exits", str(error))
            return False
        try:
            card = registry.card("backbone", combination.backbone.name)
            truncated(card, method.blocks(card))
            method.instead(card)
            method.heads(blocks, card)
        except ValueError as error:
            self.wrong("methods", f"{combination.method.label} on {combination.backbone.name}: {error}")
            return False
        return True

    def instead(self, combination: _Combination, name: str | None) -> Instead | None:
        """A backbone in the place of the combination's: from its own public weights, or from scratch as that one."""
        if name is None:
            return None
        source = weights_source(Selection(name=name))
        if weights_source(combination.backbone) == SCRATCH:
            source = SCRATCH
        return Instead(backbone=name, weights=named(source, self.data_dir))

    def gates(self, run: RunSpec) -> None:
        """A policy that reads learned gates needs heads that have them."""
        heads = heads_of(run.train)
        if heads and not any(head.options.get("gate") for head in heads):
            for policy in run.policies:
                if policy.name == "learned-gate":
                    message = f"learned-gate reads a gate that the exits of {run.train.method.label} do not have"
                    self.wrong("policies", f"{message}; {OWN!r} takes each method's own rule")

    def run(
        self,
        combination: _Combination,
        recipes: Recipes,
        policies: tuple[Selection, ...],
        factor: float,
        learning_rates: tuple[float, ...],
    ) -> RunSpec:
        blocks = _resolve(combination)
        method: Method = registry.configured("method", combination.method.name, combination.method.set)
        exits = combination.exits
        card = registry.card("backbone", combination.backbone.name)
        trained = {stage.recipe for stage in method.stages(card)}
        scaled = {name: getattr(recipes, name) for name in trained}
        recipes = recipes.model_copy(
            update={name: recipe.model_copy(update={"lr": factor * recipe.lr}) for name, recipe in scaled.items()}
        )
        if not method.heads(blocks, card):  # a model without early exits is the same under every scheme
            blocks, exits = (), Selection(name="none")
        train = TrainSpec(
            dataset=combination.dataset,
            backbone=combination.backbone.name,
            weights=named(weights_source(combination.backbone), self.data_dir),
            instead=self.instead(combination, method.instead(card)),
            method=combination.method,
            exits=blocks,
            recipes=recipes,
            seed=combination.seed,
        )
        label = exits.label if isinstance(exits, Selection) else "blocks " + " ".join(map(str, exits))
        chosen = (own_policy(train) if policy.name == OWN else policy for policy in policies)
        return RunSpec(
            train=train,
            scheme=label,
            policies=tuple({policy.label: policy for policy in chosen}.values()),
            learning_rates=learning_rates if trained else (),
        )


def _resolve(combination: _Combination) -> tuple[int, ...]:
    """The block numbers of a combination's exits."""
    card = registry.card("backbone", combination.backbone.name)
    if isinstance(combination.exits, Selection):
        if combination.exits.name == PUBLISHED:
            method: Method = registry.configured("method", combination.method.name, combination.method.set)
            return method.published_exits(card)
        return place_exits(combination.exits.name, card.depth, combination.exits.set.get("count"))
    for block in combination.exits:
        if not 1 <= block < card.depth:
            raise ValueError(
                f"block {block} is no early exit of {combination.backbone.name}: it has {card.depth} blocks, exits are 1 to "
                f"{card.depth - 1}"
            )
    return combination.exits


def weights_source(backbone: Selection) -> str:
    """What the grid says that a backbone starts from, or its card."""
    tag = registry.card("backbone", backbone.name).weights
    return str(backbone.set.get("weights", f"timm:{tag}" if tag else SCRATCH))


def _matches(combination: _Combination, rule: dict[str, Any]) -> bool:
    """Whether a partial combination covers a whole one; a backbone's name alone covers it with any weights."""
    for axis, value in rule.items():
        own = getattr(combination, axis)
        if own != value and not (axis == "backbone" and own.name == value.name and not value.set):
            return False
    return True

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

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt

from benchmark import registry
from benchmark.errors import UserError
from benchmark.grid.leakage_guard import seen_selection
from benchmark.grid.points import Combination, Placed, matches, resolve, weights_source
from benchmark.grid.values import OWN, ValueReader, unknown_key
from benchmark.grid.yaml_keys import ValueLoader, read_mapping
from benchmark.stages.collecting import made_to_stay
from benchmark.stages.graph import heads_of
from benchmark.weights import SCRATCH, named
from methods.backbones import truncated
from methods.lookup import unknown
from results.spec import Instead, Number, Recipes, RunSpec, Selection

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


@made_to_stay()
def load_grid(path: Path, data_dir: Path | None = None) -> Grid:
    """Read, check and expand a grid file.

    Args:
        path: of the file.
        data_dir: where the user keeps data and pretrained weights, if named.

    Raises:
        UserError: one sentence for every mistake in the file.
    """
    form = f"a grid is a mapping with the keys {', '.join(_File.model_fields)}"
    return grid_of(read_mapping(path, ValueLoader, form), path, data_dir)


def grid_of(content: dict[str, Any], path: Path, data_dir: Path | None = None) -> Grid:
    """Check and expand what stands in a grid file.

    Args:
        content: its keys.
        path: of the file, for sentences about mistakes.
        data_dir: where the user keeps data and pretrained weights, if named.

    Raises:
        UserError: one sentence for every mistake.
    """
    return _Reader(path, data_dir).read(content)


class _Reader(ValueReader):
    """Reads one file: its keys, its axes' values, and whether they fit each other."""

    def __init__(self, path: Path, data_dir: Path | None = None) -> None:
        super().__init__(path, data_dir)
        self._placed: dict[tuple[int, ...], tuple[object, Placed | None]] = {}

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
        changed_recipes: dict[tuple[int, ...], Recipes] = {}
        scaled: dict[tuple[Hashable, ...], tuple[Recipes, str]] = {}
        tried = tuple(file.learning_rates)
        runs: dict[tuple[str, str, int], RunSpec] = {}
        first: dict[Placed, RunSpec] = {}
        for combination, placed in combinations:
            matching = tuple(i for i, (rule, _) in enumerate(overrides) if matches(combination, rule))
            if matching not in changed_recipes:
                changed_recipes[matching] = self.overridden(recipes, [overrides[i][1] for i in matching])
            for factor in tried or (1.0,):
                wanted = matching, factor, placed.trained
                if wanted not in scaled:
                    chosen = _scaled(changed_recipes[matching], placed.trained, factor)
                    scaled[wanted] = chosen, chosen.model_dump_json()
                chosen, text = scaled[wanted]
                same = placed.text, text, combination.seed
                if same not in runs:
                    runs[same] = placed.run(combination, chosen, policies, tried)
                    first.setdefault(placed, runs[same])
        if not runs:
            raise UserError(f"{self.path}: exclude: leaves no run")
        for run in first.values():
            if problem := seen_selection(run):
                self.wrong("datasets", problem)
            self.gates(run)
        if self.mistakes:
            raise UserError(*self.mistakes)
        return Grid(file.name, self.path, tuple(runs.values()))

    def combinations(self, file: _File) -> Iterator[tuple[Combination, Placed]]:
        axes = {axis: self.each(key, getattr(file, key), self.readers[key]) for axis, key in AXES.items()}
        excluded = [self.partial(f"exclude[{i}]", entry) for i, entry in enumerate(file.exclude)]
        if not all(axes.values()):
            return
        products = [axes]
        for i, entry in enumerate(file.include):
            given = self.partial(f"include[{i}]", entry)
            products.append(axes | {axis: [value] for axis, value in given.items()})
        for position, values in enumerate(products):
            *others, seeds = values.values()
            for backbone, dataset, method, exits in product(*others):
                kept = [Combination(backbone, dataset, method, exits, seed) for seed in seeds]
                if position == 0 and excluded:
                    kept = [one for one in kept if not any(rule and matches(one, rule) for rule in excluded)]
                if kept and (placed := self.placed(kept[0])) is not None:
                    yield from ((one, placed) for one in kept)

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

    def overridden(self, recipes: Recipes, changes: list[dict[str, Any]]) -> Recipes:
        """The recipes with the changes of some overrides, in order."""
        for changed in changes:
            found = self.recipes(changed, "overrides", recipes.model_dump())
            assert found is not None
            recipes = found
        return recipes

    def placed(self, combination: Combination) -> Placed | None:
        """What the combination gives for any seed; None where it does not fit together, which is noted."""
        values = combination.backbone, combination.dataset, combination.method, combination.exits
        known = tuple(map(id, values))
        if known not in self._placed:  # with the values, so that no id is given to something else
            self._placed[known] = values, self._place(combination)
        return self._placed[known][1]

    def _place(self, combination: Combination) -> Placed | None:
        exits: Selection | tuple[int, ...] = combination.exits
        method = registry.configured("method", combination.method.name, combination.method.set)
        card = registry.card("backbone", combination.backbone.name)
        try:
            blocks = resolve(combination)
        except ValueError as error:
            self.wrong("exits", str(error))
            return None
        try:
            truncated(card, method.blocks(card))
            instead = self.instead(combination, method.instead(card))
            if not method.heads(blocks, card):  # a model without early exits is the same under every scheme
                blocks, exits = (), Selection(name="none")
        except ValueError as error:
            self.wrong("methods", f"{combination.method.label} on {combination.backbone.name}: {error}")
            return None
        label = exits.label if isinstance(exits, Selection) else "blocks " + " ".join(map(str, exits))
        weights = named(weights_source(combination.backbone), self.data_dir)
        return Placed(combination, blocks, label, weights, instead)

    def instead(self, combination: Combination, name: str | None) -> Instead | None:
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


def _scaled(recipes: Recipes, stages: frozenset[str], factor: float) -> Recipes:
    """The recipes with the learning rates of some stages multiplied."""
    changed = {stage: getattr(recipes, stage) for stage in stages}
    return recipes.model_copy(
        update={stage: recipe.model_copy(update={"lr": factor * recipe.lr}) for stage, recipe in changed.items()}
    )

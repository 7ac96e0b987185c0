"""Reads a grid file: all mistakes are reported at once, then the file is expanded into runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from benchmark import registry
from benchmark.errors import UserError
from benchmark.grid.fitting import check_task, policy_mistake, probes_mistake
from benchmark.grid.grid_file import AXES, GridFile
from benchmark.grid.leakage_guard import seen_selection
from benchmark.grid.points import GridPoint, ResolvedPoint, exit_blocks, policies_of
from benchmark.grid.recipe_guard import refused_augmentation
from benchmark.grid.values import OWN, ValueReader, unknown_key
from benchmark.grid.yaml_files import ValueLoader, read_mapping, read_value
from benchmark.stages.graph import heads_of, own_policy
from benchmark.weights import SCRATCH, weights_of, weights_source
from methods.backbones.cards import truncated
from methods.lookup import shortened, unknown
from results.spec import Configured, Recipes, ReplacementBackbone, RunSpec


@dataclass(frozen=True)
class Grid:
    """A grid file that was read without mistakes."""

    name: str
    source: Path
    runs: tuple[RunSpec, ...]
    latency: tuple[int, ...] = ()
    probes: bool = False


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
    raise UserError("--grid: " + unknown("grid", name, shipped) + "; a path to a YAML file is also possible")


def load_grid(path: Path, data_dir: Path | None = None, changes: Sequence[str] = ()) -> Grid:
    """Read, check and expand a grid file.

    Args:
        path: of the file.
        data_dir: folder with the user's datasets and pretrained weights, if there is one.
        changes: ``key=value`` or ``key.key=value`` with YAML values, which replace values of the file.

    Raises:
        UserError: one sentence for every mistake in the file or the changes.
    """
    form = f"a grid is a mapping with the keys {', '.join(GridFile.model_fields)}"
    content = read_mapping(path, ValueLoader, form)
    for change in changes:
        _replace(content, change)
    return grid_of(content, path, data_dir)


def _replace(content: dict[str, Any], change: str) -> None:
    """Replace one value of a grid file's content."""
    name, sign, text = change.partition("=")
    *parents, key = name.strip().split(".")
    if not sign or not all([*parents, key]):
        raise UserError(
            f"--set {shortened(change)}: write KEY=VALUE or KEY.KEY=VALUE, such as recipes.finetune.epochs=5"
        )
    for depth, parent in enumerate(parents, start=1):
        content = content.setdefault(parent, {})
        if not isinstance(content, dict):
            raise UserError(
                f"--set {shortened(change)}: {'.'.join(parents[:depth])} has no keys; replace it as a whole"
            )
    try:
        content[key] = read_value(text)
    except ValueError as error:
        raise UserError(f"--set {shortened(change)}: {error}") from None


def grid_of(content: dict[str, Any], path: Path, data_dir: Path | None = None) -> Grid:
    """Check and expand the content of a grid file.

    Args:
        content: the keys of the file.
        path: of the file, named in messages.
        data_dir: folder with the user's datasets and pretrained weights, if there is one.

    Raises:
        UserError: one sentence for every mistake.
    """
    return _GridReader(path, data_dir).read(content)


class _GridReader(ValueReader):
    """Reads one file: its keys, the values of its axes, and whether they fit each other."""

    def read(self, content: dict[str, Any]) -> Grid:
        file = self.validate(GridFile, content, "")
        recipes = self.recipes(content.get("recipes") or {}, "recipes", {})
        if file is None or recipes is None:
            self.report_readable_values(content)
            raise UserError(*self.mistakes)
        policies = tuple(self.each("policies", file.policies, self.readers["policies"]))
        by_default = "policies" not in file.model_fields_set
        overrides = self.overrides(file, recipes)
        points = list(self.resolved_points(file))
        self.raise_mistakes()
        image_exits = [point.point.method for point, _ in points if point.blocks and not point.tokens_leave]
        primary = self.primary(file.primary, image_exits)
        datasets = {point.point.dataset.name for point, _ in points}
        if file.probes and (problem := probes_mistake(datasets)):
            self.wrong("probes", problem)
        runs: dict[tuple[str, str], RunSpec] = {}
        for point, seeds in points:
            runs_of_point = [
                run.model_copy(update={"primary": primary})
                for run in self.runs(
                    point,
                    seeds,
                    recipes,
                    overrides,
                    policies_of(point.point.dataset, policies, by_default, datasets),
                    tuple(file.learning_rates),
                )
            ]
            for run in runs_of_point:
                self.check_run(run)
                runs.setdefault((run.train.model_dump_json(), run.scheme), run)
        if not runs:
            raise UserError(f"{self.path}: exclude: leaves no run")
        self.raise_mistakes()
        return Grid(file.name, self.path, tuple(runs.values()), tuple(dict.fromkeys(file.latency)), file.probes)

    def report_readable_values(self, content: dict[str, Any]) -> None:
        """Report the mistakes in the keys that could be read, although others could not."""
        for key, reader in self.readers.items():
            if isinstance(content.get(key), list):
                self.each(key, content[key], reader)

    def raise_mistakes(self) -> None:
        if self.mistakes:
            raise UserError(*self.mistakes)

    def resolved_points(self, file: GridFile) -> Iterator[tuple[ResolvedPoint, list[int]]]:
        """Every point that fits together, with its seeds: the product of the axes less `exclude`, then each `include`."""
        axes = {axis: self.each(key, getattr(file, key), self.readers[key]) for axis, key in AXES.items()}
        excluded = [self.partial(f"exclude[{i}]", entry) for i, entry in enumerate(file.exclude)]
        if not all(axes.values()):
            return
        included = [self.partial(f"include[{i}]", entry) for i, entry in enumerate(file.include)]
        products = [(axes, excluded)]
        products += [(axes | {axis: [value] for axis, value in entry.items()}, []) for entry in included]
        for values, left_out in products:
            *others, seeds = values.values()
            for point in map(GridPoint, *zip(*product(*others), strict=True)):
                point_seeds = [
                    seed for seed in seeds if not any(rule and point.matches(rule, seed) for rule in left_out)
                ]
                if point_seeds and (resolved := self.resolve(point)) is not None:
                    yield resolved, point_seeds

    def runs(
        self,
        resolved: ResolvedPoint,
        seeds: list[int],
        recipes: Recipes,
        overrides: list[tuple[dict[str, Any], dict[str, Any]]],
        policies: tuple[Configured, ...],
        learning_rates: tuple[float, ...],
    ) -> Iterator[RunSpec]:
        """The runs of a point, one for each seed and learning rate."""
        for seed in seeds:
            changes = [changed for rule, changed in overrides if resolved.point.matches(rule, seed)]
            overridden = self.overridden(recipes, changes)
            for factor in learning_rates or (1.0,):
                scaled = _scaled(overridden, resolved.trained, factor)
                yield resolved.run(scaled, seed, policies, learning_rates)

    def overrides(self, file: GridFile, recipes: Recipes) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """(partial combination, changed recipes) in order; a later override wins over an earlier one."""
        overrides = []
        for i, entry in enumerate(file.overrides):
            where = f"overrides[{i}]"
            changed = entry.get("recipes")
            if not isinstance(changed, dict) or len(entry) < 2:
                self.wrong(where, "an override has the key recipes and at least one of " + ", ".join(AXES))
                continue
            self.recipes(changed, f"{where}.recipes", recipes.model_dump())
            rule = self.partial(where, {key: value for key, value in entry.items() if key != "recipes"})
            overrides.append((rule, changed))
        return overrides

    def overridden(self, recipes: Recipes, changes: list[dict[str, Any]]) -> Recipes:
        """The recipes with the changes of some overrides, in order; the changes have been checked."""
        for changed in changes:
            recipes = self.recipes(changed, "overrides", recipes.model_dump()) or recipes
        return recipes

    def partial(self, where: str, entry: dict[str, Any]) -> dict[str, Any]:
        """An entry of include, exclude or overrides: the axes that it names, with their values."""
        values = {}
        if not entry:
            self.wrong(where, f"names none of {', '.join(AXES)}")
        for axis, value in entry.items():
            if axis not in AXES:
                self.wrong(where, unknown_key(axis, list(AXES)))
                continue
            checked = self.readers[AXES[axis]](f"{where}.{axis}", value)
            if checked is not None:
                values[axis] = checked
        return values

    def resolve(self, point: GridPoint) -> ResolvedPoint | None:
        """Look up the names of a point; None, after noting a mistake, if its parts do not fit together."""
        exits = point.exits
        method = registry.configured("method", point.method.name, point.method.set)
        card = registry.card("backbone", point.backbone.name)
        try:
            blocks = method.fixed_exits(card) or exit_blocks(point, method)
        except ValueError as error:
            self.wrong("exits", str(error))
            return None
        try:
            truncated(card, method.blocks(card))
            method.token_reduction(card)
            replacement = self.replacement(point, method.replacement_backbone(card))
            heads = method.heads(blocks, card)
            if not heads:  # a model without early exits is the same under every scheme
                blocks, exits = (), Configured(name="none")
            check_task(registry.card("dataset", point.dataset.name).task, card, method, heads)
        except ValueError as error:
            self.wrong("methods", f"{point.method.label} on {point.backbone.name}: {error}")
            return None
        return ResolvedPoint(
            point=point,
            blocks=blocks,
            tokens_leave=method.tokens_leave,
            scheme=exits.label if isinstance(exits, Configured) else "blocks " + " ".join(map(str, exits)),
            weights=weights_of(point.backbone, self.data_dir),
            replacement=replacement,
            trained=frozenset(stage.recipe for stage in method.stages(card)),
            own_policy=own_policy(method, point.dataset),
        )

    def replacement(self, point: GridPoint, name: str | None) -> ReplacementBackbone | None:
        """The backbone with which a method replaces the point's: from its public weights, or from scratch like the point's."""
        if name is None:
            return None
        from_scratch = weights_source(point.backbone) == SCRATCH
        backbone = Configured(name=name, set={"weights": SCRATCH} if from_scratch else {})
        return ReplacementBackbone(backbone=name, weights=weights_of(backbone, self.data_dir))

    def check_run(self, run: RunSpec) -> None:
        """Note mistakes of a run: thresholds chosen on the weights' training images, an augmentation that its data cannot have,
        or a policy that reads missing gates.
        """
        if refused := refused_augmentation(run.train):
            self.wrong(*refused)
        if problem := seen_selection(run):
            self.wrong("datasets", problem)
        if run.train.exits:
            name = run.train.dataset.name
            for policy in run.policies:
                if problem := policy_mistake(policy, registry.card("dataset", name).task, name):
                    self.wrong("policies", problem)
        heads = heads_of(run.train) if run.train.exits else ()
        if heads and not any(head.options.get("gate") for head in heads):
            for policy in run.policies:
                if registry.card("policy", policy.name).reads_gates:
                    message = f"{policy.name} reads a gate that the exits of {run.train.method.label} do not have"
                    self.wrong("policies", f"{message}; {OWN!r} uses each method's own policy")


def _scaled(recipes: Recipes, stages: frozenset[str], factor: float) -> Recipes:
    """The recipes with the learning rates of some stages multiplied."""
    changed = {stage: getattr(recipes, stage) for stage in stages}
    return recipes.model_copy(
        update={stage: recipe.model_copy(update={"lr": factor * recipe.lr}) for stage, recipe in changed.items()}
    )

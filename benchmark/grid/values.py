"""Reads the values in a grid file: looks names up, checks options, and collects mistakes with their place in the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from benchmark import registry
from benchmark.grid.grid_file import PrimaryKey
from benchmark.grid.recipe_guard import LABELS
from benchmark.weights import NORMALISATION_KEYS, check_source, normalisation_of
from datasets.api import SPLITS, DataError, DatasetCard
from datasets.folder import absolute, absolute_path, is_folder
from datasets.joint_augment import JOINT_AUGMENTATIONS
from datasets.shift import MOVES_PIXELS
from datasets.shift import mistake as corruption_mistake
from datasets.split_rules import MODES, RESPLITS, SplitRule
from datasets.timm_augment import rand_augment_mistake
from methods.lookup import configured, listed, nearest, shortened, unknown
from methods.placement import PUBLISHED, SCHEMES
from methods.policies.option_types import options_class
from results.operating_point import BUDGETS
from results.spec import DEFAULT_RECIPES, Configured, PrimaryEndpoint, Recipe, Recipes

FILE = "file:"
BACKBONE_KEYS = ["weights", *sorted(NORMALISATION_KEYS)]
MAX_PLACE = 150
"""Characters of a place in the file that a message shows; a key can have any length."""
MAX_SEED = 2**31 - 1
OWN = "own"
"""Among the policies of a grid: the exit policy of each method's own paper."""


class ValueReader:
    """Turns the raw values of a file into checked ones, and collects the mistakes.

    The arguments of a reader are the place of a value in the file and the raw value. It returns the checked value, or None
    after noting a mistake.

    Attributes:
        path: of the file, for messages.
        data_dir: folder with the user's datasets and pretrained weights, if there is one.
        mistakes: one sentence each.
        readers: the reader for the values of each key.
    """

    def __init__(self, path: Path, data_dir: Path | None = None) -> None:
        self.path = path
        self.data_dir = data_dir
        self.mistakes: list[str] = []
        self.readers: dict[str, Callable[[str, Any], Any]] = {
            "backbones": self.backbone,
            "datasets": self.dataset,
            "methods": partial(self.selection, "method"),
            "exits": self.exits,
            "seeds": self.seed,
            "policies": partial(self.selection, "policy"),
        }

    def wrong(self, where: str, message: str) -> None:
        place = where if len(where) <= MAX_PLACE else f"{where[:MAX_PLACE]}..."
        sentence = f"{self.path}: {place}: {message}"
        if sentence not in self.mistakes:
            self.mistakes.append(sentence)

    def validate(self, model: type[BaseModel], content: dict[str, Any], prefix: str) -> Any:
        """The content as a model; None after noting its mistakes."""
        try:
            return model.model_validate(content)
        except ValidationError as error:
            for problem in error.errors():
                keys = [part if isinstance(part, str) else f"[{part}]" for part in problem["loc"]]
                where = ".".join([prefix, *keys] if prefix else keys).replace(".[", "[")
                if problem["type"] == "extra_forbidden":
                    self.wrong(where, unknown_key(keys[-1], list(model.model_fields)))
                elif problem["type"] == "missing":
                    self.wrong(where, "this key is required")
                else:
                    message = problem["msg"].removeprefix("Value error, ").replace(" or instance of Configured", "")
                    self.wrong(
                        where, f"{message}, not {'empty' if problem['input'] is None else shortened(problem['input'])}"
                    )
            return None

    def recipes(self, changes: Any, where: str, base: dict[str, Any]) -> Recipes | None:
        """The recipes: ``changes`` take precedence over ``base``, and that over the defaults."""
        if not isinstance(changes, dict):
            return None  # validating the file has noted the wrong type
        stages: dict[str, Recipe] = {}
        for stage, values in (base | changes).items():
            if stage not in DEFAULT_RECIPES:
                self.wrong(f"{where}.{stage}", unknown_key(stage, list(DEFAULT_RECIPES)))
            elif not isinstance(values, dict):
                self.wrong(f"{where}.{stage}", f"a mapping with keys such as epochs and lr, not {shortened(values)}")
            else:
                merged = DEFAULT_RECIPES[stage].model_dump() | base.get(stage, {}) | values
                recipe = self.validate(Recipe, merged, f"{where}.{stage}")
                if recipe is not None and recipe.augment not in JOINT_AUGMENTATIONS:
                    self.wrong(f"{where}.{stage}.augment", unknown("augmentation", recipe.augment, JOINT_AUGMENTATIONS))
                elif recipe is not None and (mistake := rand_augment_mistake(recipe.rand_augment)):
                    self.wrong(f"{where}.{stage}.rand_augment", mistake)
                elif recipe is not None and recipe.epochs == 0 and stage != "finetune":
                    self.wrong(f"{where}.{stage}.epochs", "at least 1; only finetune takes 0")
                elif recipe is not None:
                    stages[stage] = recipe
        return Recipes(**stages)

    def each(self, key: str, values: list[Any], read: Callable[[str, Any], Any]) -> list[Any]:
        """The valid values of one axis; an empty axis is a mistake."""
        if not values:
            self.wrong(key, "is empty, so the grid has no run")
        checked = [read(f"{key}[{i}]", value) for i, value in enumerate(values)]
        for i, value in enumerate(checked):
            if value is not None and value in checked[:i]:
                self.wrong(f"{key}[{i}]", f"is the same as {key}[{checked.index(value)}]")
        return [value for value in checked if value is not None]

    def primary(self, key: PrimaryKey | None, exiting: Sequence[Configured]) -> PrimaryEndpoint | None:
        """The primary endpoint, whose methods must be among ``exiting``; None, after noting a mistake, if not."""
        if key is None:
            return None
        if not exiting:
            self.wrong("primary", "no method of this grid has exits at which whole images leave")
            return None
        method = self.readers["methods"]("primary.method", key.method)
        named = [*([method] if method else []), *self.each("primary.against", key.against, self.readers["methods"])]
        labels, methods = [method.label for method in named], {method.label for method in exiting}
        for label in labels:
            if label not in methods:
                self.wrong("primary", f"{unknown('method with exits of this grid', label, sorted(methods))}")
        if len(set(labels)) < len(labels):
            self.wrong("primary", "each method is named once")
        if key.macs not in BUDGETS:
            self.wrong("primary.macs", f"must be one of {', '.join(map(str, BUDGETS))}, not {key.macs}")
        if self.mistakes:
            return None
        return PrimaryEndpoint(method=labels[0], against=tuple(labels[1:]), macs=key.macs)

    def seed(self, where: str, value: Any) -> int | None:
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_SEED:
            return value
        self.wrong(where, f"a seed is a whole number from 0 to {MAX_SEED}, not {shortened(value)}")
        return None

    def backbone(self, where: str, value: Any) -> Configured | None:
        selected = self.parse(where, value)
        if selected is None:
            return None
        try:
            registry.card("backbone", selected.name)
            for key in selected.set:
                if key not in BACKBONE_KEYS:
                    raise ValueError(unknown_key(key, BACKBONE_KEYS))
            if "weights" in selected.set:
                source = check_source(selected.set["weights"])
                if source.startswith(FILE):  # relative to the grid file, so that it is the same file on every machine
                    path = absolute_path(source.removeprefix(FILE), self.path.parent)
                    source = f"{FILE}{path}"
                selected = Configured(name=selected.name, set={**selected.set, "weights": source})
            normalisation_of(selected)
        except (KeyError, ValueError, DataError) as error:
            self.wrong(where, error.args[0])
            return None
        return selected

    def parse(self, where: str, value: Any) -> Configured | None:
        """A name, or a mapping with ``name`` and ``set``."""
        return self.validate(Configured, {"name": value} if isinstance(value, str) else value, where)

    def selection(self, kind: str, where: str, value: Any) -> Configured | None:
        selected = self.parse(where, value)
        if selected is None:
            return None
        try:
            if kind == "policy" and selected.name == OWN:
                if selected.set:
                    raise ValueError(f"{OWN!r} has no options; it uses each method's own policy")
            elif kind == "policy":
                self.check_policy(selected)
            else:
                registry.configured(kind, selected.name, selected.set)
        except (KeyError, ValueError) as error:
            self.wrong(where, error.args[0])
            return None
        return selected

    def check_policy(self, policy: Configured) -> None:
        """Check the names, types and ranges of a policy's options, without importing torch.

        Raises:
            KeyError: no such policy.
            ValueError: an option is unknown, of the wrong type or out of range.
        """
        options = options_class(registry.card("policy", policy.name).target)
        if options is not None:
            configured("policy", policy.name, options, policy.set)

    def dataset(self, where: str, value: Any) -> Configured | None:
        selected = self.parse(where, value)
        if selected is None:
            return None
        try:
            if is_folder(selected.name):
                selected = Configured(name=absolute(selected.name, self.path.parent), set=selected.set)
            card = registry.card("dataset", selected.name)
        except (KeyError, DataError) as error:
            self.wrong(where, error.args[0])
            return None
        mistake = self.dataset_options(card, selected.set)
        if mistake is not None:
            option, message = mistake
            self.wrong(f"{where}.set{option}", message)
            return None
        return selected

    def dataset_options(self, card: DatasetCard, options: dict[str, Any]) -> tuple[str, str] | None:
        """(key, message) of the first mistake in a dataset's options; None if they are valid."""
        known = ["split", "resplit", "corruption", *SPLITS]
        for key in options:
            if key not in known:
                return "", unknown_key(key, known)
        mode = options.get("split", "held-out")
        if mode not in list(MODES):  # a value in a file may be unhashable
            return ".split", unknown("split rule", mode, MODES)
        resplit = options.get("resplit", 0)
        if not isinstance(resplit, int) or isinstance(resplit, bool) or not 0 <= resplit < RESPLITS:
            return ".resplit", f"a whole number from 0 to {RESPLITS - 1}, not {shortened(resplit)}"
        if "resplit" in options and mode != "halves":
            return ".resplit", "goes with split: halves only"
        if "corruption" in options and (problem := corruption_mistake(options["corruption"])) is not None:
            return ".corruption", problem
        if "corruption" in options and card.task in LABELS and options["corruption"]["name"] in MOVES_PIXELS:
            moved = f"moves pixels away from their {LABELS[card.task]}"
            return ".corruption", f"{options['corruption']['name']} {moved}; choose another"
        if "corruption" in options and mode == "as-published":
            return ".corruption", "val is the test split with split: as-published, and only test is corrupted"
        sizes = SplitRule.of(options).sizes(card)
        for split in SPLITS:
            low = len(card.classes) if card.task == "classification" else 1
            high, count = sizes[split], options.get(split, sizes[split])
            if split in options and (not isinstance(count, int) or isinstance(count, bool) or not low <= count <= high):
                return f".{split}", f"a whole number of images from {low} to {high}, not {shortened(count)}"
        if mode == "as-published" and options.get("val") != options.get("test"):
            return ".val", "val is the test split here: give both the same number of images, or none"
        return None

    def exits(self, where: str, value: Any) -> Configured | tuple[int, ...] | None:
        if isinstance(value, list):
            return self.blocks(where, value)
        selected = self.parse(where, value)
        if selected is None:
            return None
        if selected.name not in SCHEMES:
            self.wrong(where, unknown("exit scheme", selected.name, SCHEMES) + "; or a list of blocks")
            return None
        for key, count in selected.set.items():
            if key != "count":
                self.wrong(f"{where}.set", unknown_key(key, ["count"]))
                return None
            if selected.name == PUBLISHED:
                self.wrong(
                    f"{where}.set", "published has no options: each method says how many exits it has, and where"
                )
                return None
            if not isinstance(count, int) or isinstance(count, bool) or count < 1:
                self.wrong(f"{where}.set.count", f"a number of exits from 1, not {shortened(count)}")
                return None
        return selected

    def blocks(self, where: str, value: list[Any]) -> tuple[int, ...] | None:
        if not value:
            self.wrong(where, "an empty list; a model without early exits is the method 'static'")
        elif any(not isinstance(block, int) or isinstance(block, bool) for block in value):
            self.wrong(where, f"1-based block numbers, not {shortened(value)}")
        elif len(set(value)) < len(value):
            twice = sorted({block for block in value if value.count(block) > 1})
            self.wrong(where, f"block {', '.join(map(shortened, twice[:3]))} is given more than once")
        else:
            return tuple(sorted(value))
        return None


def unknown_key(key: str, known: list[str]) -> str:
    """The message about a key that is not allowed."""
    return f"unknown key {shortened(key)}; {nearest(key, known)}allowed: {listed(known)}"

"""Names for readers: methods, heads, backbones and settings. Ids stay in files and in the list of runs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from results.record import MethodInfo
from results.spec import Recipe, RunSpec
from results.tables.run import STATIC, Run

WITHOUT_EXITS = "backbone without exits"
OPTIONS = {
    "gah_stride": "GAH stride", "lph_kernel": "LPH kernel", "gah_residual": "GAH residual", "kd_weight": "distillation weight",
    "kd_divisor": "distillation divisor",
}  # fmt: skip
HEADS = {
    "lph": "LPH", "gah": "GAH", "mlp": "MLP", "vit-ee": "transformer block", "class-patch-mean": "linear + patch mean",
    "ztw": "ZTW", "jei": "JEI", "final-classifier": "final classifier", "mixed-pool": "mixed pooling",
}  # fmt: skip
FAMILIES = {"vit": "ViT", "deit": "DeiT", "deit3": "DeiT III", "swin": "Swin", "swinv2": "SwinV2", "eva": "EVA"}
SIZES = ("pico", "nano", "tiny", "small", "base", "large", "huge", "giant")
STAGES = {"finetune": "fine-tuning", "joint": "joint training", "exits": "heads"}
COUNTED = re.compile(r"(?P<rule>[\w-]+)\(count=(?P<count>\d+)\)")
"""An exit scheme that places a number of exits by a rule."""
NAMED_SCHEMES = {"paper": "the paper's exits", "published": "each method's published exits"}
BLOCKS = "blocks "
"""Beginning of an exit scheme that lists its blocks."""
MOST_FIELDS = 3
"""Fields that are named where the recipes of two settings differ."""


def method_name(info: MethodInfo, options: Mapping[str, Any]) -> str:
    """The name of a method, with the options that the grid sets: ``LGViT (GAH stride 1)``."""
    if info.name == STATIC and not options:
        return WITHOUT_EXITS
    name = info.display_name or info.name
    return f"{name} ({option_words(options)})" if options else name


def option_words(options: Mapping[str, Any]) -> str:
    """Options and their values, in the order of their names."""
    return ", ".join(
        f"{OPTIONS.get(key, key.replace('_', ' '))} {_value(value)}" for key, value in sorted(options.items())
    )


def head_name(head: str) -> str:
    return HEADS.get(head, head)


def backbone_names(ids: Iterable[str]) -> dict[str, str]:
    """A short name per backbone, such as ``ViT-Nano``; the id where it has no such form or two backbones would share a name."""
    names = {name: _backbone(name) for name in ids}
    counts = Counter(names.values())
    return {name: short if counts[short] == 1 else name for name, short in names.items()}


def _backbone(name: str) -> str:
    family, *parts = name.split("_")
    if family not in FAMILIES or not parts or parts[0] not in SIZES:
        return name
    rest = [part for part in parts[1:] if not re.fullmatch(r"(patch|window)?\d+", part)]
    return " ".join([f"{FAMILIES[family]}-{parts[0].capitalize()}", *rest])


def scheme_words(scheme: str) -> str:
    """``4 uniform exits`` for ``uniform(count=4)``."""
    if match := COUNTED.fullmatch(scheme):
        return f"{match['count']} {match['rule']} exits"
    if scheme.startswith(BLOCKS):
        return f"exits after {scheme}"
    return NAMED_SCHEMES.get(scheme, f"exits {scheme}")


def recipe_words(runs: Sequence[Run]) -> list[str]:
    """What distinguishes the recipes and initial weights of runs, one text per run: the fields that differ, with their values.

    Runs with equal recipes have equal texts, which are empty if all have the same.
    """
    fields = [_fields(run.record.spec) for run in runs]
    names = [name for name in fields[0] if len({str(of_run[name]) for of_run in fields}) > 1]
    # The recipe of joint training often changes with that of stage 1.
    if any(not name.startswith("joint") for name in names):
        names = [name for name in names if not name.startswith("joint")]
    return [_words({name: of_run[name] for name in names}) for of_run in fields]


def point_words(point: str) -> str:
    """``at half of the MACs`` and the like for the name of an operating point; other places of a symptom stay."""
    policy, _, rest = point.partition("/")
    kind, _, target = rest.rpartition("-")
    try:
        value = float(target)
    except ValueError:
        return point
    if kind == "equal-macs":
        return "at half of the MACs" if value == 0.5 else f"at {value:g} of the MACs"
    if kind == "accuracy-drop" and value == 0:
        return "where nothing is lost on val"
    if kind == "accuracy-drop":
        lost = "1 point is" if value == 0.01 else f"{100 * value:g} points are"
        return f"where at most {lost} lost on val"
    return f"at the threshold {target} of {policy}" if kind == "fixed" else point


def short_id(run_id: str) -> str:
    """The last part of a run's id, which every command takes."""
    return run_id.rpartition("-")[2]


def _fields(spec: RunSpec) -> dict[str, Any]:
    """The fields of the recipes, ``finetune.epochs`` and so on, and the identity of the initial weights."""
    train = spec.train
    recipes = train.recipes.without_learning_rates() if spec.is_tuned else train.recipes.model_dump(mode="json")
    flat = {
        f"{stage}.{name}": recipe.get(name, "tuned")
        for stage, recipe in recipes.items()
        for name in Recipe.model_fields
    }
    return flat | {"weights": train.weights.sha256[:8] if train.weights.sha256 else train.weights.source}


def _words(fields: Mapping[str, Any]) -> str:
    by_stage: dict[str, list[str]] = {}
    for name, value in list(fields.items())[:MOST_FIELDS]:
        stage, _, field = name.rpartition(".")
        words = f"{_value(value)} {field}" if field == "epochs" else f"{field.replace('_', ' ')} {_value(value)}"
        by_stage.setdefault(stage, []).append("1 epoch" if words == "1 epochs" else words)
    more = f" and {len(fields) - MOST_FIELDS} other fields" if len(fields) > MOST_FIELDS else ""
    parts = [f"{STAGES.get(stage, '')} {', '.join(words)}".strip() for stage, words in by_stage.items()]
    return "; ".join(parts) + more


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def without_order(policy: str) -> str:
    """A policy without the order in which it gets the images."""
    return re.sub(r"order=\d+(, )?", "", policy).replace("()", "").replace(", )", ")")

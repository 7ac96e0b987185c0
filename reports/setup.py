"""The setup of the runs of a report, and the source of each number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from reports.comparison_group import LGVIT
from reports.names import BLOCKS, backbone_names, scheme_words
from reports.study import Study
from reports.words import few, join
from results.spec import Recipe
from results.store.devices import UNVERIFIED, DeviceCheck, is_unverified
from results.tables.run import Run

RECIPE_FIELDS = ("epochs", "batch_size", "lr", "warmup", "weight_decay", "schedule", "augment")
BUNDLED = "bundled:"
"""Beginning of the source of weights that ship with the suite."""
REFERENCES = Path(__file__).with_name("references.yaml")
OTHER_TASKS = {"segmentation": "semantic segmentation", "detection": "object detection"}
POLICY_REFERENCES = {
    "patience": "pabee", "pcee": "pcee", "sdn": "sdn", "learned-gate": "berxit", "jei": "jei-dnn", "eenet": "eenet",
    "ztw-geometric": "ztw", "ztw-arithmetic": "ztw", "poe-relu": "anytime", "poe-softmax": "anytime", "caching": "anytime",
}  # fmt: skip
"""Policies to keys in references.yaml."""
OPTIMIZERS = {"adamw": "AdamW", "muon": "Muon"}
SHOWN_IF_SET = ("rand_augment", "erasing", "mixup", "cutmix", "precision")


def facts(runs: list[Run]) -> list[tuple[str, str]]:
    """(topic, description) lines of the setup; the different values of a topic are joined."""
    trainings = [run.record.spec.train for run in runs if not run.record.is_external]
    lines = [
        ("Data", [_data(run) for run in runs]),
        ("Backbone", _backbones(runs)),
        ("Exits", _exits(runs)),
        ("Fine-tuning", _recipes([train.recipes.finetune for train in trainings])),
        ("Joint training", _recipes([run.record.spec.train.recipes.joint for run in runs if _is_joint(run)])),
        ("Exits' training", _recipes([train.recipes.exits for train in trainings if train.head_blocks])),
        ("External", [_external(run) for run in runs if run.record.is_external]),
        ("Seeds", _seeds(runs)),
        ("Hardware", [_hardware(run) for run in runs]),
        ("Device check", [check.summary for run in runs if (check := _device_check(run))]),
        ("Software", [_software(run.record.provenance.machine.packages) for run in runs]),
    ]
    return [(topic, "; ".join(dict.fromkeys(values))) for topic, values in lines if values]


def cited(runs: list[Run]) -> dict[str, list[str]]:
    """Keys into references.yaml in the order of their numbers, and what has its origin there: LGViT, the backbones, methods,
    policies and metrics of the runs, and the libraries used."""
    known = yaml.safe_load(REFERENCES.read_text(encoding="utf-8"))
    short = backbone_names(dict.fromkeys(run.backbone for run in runs))
    infos = [run.record.method for run in runs]
    pairs = [
        (LGVIT, "LGViT"),
        *((run.record.backbone.family, short[run.backbone]) for run in runs),
        *((info.reference, info.display_name) for info in infos if info.reference is not None),
        *((POLICY_REFERENCES.get(rule.name, ""), rule.name) for run in runs for rule in run.record.spec.policies),
        *(("boundary-iou", "boundary IoU") for run in runs if run.is_segmentation),
        ("timm", "timm"),
        ("fvcore", "fvcore"),
    ]
    names: dict[str, list[str]] = {}
    for key, name in dict.fromkeys(pairs):
        if key in known:
            names.setdefault(key, []).append(name)
    return names


def origins(runs: list[Run]) -> str:
    """What the runs use, each with the number of its reference."""
    return "; ".join(f"{few(names)} [{number}]" for number, names in enumerate(cited(runs).values(), start=1))


def differences(study: Study) -> str:
    """How the runs differ from the paper and its official scripts."""
    scope, runs = study.claims.scope, study.runs
    backbones = dict.fromkeys(run.backbone for run in runs if run.backbone not in scope.backbones)
    data = dict.fromkeys(run.dataset for run in runs if not run.dataset.startswith(scope.datasets))
    parts = []
    if backbones:
        originals = backbone_names(scope.backbones)
        here = [study.backbones[name] for name in backbones]
        parts.append(f"{join(here)} in place of {join([originals[name] for name in scope.backbones])}")
    if data:
        parts.append(f"{join(list(data))} in place of {join(scope.datasets)}")
    for task, name in OTHER_TASKS.items():
        if any(run.record.data.task == task for run in runs):
            parts.append(f"{name} in place of classification")
    if any(run.record.spec.train.weights.source == "scratch" for run in runs):
        parts.append("backbones trained from scratch, not from public weights")
    if any(run.record.spec.train.weights.source.startswith(BUNDLED) for run in runs):
        parts.append("backbones that start from small weights of this suite, the same for every training seed")
    if any("as-published" not in run.dataset for run in runs):
        parts.append(
            "thresholds chosen on a val split, not on test as in the official code (D30 of docs/discrepancies.md)"
        )
    if any(run.method == LGVIT for run in runs):
        parts.append(
            "LGViT as the paper describes it; every difference to its official code is an option that the record lists"
        )
    return f"{'; '.join(parts)}." if parts else ""


def data_rows(runs: list[Run]) -> list[list[str]]:
    """One row per dataset: name with its version, fingerprint, identity of the test split."""
    cards = [(run.dataset, run.record.data) for run in runs]
    rows = {(name, card.fingerprint[:16], card.split_identity.get("test", "")[:16]) for name, card in cards}
    return [list(row) for row in sorted(rows)]


def _data(run: Run) -> str:
    data = run.record.data
    sizes = " / ".join(f"{data.sizes[split]:,}" for split in ("train", "val", "test"))
    source = "".join(f" {text[0].upper()}{text[1:]}." for text in (data.citation, data.licence) if text)
    return f"{data.name}: {sizes} images for train / val / test, {data.classes} classes.{source}"


def _backbones(runs: list[Run]) -> list[str]:
    """Name, depth and, where it is recorded, image size."""
    names = backbone_names(dict.fromkeys(run.backbone for run in runs))
    sizes = {run.backbone: size for run in runs if (size := run.record.backbone.image_size)}
    texts = []
    for run in runs:
        name, short, size = run.backbone, names[run.backbone], sizes.get(run.backbone)
        pixels = f", images of {size} x {size} pixels" if size else ""
        texts.append(f"{name if short == name else f'{short} ({name})'}, {run.record.depth} blocks{pixels}")
    return texts


def _external(run: Run) -> str:
    return f"{run.method}: not trained here; from a table of its answers"


def _is_joint(run: Run) -> bool:
    """Whether backbone and heads were trained together by the recipe of that name."""
    return any(stage.stage == "joint" for stage in run.record.stages)


def _recipes(recipes: list[Recipe]) -> list[str]:
    """Descriptions of recipes; those that differ only in the learning rate are merged."""
    rates: dict[str, set[float]] = {}
    for recipe in recipes:
        rates.setdefault(_recipe(recipe.model_dump() | {"lr": "{}"}), set()).add(recipe.lr)
    return [words.replace("{}", " or ".join(map(str, sorted(values)))) for words, values in rates.items()]


def _recipe(recipe: dict[str, Any]) -> str:
    fields = (*RECIPE_FIELDS, *(field for field in SHOWN_IF_SET if recipe[field] != Recipe.model_fields[field].default))
    optimizer = OPTIMIZERS[recipe.get("optimizer", "adamw")]
    return f"{optimizer}, " + ", ".join(f"{field.replace('_', ' ')} {recipe[field]}" for field in fields)


def _hardware(run: Run) -> str:
    machine = run.record.provenance.machine
    kind = "deterministic" if machine.deterministic else "not deterministic"
    flag = f", {UNVERIFIED}" if is_unverified(machine, run.device_checks) else ""
    together = f", {machine.ranks} processes that train together" if machine.ranks > 1 else ""
    return f"{machine.name}, {machine.precision}, {kind}{together}{flag}"


def _device_check(run: Run) -> DeviceCheck | None:
    """The device check of the machine that made the record; None without one."""
    return run.device_checks.get(run.record.provenance.machine.fingerprint)


def _software(packages: dict[str, str | None]) -> str:
    return ", ".join(f"{name} {version}" for name, version in packages.items() if version)


def _seeds(runs: list[Run]) -> list[str]:
    """All seeds, or their number and range if there are more than ten."""
    seeds = sorted({run.seed for run in runs})
    if len(seeds) > 2 and seeds[-1] - seeds[0] == len(seeds) - 1:
        return [f"{seeds[0]} to {seeds[-1]}"]
    return [f"{len(seeds)}, from {seeds[0]} to {seeds[-1]}"] if len(seeds) > 10 else [", ".join(map(str, seeds))]


def judged_by(study: Study) -> str:
    """The methods judged under each policy; empty if there is only one policy."""
    runs = study.judged
    rules: dict[str, list[str]] = {}
    for run in runs:
        for policy in run.policies:
            if run.has_exits:
                rules.setdefault(policy, []).append(study.display[run.method])
    if len(rules) < 2 or len({run.method for run in runs if run.has_exits}) < 2:
        return ""
    return "; ".join(f"{policy}: {few(list(dict.fromkeys(methods)))}" for policy, methods in rules.items())


def _exits(runs: list[Run]) -> list[str]:
    """The blocks of each exit scheme."""
    placed: dict[str, list[str]] = {}
    for run in runs:
        if run.has_exits:
            placed.setdefault(run.record.spec.scheme, []).append(" ".join(map(str, run.record.spec.train.exits)))
    several = len(placed) > 1
    lists = [
        " or ".join(dict.fromkeys(blocks))
        + (f" ({scheme_words(scheme)})" if several and not scheme.startswith(BLOCKS) else "")
        for scheme, blocks in placed.items()
    ]
    return [f"after blocks {', '.join(lists)}"] if lists else []

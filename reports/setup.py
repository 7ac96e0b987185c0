"""What the runs of a report have in common, and where each number comes from."""

from __future__ import annotations

from typing import Any

from results.devices import UNVERIFIED, DeviceCheck, device_name, fingerprint, is_unverified
from results.table import Run

RECIPE_FIELDS = ("epochs", "batch_size", "lr", "warmup", "weight_decay", "schedule", "augment")
SHOWN_IF_SET = ("rand_augment", "erasing", "mixup", "cutmix", "precision")


def facts(runs: list[Run]) -> list[tuple[str, str]]:
    """(what, how) lines of the setup; differing values of one thing are joined."""
    spec = [run.record.spec["train"] for run in runs]
    lines = [
        ("Data", [_data(run) for run in runs]),
        ("Backbone", [str(train["backbone"]) for train in spec]),
        ("Exits", [f"after blocks {' '.join(map(str, train['exits']))}" for train in spec if train["exits"]]),
        ("Fine-tuning", [_recipe(train["recipes"]["finetune"]) for train in spec]),
        ("Joint training", [_recipe(run.record.spec["train"]["recipes"]["joint"]) for run in runs if _is_joint(run)]),
        ("Exits' training", [_recipe(train["recipes"]["exits"]) for train in spec if train["exits"]]),
        ("Seeds", [str(train["seed"]) for train in spec]),
        ("Hardware", [_hardware(run) for run in runs]),
        ("Device check", [check.summary for run in runs if (check := _device_check(run))]),
        ("Software", [_software(run.record.provenance["machine"]["packages"]) for run in runs]),
        ("Training time", [_training_time(runs)]),
    ]
    return [(what, "; ".join(dict.fromkeys(values))) for what, values in lines if values]


def provenance_rows(runs: list[Run]) -> list[list[str]]:
    """One row a run: id, code, when."""
    rows = []
    for run in runs:
        code = run.record.provenance["code"]
        commit = (code["commit"] or "no git")[:10] + ("+" if code["dirty"] else "")
        rows.append([run.record.run_id, commit, run.record.provenance["finished"].replace("+00:00", "Z")])
    return rows


def _data(run: Run) -> str:
    data = run.record.data
    assert data is not None
    sizes = " / ".join(f"{data.sizes[split]:,}" for split in ("train", "val", "test"))
    return (
        f"{data.name}: {sizes} images for train / val / test, {data.classes} classes. {data.citation}. {data.licence}."
    )


def _is_joint(run: Run) -> bool:
    """Whether backbone and heads were trained together by the recipe of that name."""
    return any(stage.stage == "joint" for stage in run.record.stages)


def _recipe(recipe: dict[str, Any]) -> str:
    fields = (*RECIPE_FIELDS, *(field for field in SHOWN_IF_SET if recipe.get(field)))
    return "AdamW, " + ", ".join(f"{field.replace('_', ' ')} {recipe[field]}" for field in fields)


def _hardware(run: Run) -> str:
    machine = run.record.provenance["machine"]
    kind = "deterministic" if machine["deterministic"] else "not deterministic"
    flag = f", {UNVERIFIED}" if is_unverified(machine, run.device_checks) else ""
    ranks = machine.get("ranks", 1)
    together = f", {ranks} processes that train together" if ranks > 1 else ""
    return f"{device_name(machine)}, {machine['precision']}, {kind}{together}{flag}"


def _device_check(run: Run) -> DeviceCheck | None:
    """Of the machine that made the record."""
    return run.device_checks.get(fingerprint(run.record.provenance["machine"]))


def _software(packages: dict[str, str | None]) -> str:
    return ", ".join(f"{name} {version}" for name, version in packages.items() if version)


def _training_time(runs: list[Run]) -> str:
    """Wall time of the distinct training passes: a shared pass counts once."""
    passes: dict[str, float] = {}
    for run in runs:
        for stage in run.record.stages:
            if stage.stage in ("finetune", "joint", "exits"):
                # Members of one shared pass have the same seconds to the last digit.
                passes[f"{stage.stage} {stage.seconds}" if stage.shared_pass > 1 else stage.key] = stage.seconds
    return f"{sum(passes.values()):.0f} s for {len(passes)} training passes"

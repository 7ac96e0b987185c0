"""Published numbers with source and status, and claims to be judged; read from `results/published`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml

from results.frozen import Frozen
from results.spec import Configured

FOLDER = Path(__file__).parents[1] / "published"
Status = Literal["confirmed", "second-hand", "unconfirmed", "independent-measurement"]


class Number(Frozen):
    """One published number."""

    method: str
    backbone: str | None = None
    """A registered name where the suite has that model, else as published."""
    dataset: str | None = None
    metric: str
    value: float
    unit: str
    source: str
    status: Status
    note: str = ""
    threshold: float | None = None
    """Threshold of the confidence policy, if known."""


class StaticModel(Frozen):
    """Published results of one model without exits on ImageNet-1k at 224 x 224."""

    model: str
    """Architecture and weights as timm names them, ``ARCHITECTURE.TAG``."""
    top1: float
    """Accuracy in %."""
    gmacs: float | None = None
    cpu_ms: float | None = None
    """Time of one image."""
    gpu_images_per_second: float | None = None
    smaller: str | None = None
    """The next smaller model of the same family and training."""

    @property
    def backbone(self) -> str:
        """The architecture, which is the name of a registered backbone where the suite has it."""
        return self.model.split(".")[0]


class StaticModels(Frozen):
    source: str
    conditions: str
    models: tuple[StaticModel, ...]


class Rivals(Frozen):
    """The rivals of LGViT in a claim: methods whose name has this prefix, or LGViT itself with this option set."""

    prefix: str | None = None
    option: str | None = None
    other_readings: tuple[Any, ...] = ()
    """Values of the option with which the method is another reading of the paper, and no rival."""
    alike_in: tuple[str, ...] = ()
    """Options that a rival found by its prefix must share with LGViT; if they differ, the claim would judge these as well."""
    at_least: int = 1
    """Rivals that the claim needs."""


class Claim(Frozen):
    """One claim.

    kind ``speed-up``: at least `speedup` at a drop of at most `drop`; ``direction``: more accurate than every rival at equal
    MACs; ``all``: the claims `over` hold in every cell of the scope.
    """

    id: str
    kind: Literal["speed-up", "direction", "all"]
    text: str
    source: str
    status: Status
    metric: Literal["layer", "mac"] = "layer"
    speedup: float = 0.0
    drop: float = 0.0
    rivals: Rivals = Rivals()
    over: tuple[str, ...] = ()


class Scope(Frozen):
    """Backbones and datasets of the paper's claims, and the epochs for which it trains the exits."""

    backbones: tuple[str, ...]
    datasets: tuple[str, ...]
    epochs: int


class Reading(Configured):
    """A variant of LGViT: a method of the suite with options."""


class Claims(Frozen):
    scope: Scope
    readings: tuple[Reading, ...]
    claims: tuple[Claim, ...]


def read_claims(path: Path = FOLDER / "claims.yaml") -> Claims:
    return Claims.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))


def read_static_models(path: Path = FOLDER / "static_models.yaml") -> StaticModels:
    return StaticModels.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))


def read_numbers(folder: Path = FOLDER) -> list[Number]:
    """Every published number of a method, from all files."""
    return [
        Number.model_validate(entry)
        for path in sorted(folder.glob("*.yaml"))
        if path.name not in ("claims.yaml", "static_models.yaml")
        for entry in yaml.safe_load(path.read_text(encoding="utf-8"))
    ]

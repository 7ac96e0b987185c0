"""The keys of a grid file, before names are looked up.

The form (all keys but the first four are optional):

    name: quick
    backbones: [vit_nano_patch4_28]     # a name, timm:NAME, or {name: ..., set: {weights: SOURCE}}
    datasets: [fashion-mnist-mini]
    methods: [static, lgvit]            # a name, or {name: lgvit, set: {feature_terms: false}}
    exits: [paper]                      # a scheme, {name: uniform, set: {count: 4}}, or a list of block numbers
    seeds: [0]
    recipes: {finetune: {epochs: 30}, joint: {epochs: 30}, exits: {epochs: 12}}
    overrides: []                       # other recipes for a part of the grid: {backbone: swin_..., recipes: {...}}
    policies: [{name: confidence}]      # own: each method's own policy
    learning_rates: [1.0]               # factors of the exits' and joint recipes' lr; for each method the best on val counts
    latency: []                         # batch sizes at which the finished runs are timed, such as [1, 32]
    probes: false                       # whether `run` compares each head with a linear probe
    primary: null                       # what decides, declared before training: {method: lgvit, against: [vanilla], macs: 0.5}
    include: []                         # partial combinations to add: {method: lgvit, exits: [2, 6], seed: 1}
    exclude: []                         # partial combinations to leave out
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StrictInt

from results.spec import Number

AXES = {"backbone": "backbones", "dataset": "datasets", "method": "methods", "exits": "exits", "seed": "seeds"}
"""The axes of a grid, and the keys that list their values."""


def file_name(name: str) -> str:
    """A grid's name is used as a folder name, so only some characters are allowed."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ValueError("a name has letters, digits, '.', '_' and '-', and starts with a letter or digit")
    return name


class PrimaryKey(BaseModel):
    """The comparison below the key ``primary``."""

    model_config = ConfigDict(extra="forbid")

    method: Any
    against: Annotated[list[Any], Field(min_length=1)]
    macs: Number


class GridFile(BaseModel):
    """The keys of a grid file."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, AfterValidator(file_name)]
    """Name of the grid and of its report's folder: letters, digits, ``.``, ``_`` and ``-``."""
    backbones: list[Any]
    """Names, ``timm:NAME``, or ``{name: ..., set: {weights: SOURCE}}``; SOURCE: ``scratch``, ``timm:TAG``,
    ``bundled:NAME``, ``file:PATH``."""
    datasets: list[Any]
    """Names, ``folder:PATH``, or ``{name: ..., set: {...}}`` with the options below."""
    methods: list[Any]
    """Names, or ``{name: lgvit, set: {feature_terms: false}}``."""
    exits: list[Any] = ["paper"]
    """Schemes, ``{name: uniform, set: {count: 4}}``, or lists of 1-based block numbers such as ``[3, 6, 9]``."""
    seeds: list[Any] = [0]
    """Training seeds, whole numbers from 0; each gives a run of its own."""
    recipes: dict[str, Any] = {}
    """How each stage trains: ``{finetune: {epochs: 30}, joint: {...}, exits: {...}}``; the other keys keep their default."""
    overrides: list[dict[str, Any]] = []
    """Other recipes for a part of the grid: ``{backbone: NAME, recipes: {...}}``; a later override wins."""
    policies: list[Any] = ["confidence"]
    """Names, ``{name: pcee, set: {patience: 3}}``, or ``own``: each method's own; in segmentation the default is
    ``map-confidence``, in detection ``box-confidence``."""
    learning_rates: list[Annotated[Number, Field(gt=0, le=100)]] = []
    """Factors of the learning rate of the stages that train exits; for each method the best on val counts."""
    latency: list[Annotated[StrictInt, Field(ge=1, le=4096)]] = []
    """Batch sizes at which `run` times the finished runs other than ``static``, on 500 test images; not on Slurm."""
    probes: StrictBool = False
    """Whether `run` compares each head with a linear probe that has its inputs and loss, after all runs; not on Slurm."""
    primary: PrimaryKey | None = None
    """The comparison to decide by: ``{method: lgvit, against: [vanilla], macs: 0.5}``; reports call all others exploratory."""
    include: list[dict[str, Any]] = []
    """Partial combinations to add, such as ``{method: lgvit, exits: [2, 6], seed: 1}``."""
    exclude: list[dict[str, Any]] = []
    """Partial combinations to leave out."""

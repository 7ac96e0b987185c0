"""The record of a run, written once when the run ends. Every number in a report comes from a record or the tables beside it."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, field_validator, model_validator

from results.frozen import Frozen
from results.operating_point import OperatingPoint, Share
from results.provenance import EarlierAttempt, Provenance
from results.spec import Options, RunSpec
from results.text import printable

SCHEMA: Literal[3] = 3

FailureCause = Literal[
    "oom",
    "nan",
    "disk-full",
    "missing-data",
    "time-limit",
    "hang",
    "node-failure",
    "cancelled",
    "killed",
    "blocked",
    "error",
]
"""Why a stage or run failed: out of memory, a loss that is not finite, a full disk, missing or damaged data on the machine,
the scheduler's time limit, a training that makes no more steps, a failed machine, a cancelled job, repeated crashes without an
error message, a missing stage that the run depends on, or another error."""


EXTERNAL = "external"
"""Kind of the stage, and beginning of the method's name, of runs from a table of answers (the command ``evaluate``)."""
EXTERNAL_FILE = "exits.parquet"


Task = Literal["classification", "segmentation", "detection"]
"""What a model answers for an image: one class, a class for every pixel, or boxes with classes."""

Macs = Annotated[int, Field(ge=0, le=10**18)]
PositiveMacs = Annotated[int, Field(gt=0, le=10**18)]
Block = Annotated[int, Field(ge=1, le=10_000)]


class Artifact(Frozen):
    """A file of a stage (path relative to the results folder) or beside a record (path relative to the record's folder)."""

    path: str
    sha256: str
    bytes: Annotated[int, Field(ge=0)]

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, path: str) -> str:
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts or "\\" in path:
            raise ValueError(f"the path {path!r} leaves the results folder")
        return path


FEW_EPOCHS = 10
"""Longer trainings keep no accuracies in the record: the check of convergence says more."""


class StageRef(Frozen):
    """A stage that the run depends on."""

    stage: Annotated[str, Field(pattern=r"^[a-z]+$")]
    """Kind of the stage. Kind and key form a folder name, so their characters are restricted."""
    key: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    code: dict[str, int]
    """Versions of the code that computed the stage, by domain."""
    seconds: Annotated[float, Field(ge=0)]
    """Wall time over all attempts. All runs that use the stage have the same value."""
    shared_pass: PositiveInt
    """Number of stages trained in the same pass, this one included; `seconds` is the time of the whole pass."""
    artifacts: tuple[Artifact, ...]
    earlier: tuple[EarlierAttempt, ...] = ()
    """Attempts at the stage that did not finish it, with their reasons."""
    accuracies: Annotated[tuple[Share, ...], Field(max_length=FEW_EPOCHS)] = ()
    """Accuracy on train in each epoch, mean over its steps, of a training of at most `FEW_EPOCHS`; else empty."""

    @property
    def name(self) -> str:
        """The stage's folder."""
        return f"{self.stage}-{self.key}"


COSTS = "cost.json"
"""File of a stage with its `CostTable`."""


class CostTable(Frozen):
    """Cost of exiting at each exit, in multiply-accumulates (MACs) per image.

    Counted are convolution, linear layers, matrix products and fused attention. Normalisation is counted separately. Where
    tokens leave (`TrainSpec.token_exits`), images differ in their cost, and this is the mean over the test images.
    """

    unit: Literal["MAC"] = "MAC"
    stem: Macs
    """Patch embedding."""
    blocks: tuple[Macs, ...]
    """Each block, length L. Patch merging is part of the block after it, the head of a token exit of the block before it."""
    heads: tuple[Macs, ...]
    """The head of each early exit, then the final classifier; length K."""
    cumulative: tuple[PositiveMacs, ...]
    """Total cost of a sample that exits at each exit, including all heads up to it; length K."""
    depth: Block
    """Number of blocks of the reference backbone; more than in `blocks` if the model is truncated."""
    baseline: PositiveMacs
    """Cost of the reference backbone: all blocks, no early exits. Speed-ups are relative to it."""
    norms: Macs
    """Normalisation in the whole model with all tokens, counted as in fvcore; not part of the other numbers."""
    linear_conv_cumulative: tuple[Macs, ...]
    """Like `cumulative`, but only linear and convolution layers, for comparison with published values."""
    linear_conv_baseline: Macs
    parameters: Macs
    heads_parameters: Macs
    """Number of parameters of the early exits' heads."""
    reduced_tokens: bool = False
    """Whether the model's blocks run on other numbers of tokens than those of the reference backbone."""
    uncounted: tuple[str, ...]
    """Operators of the model that are not counted because they have few or no multiply-accumulates."""


class ExitMetrics(Frozen):
    """Accuracy of one exit on all samples (anytime accuracy); in segmentation its mIoU, in detection its AP."""

    block: Block
    head: str
    val_accuracy: Share
    test_accuracy: Share


class DataCard(Frozen):
    """The data that the run was trained and evaluated on."""

    name: str
    task: Task = "classification"
    fingerprint: str
    classes: Annotated[int, Field(ge=1, le=10**7)]
    class_names: tuple[str, ...] = ()
    """By index; empty where they are unknown."""
    sizes: dict[str, Annotated[int, Field(ge=0, le=10**9)]]
    """Number of images, by split."""
    split_identity: dict[str, str]
    """SHA-256 over sample ids and labels, by split."""
    content: dict[str, str]
    """SHA-256 over the images, by split: ``pixels:`` of all images, or ``files:`` of their names and sizes in bytes."""
    split_rule: str
    """Description of how the images were assigned to train, val and test."""
    transforms: dict[str, str]
    """Description of the image transforms of each training stage and of scoring."""
    citation: str
    licence: str
    redistributable: bool
    """Whether a report may show the images."""

    @field_validator("sizes")
    @classmethod
    def _names_every_split(cls, sizes: dict[str, int]) -> dict[str, int]:
        if missing := {"train", "val", "test"} - sizes.keys():
            raise ValueError(f"the split {min(missing)} is missing")
        return sizes

    @model_validator(mode="after")
    def _names_every_class(self) -> Self:
        if self.class_names and len(self.class_names) != self.classes:
            raise ValueError(f"{len(self.class_names)} class names for {self.classes} classes")
        return self

    @property
    def is_own(self) -> bool:
        """Whether these are the user's own images, a dataset ``folder:PATH``."""
        return self.name.startswith("folder:")

    def class_name(self, index: int) -> str:
        return self.class_names[index] if index < len(self.class_names) else str(index)

    def same_test_images(self, other: DataCard) -> bool:
        """Whether both cards have equal hashes of the test split, so equal sample ids are the same images."""
        first, second = ((card.split_identity.get("test"), card.content.get("test")) for card in (self, other))
        return first == second


class MethodInfo(Frozen):
    """The method that was trained."""

    name: str
    options: Options
    """Values of all options, including defaults."""
    display_name: str
    """Name in text, tables and figures."""
    citation: str = ""
    """Authors, venue and year; empty for a control of this suite."""
    reference: str | None = None
    """Key in reports/references.yaml; None without an entry."""
    color: Annotated[str, Field(pattern=r"^#[0-9A-Fa-f]{6}$")] | None = None
    """Color of the curve in figures, ``#RRGGBB``; None for the next unused one."""
    marker: Annotated[str, Field(pattern=r"^[.,ov^<>1-48spP*hH+xXDd|_]$")] | None = None
    """Matplotlib's name of the curve's marker; None for the next unused one."""
    dashes: Annotated[tuple[Annotated[float, Field(ge=0, le=100)], ...], Field(min_length=2, max_length=12)] = (1, 0)
    """Lengths of dash and gap in line widths, repeated along the line; (1, 0) is a solid line."""
    table_order: int = 10
    """Sort key of the rows of main tables; rows with equal keys have the order of the runs."""


class BackboneInfo(Frozen):
    """The backbone in the run's spec, even if the method trains another one."""

    name: str
    family: str
    """Architecture, and its key in reports/references.yaml: ``vit``, ``deit``, ``swin``, or that of another package."""
    idle_token_variant_of: str | None = None
    """Name of the same backbone without an unread distillation token; None for all others."""
    image_size: PositiveInt | None = None
    """Side of the square input, in pixels; None where it is not recorded."""


class SplitAccuracy(Frozen):
    """Accuracy by split, in [0, 1]; in segmentation the mIoU, in detection the AP."""

    val: Share
    test: Share


class _Record(Frozen):
    """The common fields of the records of finished and failed runs."""

    schema_version: Literal[3] = SCHEMA
    run_id: str
    spec: RunSpec
    provenance: Provenance
    files: tuple[Artifact, ...] = ()
    """The files beside the record; set when the record is written."""

    @property
    def label(self) -> str:
        """The method with the options that the grid sets, on one line, for tables."""
        return printable(self.spec.train.method.label)


class DoneRecord(_Record):
    """A run that has results."""

    status: Literal["done"] = "done"
    method: MethodInfo
    backbone: BackboneInfo
    own_policy: str = ""
    """Label, as in `points`, of the exit policy of the method's paper; empty without early exits and for imported models."""
    stages: tuple[StageRef, ...]
    data: DataCard
    costs: CostTable
    exits: tuple[ExitMetrics, ...]
    static_accuracy: SplitAccuracy
    """Accuracy of the backbone without exits in the same seed: the reference for accuracy drops."""
    points: tuple[OperatingPoint, ...]

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.backbone.name != self.spec.train.backbone:
            raise ValueError(
                f"backbone.name is {self.backbone.name!r}, and spec.train.backbone {self.spec.train.backbone!r}"
            )
        early = len(self.spec.train.exits)
        if early and not early + 1 == len(self.exits) == len(self.costs.cumulative) == len(self.costs.heads):
            raise ValueError("spec.train.exits, exits and costs are not of the same length")
        for point in self.points:
            if point.test is not None and len(point.test.exit_shares) != len(self.exits):
                raise ValueError(f"the point {point.name!r} does not fit the exits")
        return self

    @property
    def is_external(self) -> bool:
        """Whether the run comes from a table of answers: this suite has no model of it, and its costs are claimed."""
        return any(reference.stage == EXTERNAL for reference in self.stages)

    @property
    def depth(self) -> int:
        """Number of blocks of the backbone."""
        return self.costs.depth


class FailedRecord(_Record):
    """A run without results."""

    status: Literal["failed"] = "failed"
    cause: str
    """One sentence."""
    failure: FailureCause
    blocked_by: str | None = None
    """Name of the missing stage if `failure` is ``blocked``."""


RunRecord = DoneRecord | FailedRecord

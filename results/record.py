"""The record of a run: small, complete, written once when the run ends. Every number in a report traces back to one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PositiveInt, TypeAdapter, field_validator, model_validator

from results.frozen import Frozen
from results.provenance import Provenance
from results.sealed import unsealed
from results.spec import Options, RunSpec
from results.text import UNSAFE, printable

SCHEMA: Literal[3] = 3

PointKind = Literal["accuracy-drop", "equal-macs", "fixed"]
FailureCause = Literal[
    "oom",
    "nan",
    "disk-full",
    "missing-data",
    "time-limit",
    "node-failure",
    "cancelled",
    "killed",
    "blocked",
    "error",
]
"""Why a stage or run failed: out of memory, a loss that is not finite, a full disk, data that are missing or damaged on the
machine that did the work, the scheduler's time limit, a failed machine, a cancelled job, repeated crashes without an error
message, a missing stage that the run depends on, or anything else."""


EXTERNAL = "external"
"""Kind of the stage, and beginning of the method's name, of runs from a table of answers (the command ``evaluate``)."""
EXTERNAL_FILE = "exits.parquet"


Share = Annotated[float, Field(ge=0, le=1)]
"""An accuracy, or a share of samples."""
Macs = Annotated[int, Field(ge=0, le=10**18)]
PositiveMacs = Annotated[int, Field(gt=0, le=10**18)]
Block = Annotated[int, Field(ge=1, le=10_000)]


class Artifact(Frozen):
    """One file of a stage, relative to the results folder, or one beside a record, relative to the record's folder."""

    path: str
    sha256: str
    bytes: Annotated[int, Field(ge=0)]

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, path: str) -> str:
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts or "\\" in path:
            raise ValueError(f"the path {path!r} leaves the results folder")
        return path


class StageRef(Frozen):
    """A stage that the run depends on."""

    stage: Annotated[str, Field(pattern=r"^[a-z]+$")]
    """Its kind. Kind and key form a folder name, so both are restricted to plain characters."""
    key: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    code: dict[str, int]
    """Versions of the code that computed it, by domain."""
    seconds: Annotated[float, Field(ge=0)]
    """Wall time of the work, over all attempts; shared by all runs that share the stage."""
    shared_pass: PositiveInt
    """Number of stages trained in the same pass, this one included; `seconds` is the time of the whole pass."""
    artifacts: tuple[Artifact, ...]

    @property
    def name(self) -> str:
        """The stage's folder."""
        return f"{self.stage}-{self.key}"


class CostTable(Frozen):
    """What leaving at each exit costs, in multiply-accumulates (MACs) for one image.

    The headline counts convolution, linear, matrix products and fused attention; normalisation is listed apart.
    """

    unit: Literal["MAC"] = "MAC"
    stem: Macs
    """Patch embedding."""
    blocks: tuple[Macs, ...]
    """Each block, length L (patch merging counts to the block after it)."""
    heads: tuple[Macs, ...]
    """Each early exit's head and, last, the final classifier; length K."""
    cumulative: tuple[PositiveMacs, ...]
    """What has run when a sample leaves at each exit, every head on the way included; length K."""
    depth: Block
    """Blocks of the backbone that speed-ups are over; more than `blocks` where the model is truncated."""
    baseline: PositiveMacs
    """That backbone, whole and without early exits."""
    norms: Macs
    """Normalisation of the whole model, counted by fvcore's convention; not part of the numbers above."""
    linear_conv_cumulative: tuple[Macs, ...]
    """`cumulative` with linear and convolution layers alone, for comparison with published values."""
    linear_conv_baseline: Macs
    parameters: Macs
    heads_parameters: Macs
    """Of the early exits' heads."""
    uncounted: tuple[str, ...]
    """Operators that the model uses and that are not counted, as they cost no multiply-accumulates to speak of."""


class ExitMetrics(Frozen):
    """One exit evaluated on every sample (anytime accuracy)."""

    block: Block
    head: str
    val_accuracy: Share
    test_accuracy: Share


class WeightedThreshold(Frozen):
    """A threshold that takes part in an operating point."""

    threshold: float
    weight: Annotated[float, Field(gt=0, le=1)]


class Measured(Frozen):
    """A policy at an operating point, on one split. Accuracies in [0, 1], costs in MACs."""

    accuracy: Share
    mean_macs: Annotated[float, Field(gt=0, le=1e18)]
    mean_block: Annotated[float, Field(gt=0, le=10_000)]
    exit_shares: tuple[Share, ...]
    """Share of samples that leave at each exit, length K, summing to 1."""

    @field_validator("exit_shares")
    @classmethod
    def _sums_to_one(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        if not abs(sum(shares) - 1) < 1e-6:
            raise ValueError("the exit shares do not sum to 1")
        return shares


class Redrawn(Frozen):
    """95 % intervals over val and test images, drawn anew by the bootstrap, the threshold chosen again on each draw of val.

    Intervals elsewhere are over test images given the threshold; these also cover the choice of the threshold.
    """

    drop: tuple[float, float]
    """Accuracy drop on test against the backbone without exits."""
    layer_speedup: tuple[float, float]
    mac_speedup: tuple[float, float]

    @model_validator(mode="after")
    def _are_intervals(self) -> Self:
        if not (-1 <= self.drop[0] <= self.drop[1] <= 1):
            raise ValueError(f"{self.drop} is no interval of an accuracy drop")
        for low, high in (self.layer_speedup, self.mac_speedup):
            if not 0 < low <= high <= 1e6:
                raise ValueError(f"({low}, {high}) is no interval of a speed-up")
        return self


class OperatingPoint(Frozen):
    """A point chosen on val and looked up on test.

    kind ``accuracy-drop``: the cheapest setting whose val accuracy is at most `target` below that of the static backbone.
    kind ``equal-macs``: mean MACs of `target` times the baseline. The settings come from a grid fixed on val; on test the
    two neighbours that enclose the budget are mixed so that the mean cost is exact. Only test costs enter, no test labels.
    kind ``fixed``: the threshold that the grid named; `target` is that threshold.
    """

    policy: str
    kind: PointKind
    target: float
    settings: tuple[WeightedThreshold, ...]
    """Empty when val offers no such setting (drop), or no setting reaches the budget."""
    val: Measured | None
    """None when the point was not reached; likewise `test`."""
    test: Measured | None
    redrawn: Redrawn | None = None
    """Of a point of kind ``accuracy-drop``; None for others, and where fewer than 95 % of the draws reach the drop."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if not self.reached == (self.val is not None) == (self.test is not None):
            raise ValueError(f"the point {self.name!r} has settings without numbers, or numbers without settings")
        return self

    @property
    def reached(self) -> bool:
        return bool(self.settings)

    @property
    def name(self) -> str:
        """For instance ``confidence/accuracy-drop-0.005``: the key into the outcomes."""
        return f"{self.policy}/{self.kind}-{self.target:g}"


class DataCard(Frozen):
    """What the run was trained and measured on."""

    name: str
    fingerprint: str
    classes: Annotated[int, Field(ge=1, le=10**7)]
    sizes: dict[str, Annotated[int, Field(ge=0, le=10**9)]]
    """Number of images, by split."""
    split_identity: dict[str, str]
    """SHA-256 over sample ids and labels, by split."""
    content: dict[str, str]
    """SHA-256 over the images, by split: ``pixels:`` of all images, or ``files:`` of their names and sizes in bytes."""
    split_rule: str
    """How train, val and test were made, in words."""
    transforms: dict[str, str]
    """The transforms of an image in each training stage and in scoring, in words."""
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

    def same_test_images(self, other: DataCard) -> bool:
        """Whether equal sample ids are the same test images, as far as the two cards can tell."""
        first, second = ((card.split_identity.get("test"), card.content.get("test")) for card in (self, other))
        return first == second


class MethodInfo(Frozen):
    """The method that was trained."""

    name: str
    options: Options
    """Every option with its value, defaults included."""
    display_name: str
    """Its name in text, tables and figures."""
    citation: str = ""
    """Authors, venue and year; empty for a control of this suite."""
    reference: str | None = None
    """Its key in reports/references.yaml; None if it has none there."""
    color: str | None = None
    """Of its curve in figures, as ``#RRGGBB``; None takes a spare one. Likewise `marker`, as matplotlib names it."""
    marker: str | None = None
    dashes: tuple[float, ...] = (1, 0)
    """Lengths of dash and gap in line widths, repeated along the line; (1, 0) is a solid line."""
    table_order: int = 10
    """Rows of main tables are sorted by it; equal numbers keep the order of the runs."""


class BackboneInfo(Frozen):
    """The backbone of the run (of its spec, also where the method replaces it)."""

    name: str
    family: str
    """Architecture, and its key in reports/references.yaml: ``vit``, ``deit``, ``swin``, or that of a backbone from outside."""
    idle_token_variant_of: str | None = None
    """Name of the same backbone without an unread distillation token; None for all others."""


class SplitAccuracy(Frozen):
    """Accuracy by split, in [0, 1]."""

    val: Share
    test: Share


class _Record(Frozen):
    """What the records of done and of failed runs share."""

    schema_version: Literal[3] = SCHEMA
    run_id: str
    spec: RunSpec
    provenance: Provenance
    files: tuple[Artifact, ...] = ()
    """The files beside the record; filled in when it is written."""

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
    """Label of the exit policy of the method's own paper, as `points` name it; empty for a model without early exits, and for
    an imported one."""
    stages: tuple[StageRef, ...]
    data: DataCard
    costs: CostTable
    exits: tuple[ExitMetrics, ...]
    static_accuracy: SplitAccuracy
    """Accuracy of the backbone without exits, same seed: the reference of every accuracy drop."""
    points: tuple[OperatingPoint, ...]

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
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
    """A run that could not be made."""

    status: Literal["failed"] = "failed"
    cause: str
    """One sentence."""
    failure: FailureCause
    blocked_by: str | None = None
    """Of a blocked run: the name of the missing stage."""


RunRecord = DoneRecord | FailedRecord
_RECORD: TypeAdapter[RunRecord] = TypeAdapter(Annotated[RunRecord, Field(discriminator="status")])


def parse_record(content: bytes) -> RunRecord:
    """
    Raises:
        ValueError: it is no record of this schema, does not fit its checksum, or contains characters of `UNSAFE` other than
            newlines: records may come from strangers.
    """
    record = _RECORD.validate_python(record_fields(content))
    text = content.decode()
    if "\\" in text or UNSAFE.search(text.replace("\n", "")):  # most records have no escapes: a quick check suffices
        refuse_control_characters(record.model_dump(exclude={"cause"}))
    return record


def refuse_control_characters(content: Any) -> None:
    """
    Raises:
        ValueError: a text in nested data contains characters of `UNSAFE` other than newlines.
    """
    for value in _texts(content):
        if UNSAFE.search(value.replace("\n", "")):
            raise ValueError(f"{printable(value[:60])!r} contains control characters")


def record_fields(content: bytes) -> dict[str, Any]:
    """The fields of a record, not yet validated.

    Raises:
        ValueError: it does not fit its checksum, or has another schema.
    """
    fields = unsealed(content)
    if fields.get("schema_version") != SCHEMA:
        raise SchemaError(fields.get("schema_version"))
    return fields


class SchemaError(ValueError):
    """Another version of this suite wrote the record."""

    def __init__(self, schema: object) -> None:
        super().__init__(
            f"another version of this suite wrote it (schema {str(schema)[:20]!r}, this version reads {SCHEMA})"
        )


def _texts(content: Any) -> Iterator[str]:
    """All texts in nested data, keys included."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict):
        for key, value in content.items():
            yield str(key)
            yield from _texts(value)
    elif isinstance(content, list | tuple):
        for value in content:
            yield from _texts(value)

"""A run's record: small, complete, written once when the run ends. Everything that a report says traces back to one."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

SCHEMA = 2
OUT_OF_MEMORY = re.compile(r"out of memory|OutOfMemory|can't allocate memory|MemoryError", re.IGNORECASE)

PointKind = Literal["accuracy-drop", "equal-macs", "fixed"]
Failure = Literal[
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
"""Why something was not made: too little memory, a loss that is no number, a full disk, data that are missing or damaged where
the work was done, the scheduler's time limit, a machine that failed, a job that was taken back, processes that died without a
word more often than is tried, a stage before it, or anything else."""


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Artifact(Frozen):
    """One file of a stage, relative to the results folder."""

    path: str
    sha256: str
    bytes: int

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, path: str) -> str:
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts or "\\" in path:
            raise ValueError(f"the path {path!r} leaves the results folder")
        return path


class StageRef(Frozen):
    """A stage that the run stands on."""

    stage: Annotated[str, Field(pattern=r"^[a-z]+$")]
    """Its kind; with the key the name of a folder, so that nothing else may stand in either."""
    key: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    code_version: int
    seconds: float
    """Wall time of the work, over all attempts; shared by all runs that share the stage."""
    shared_pass: int
    """How many stages were trained in one pass with this one, itself included; `seconds` is that of the whole pass."""
    artifacts: tuple[Artifact, ...]


class CostTable(Frozen):
    """What leaving at each exit costs, in multiply-accumulates (MACs) for one image.

    The headline counts convolution, linear, matrix products and fused attention; normalisation is listed apart.
    """

    unit: Literal["MAC"] = "MAC"
    stem: int
    """Patch embedding."""
    blocks: tuple[int, ...]
    """Each block, length L (patch merging counts to the block after it)."""
    heads: tuple[int, ...]
    """Each early exit's head and, last, the final classifier; length K."""
    cumulative: tuple[int, ...]
    """What has run when a sample leaves at each exit, every head on the way included; length K."""
    depth: int
    """Blocks of the backbone that speed-ups are over; more than `blocks` where the model is truncated."""
    baseline: int
    """That backbone, whole and without early exits."""
    norms: int
    """Normalisation of the whole model, counted by fvcore's convention; not part of the numbers above."""
    linear_conv_cumulative: tuple[int, ...]
    """`cumulative` with linear and convolution layers alone, for comparison with published values."""
    linear_conv_baseline: int
    parameters: int
    heads_parameters: int
    """Of the early exits' heads."""
    uncounted: tuple[str, ...]
    """Operators seen and known to cost no multiply-accumulates worth counting."""


class ExitMetrics(Frozen):
    """One exit asked about every sample (anytime accuracy)."""

    block: int
    head: str
    val_accuracy: float
    test_accuracy: float


class Setting(Frozen):
    """A threshold that takes part in an operating point."""

    threshold: float
    weight: float


class Measured(Frozen):
    """A policy at an operating point, on one split. Accuracies in [0, 1], costs in MACs."""

    accuracy: float
    mean_macs: float
    mean_block: float
    exit_shares: tuple[float, ...]


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
    settings: tuple[Setting, ...]
    """Empty when val offers no such setting (drop), or no setting reaches the budget."""
    val: Measured | None
    test: Measured | None

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
    classes: int
    sizes: dict[str, int]
    split_identity: dict[str, str]
    """SHA-256 over sample ids and labels, by split."""
    content: dict[str, str] = {}
    """SHA-256 over what was there, by split: ``pixels:`` of all images, or ``files:`` of their names and sizes in bytes."""
    split_rule: str = ""
    """What played train, val and test, in words."""
    transforms: dict[str, str] = {}
    """What an image goes through in each stage and in scoring, in words."""
    citation: str
    licence: str
    redistributable: bool | None = None
    """Whether a report may show the images; None in records from before this was noted."""


class RunRecord(Frozen):
    """One run."""

    schema_version: int = SCHEMA
    run_id: str
    label: str
    """The method with its options, for tables."""
    spec: dict[str, Any]
    own_policy: str = ""
    """The method's own rule for leaving, as `points` label it; empty where nobody asked."""
    method: dict[str, Any] = {}
    """Every option of the method with its value, those that the spec leaves at their defaults included."""
    status: Literal["done", "failed"]
    cause: str | None = None
    """Why it failed, in a sentence; None when done."""
    failure: Failure | None = None
    """The kind of cause; None when done, and in records from before it was noted."""
    blocked_by: str | None = None
    """Of a blocked run: the name of the stage that is not there."""
    stages: tuple[StageRef, ...] = ()
    provenance: dict[str, Any]
    data: DataCard | None = None
    costs: CostTable | None = None
    exits: tuple[ExitMetrics, ...] = ()
    static_accuracy: dict[str, float] = {}
    """Accuracy of the backbone without exits, same seed, by split: what every drop is measured against."""
    points: tuple[OperatingPoint, ...] = ()

    @property
    def kind_of_failure(self) -> Failure | None:
        """`failure`, guessed from the cause in records from before it was noted."""
        if self.status == "done" or self.failure is not None:
            return self.failure
        return "oom" if OUT_OF_MEMORY.search(self.cause or "") else "error"

    @property
    def depth(self) -> int:
        """Number of blocks of the backbone."""
        assert self.costs is not None
        return self.costs.depth


def same_test_images(first: RunRecord, second: RunRecord) -> bool:
    """Whether equal sample ids are the same test images, by all that the records tell of these."""
    if first.data is None or second.data is None:
        return False
    told = [(data.split_identity.get("test"), data.content.get("test")) for data in (first.data, second.data)]
    return told[0] == told[1]

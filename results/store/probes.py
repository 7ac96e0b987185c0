"""Linear probes of a trained backbone: the artifact of the stage ``probes``. Every run on that backbone reads them.

Heads are compared with probes that have the same loss: distillation changes the accuracy that a converged head has.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, PositiveInt, ValidationError

from results.frozen import Frozen
from results.operating_point import Share
from results.record import Block, DoneRecord
from results.record_parsing import refuse_control_characters
from results.store.files import read_file
from results.store.folder import Store, StoreError
from results.text import printable

KIND = "probes"
FILE = "probes.json"
FILE_BYTES = 2**22

CLASS_TOKEN: Literal["class token"] = "class token"
PATCH_MEAN: Literal["patch mean"] = "patch mean"
BOTH: Literal["both"] = "both"
ProbeInputs = Literal["class token", "patch mean", "both"]


class BlockProbe(Frozen):
    """Classifiers on the tokens after a block. Test chooses nothing."""

    block: Block
    inputs: ProbeInputs
    """Class tokens, the mean of the patch tokens, or both concatenated."""
    strength: Annotated[float, Field(gt=0)]
    """Of the L2 penalty of the linear probe, the one with the best val accuracy."""
    val_accuracy: Share
    test_accuracy: Share
    """Of the linear probe."""
    test_correct: Annotated[str, Field(max_length=2**18)]
    """Whether the linear probe classifies each test image correctly: see `packed`."""
    mean_val_accuracy: Share
    mean_test_accuracy: Share
    """Of the nearest class mean."""


def packed(correct: np.ndarray) -> str:
    """One bit per image, in ascending order of the sample ids, in base64.

    Args:
        correct: bool [N].
    """
    return base64.b64encode(np.packbits(correct).tobytes()).decode("ascii")


def unpacked(text: str, count: int) -> np.ndarray | None:
    """The inverse of `packed` for ``count`` images, bool [count]; None if the text does not hold that many."""
    try:
        bits = np.frombuffer(base64.b64decode(text, validate=True), dtype=np.uint8)
    except ValueError:
        return None
    return np.unpackbits(bits, count=count).astype(bool) if len(bits) == -(-count // 8) else None


class LastQuarter(Frozen):
    """The val accuracy of the final classifier before the last quarter of the training and after it."""

    epochs: PositiveInt
    """Of the whole training."""
    before_epoch: PositiveInt
    """The epoch after which the last quarter begins."""
    before: Share
    after: Share

    @property
    def gain(self) -> float:
        return self.after - self.before


class Distillation(Frozen):
    """The loss (1 - weight) * cross-entropy + weight * T^2 KL(teacher || student); the teacher is the final classifier."""

    weight: Annotated[float, Field(gt=0, le=1)]
    temperature: Annotated[float, Field(gt=0)]


class Probes(Frozen):
    """The probes of one backbone on one dataset."""

    backbone: str
    """Name of the stage that trained the backbone."""
    content: dict[str, str]
    """SHA-256 over the images, by split, as in `results.record.DataCard`."""
    probes: tuple[BlockProbe, ...]
    last_quarter: LastQuarter | None
    """None if it was not measured while the backbone was trained."""
    distillation: Distillation | None = None
    """Beside the cross-entropy in the loss of the linear probes; None for cross-entropy alone."""

    def fits(self, record: DoneRecord) -> bool:
        """Whether they describe the backbone and the data of a run."""
        own = backbone_stage(record)
        return own == self.backbone and self.content == record.data.content

    def fit_heads(self, record: DoneRecord) -> bool:
        """Whether they fit a run and have the loss of its heads."""
        return self.fits(record) and self.distillation == distillation_of(record)

    def at(self, block: int, inputs: str) -> BlockProbe | None:
        return next((probe for probe in self.probes if (probe.block, probe.inputs) == (block, inputs)), None)


def backbone_stage(record: DoneRecord) -> str | None:
    """The stage that holds the backbone of a run's own model; None for imported and external runs."""
    names = {reference.stage: reference.name for reference in record.stages}
    return names.get("joint", names.get("finetune"))


TEMPERATURE = 2.0
"""Of the distillation in all methods."""


def distillation_of(record: DoneRecord) -> Distillation | None:
    """The distillation in the loss of a run's heads; None for heads that train with cross-entropy.

    The division by the number of classes, as in the official code, is part of the weight.
    """
    options = record.method.options
    weight = options.get("kd_weight", 0)
    trained_last = options.get("regime") in (
        "frozen",
        "alternating-frozen",
    )  # together with the backbone: cross-entropy alone
    if not trained_last or not isinstance(weight, int | float) or not 0 < weight <= 1:
        return None
    if options.get("kd_divisor") == "elements":
        weight /= weight + (1 - weight) * record.data.classes
    return Distillation(weight=weight, temperature=TEMPERATURE)


def read_probes(store: Store, damaged: list[str]) -> list[Probes]:
    """All probes in a results folder; a sentence for each damaged artifact is appended to ``damaged``."""
    probes = []
    for name in store.stages(KIND):
        try:
            content = Probes.model_validate_json(read_file(store.plain_file(store.artifact(name, FILE)), FILE_BYTES))
            refuse_control_characters(content.model_dump())
            probes.append(content)
        except (StoreError, OSError, ValueError) as error:
            reason = str(error)
            if isinstance(error, ValidationError):
                first = error.errors()[0]
                reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            damaged.append(f"{store.stage(name) / FILE}: {printable(reason)[:300]}")
    return probes


def without_probes(store: Store, run_ids: Sequence[str]) -> list[DoneRecord]:
    """The records of runs with an exit whose tokens are not probed; external and imported runs have no backbone to probe.

    Raises:
        StoreError: a record is damaged.
    """
    stored = read_probes(store, [])
    missing = []
    for record in map(store.done_record, run_ids):
        probed = {probe.block for probes in stored if probes.fit_heads(record) for probe in probes.probes}
        if backbone_stage(record) and not {exit_.block for exit_ in record.exits[:-1]} <= probed:
            missing.append(record)
    return missing

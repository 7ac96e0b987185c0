"""The stage ``probes``: linear probes and nearest class means on the tokens of a trained backbone, for all runs on it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from benchmark import provenance
from benchmark.representations.features import Features, features
from benchmark.representations.logistic import STRENGTHS, Teacher, linear_probe, nearest_mean_accuracy
from benchmark.representations.subject import VAL, Subject
from benchmark.stages.graph import measurement_name
from results.store.probes import FILE, KIND, BlockProbe, Distillation, LastQuarter, Probes, packed


def probe_backbone(
    subject: Subject, blocks: Sequence[int], distillation: Distillation | None = None
) -> tuple[str, Probes]:
    """The probes of a backbone, from one pass over train, val and test, unless they exist.

    Args:
        subject: the backbone and its data.
        blocks: 1-based, after which the tokens are probed.
        distillation: in the loss of the linear probes.

    Returns:
        the name and the content of the stage.

    Raises:
        UserError: the data on this machine are not those of the run.
        StoreError: an artifact is missing or was changed.
    """
    blocks = sorted(set(blocks))
    store, fields = subject.store, subject.fields | {"blocks": blocks, "strengths": list(STRENGTHS)}
    if distillation is not None:
        fields["distillation"] = distillation.model_dump()
    name, complete = measurement_name(fields, KIND)
    if store.has_stage(name):
        return name, Probes.model_validate_json(store.artifact(name, FILE).read_bytes())
    inputs, backbone = subject.inputs(), subject.load()
    start = time.monotonic()
    # Fits depend on the number of threads only in rounding; augmentation and order play no part.
    splits = {split: features(backbone, inputs, split, blocks, subject.device) for split in ("train", "val", "test")}
    classes, order = len(inputs.card.classes), splits["test"].sample_id.argsort()
    teacher = _teacher(distillation, splits["train"])
    probes = []
    for block in blocks:
        for kind in splits["train"].inputs(block):
            train, val, test = (splits[split].at(block, kind) for split in splits)
            probe = linear_probe(train, val, test, classes, teacher=teacher)
            means = [nearest_mean_accuracy(train, split, classes) for split in (val, test)]
            probes.append(
                BlockProbe(
                    block=block, inputs=kind, strength=probe.strength, val_accuracy=probe.val_accuracy,
                    test_accuracy=probe.test_accuracy, test_correct=packed(probe.test_correct[order].cpu().numpy()),
                    mean_val_accuracy=means[0], mean_test_accuracy=means[1],
                )
            )  # fmt: skip
    content = Probes(
        backbone=subject.backbone,
        content=subject.record.data.content,
        probes=tuple(probes),
        last_quarter=_last_quarter(subject, splits["val"].final_accuracy),
        distillation=distillation,
    )
    store.prepare()
    with store.write_stage(
        name, complete, provenance.stage_provenance(str(subject.device), time.monotonic() - start)
    ) as folder:
        (folder / FILE).write_text(content.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return name, content


def _teacher(distillation: Distillation | None, train: Features) -> Teacher | None:
    """The final classifier as the teacher of probes."""
    if distillation is None:
        return None
    probabilities = (train.final_logits.to(train.device) / distillation.temperature).softmax(1)
    return Teacher(distillation.weight, distillation.temperature, probabilities)


def _last_quarter(subject: Subject, after: float) -> LastQuarter | None:
    if not any(artifact.path.endswith(f"/{VAL}") for artifact in subject.store.artifacts(subject.backbone)):
        return None
    stored = json.loads(subject.store.artifact(subject.backbone, VAL).read_bytes())
    return LastQuarter(
        epochs=stored["epochs"], before_epoch=stored["epoch"], before=stored["val_accuracy"], after=after
    )

"""A finished run's model, ready to be timed: compared with its stored scores on the same images first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark import provenance
from benchmark.errors import UserError
from benchmark.evaluation.scores import ExitScores
from benchmark.evaluation.stored_runs import load_run_scores
from benchmark.measure.agreement import DEVICE_TOLERANCES, TOLERANCE, Agreement, dynamic_agreement
from benchmark.measure.attention import attention_kernels
from benchmark.measure.audit import TimedAnswers, audit
from benchmark.measure.dynamic import PRECISIONS
from benchmark.measure.finished import choose_point, finished_run, load_model, policy_at, reference_backbone
from benchmark.training.inputs import Inputs, read_inputs
from methods.api import ALL_TASKS
from methods.backbones.backbone import BlockBackbone
from methods.model import MultiExitModel
from methods.policies.policy import ExitPolicy
from results.provenance import Machine
from results.record import DoneRecord, OperatingPoint
from results.store.folder import Store
from results.store.latency import Audit


@dataclass(frozen=True)
class Subject:
    """What is timed: a run at an operating point, on a device.

    Attributes:
        store: the results folder.
        record: of the run.
        point: the operating point.
        device: of the model.
        precision: a key of `PRECISIONS`.
        images: number of test images.
        data_dir: the user's folder of datasets, if any.
        machine: this machine.
    """

    store: Store
    record: DoneRecord
    point: OperatingPoint
    device: torch.device
    precision: str
    images: int
    data_dir: Path | None
    machine: Machine

    @classmethod
    def of(
        cls,
        store: Store,
        reference: str,
        point: str | None,
        device: torch.device,
        *,
        precision: str,
        images: int,
        threads: int | None,
        data_dir: Path | None,
    ) -> Subject:
        """The subject of a timing; sets the number of torch's CPU threads unless ``threads`` is None.

        Raises:
            UserError: the run or point does not exist or cannot be timed.
        """
        record = finished_run(store, reference, without_exits=True, tasks=ALL_TASKS)
        operating_point = choose_point(record, point)
        if threads is not None:
            torch.set_num_threads(threads)
        machine = provenance.machine(str(device))
        return cls(store, record, operating_point, device, precision, images, data_dir, machine)

    @property
    def threshold(self) -> float:
        return self.point.settings[0].threshold

    @property
    def fields(self) -> dict[str, Any]:
        """What every measurement of the subject depends on, for the key of its stage."""
        return {
            "run": self.record.run_id,
            "point": self.point.name,
            "threshold": self.threshold,
            "images": self.images,
            "precision": self.precision,
            "machine": self.machine.model_dump(include={"device", "gpu", "cpu", "threads"}),
            "torch": self.machine.packages["torch"],
        }


@dataclass(frozen=True)
class CheckedModel:
    """A model whose dynamic inference agrees with the stored scores.

    Attributes:
        model: in evaluation mode, in the precision of the subject.
        backbone: without exits, with which the model is compared; likewise.
        policy: with its threshold.
        pixels: preprocessed test images, (N, channels, H, W).
        stored: scores of test; their first N samples are the images.
        check: the comparison.
        attention: see `attention_kernels`.
        subject: the run.
    """

    model: MultiExitModel
    backbone: BlockBackbone
    policy: ExitPolicy
    pixels: Tensor
    stored: ExitScores
    check: Agreement
    attention: tuple[str, ...]
    subject: Subject

    def audit(self, answers: TimedAnswers) -> Audit:
        """
        Raises:
            UserError: an answer of the timed run is not the offline decision.
        """
        tolerance = DEVICE_TOLERANCES[self.subject.precision]
        return audit(answers, self.policy, self.stored, tolerance, self.subject.record.run_id, self.model.task)


def checked_model(subject: Subject, say: Callable[[str], None]) -> CheckedModel:
    """Load the model and compare dynamic inference with the stored scores.

    Args:
        subject: what is timed.
        say: prints a progress message.

    Raises:
        UserError: dynamic inference disagrees with the stored scores, or the policy decides by the order of the samples.
        StoreError: an artifact is missing or was changed.
    """
    record, precision = subject.record, subject.precision
    model = load_model(subject.store, record, subject.device).to(PRECISIONS[precision])
    scores = load_run_scores(subject.store, record)
    policy = policy_at(record, subject.point, scores["val"])
    if policy.ordered:
        raise UserError(
            f"point {subject.point.name}: its decisions depend on the samples before, so answers of a timed run cannot be "
            "compared with the offline decisions; use a point of another policy"
        )
    inputs = read_inputs(record.spec.train, subject.data_dir)
    pixels = first_images(inputs, subject.images).to(subject.device, PRECISIONS[precision])
    check = dynamic_agreement(model, policy, pixels, scores["test"])
    if not check.within(DEVICE_TOLERANCES[precision]):
        patches = "" if check.patches is None else f"{check.patches:.1%} of the patches have another class, "
        raise UserError(
            f"run {record.run_id}: dynamic inference disagrees with the stored scores: {check.unexplained} samples take "
            f"another exit, {patches}and logits differ by {check.logit_error:.1e} of the largest; nothing was timed"
        )
    if precision == "fp32" and check.patches is None and check.logit_error > TOLERANCE:
        say(
            f"logits differ from the stored ones by {check.logit_error:.1e} of the largest: they were computed on "
            "other hardware or with another number of threads"
        )
    backbone = reference_backbone(subject.store, record, model, subject.device).to(PRECISIONS[precision])
    return CheckedModel(
        model, backbone, policy, pixels, scores["test"], check, attention_kernels(model, pixels), subject
    )


def first_images(inputs: Inputs, count: int) -> Tensor:
    """The first ``count`` preprocessed test images, or all of them if there are fewer."""
    batches: list[Tensor] = []
    for batch in inputs.scoring("test"):
        batches.append(batch.images)
        if sum(map(len, batches)) >= count:
            break
    return torch.cat(batches)[:count]

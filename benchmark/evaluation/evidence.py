"""Reads scores as evidence of their task."""

from __future__ import annotations

from benchmark.evaluation.box_evidence import BoxEvidence
from benchmark.evaluation.class_evidence import ClassEvidence
from benchmark.evaluation.pixel_evidence import PixelEvidence
from benchmark.evaluation.scores import ExitScores
from benchmark.evaluation.task_evidence import Evidence


def evidence_of(scores: ExitScores) -> Evidence:
    """The scores as evidence of the task whose answers they hold."""
    if scores.detections is not None:
        return BoxEvidence(scores)
    return ClassEvidence(scores) if scores.counts is None else PixelEvidence(scores)

"""The registry of tasks: what a model answers for an image, and how the answer is trained, scored and judged."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from methods.api import TaskCard

if TYPE_CHECKING:
    from methods.tasks.task import Task

TASKS: dict[str, TaskCard] = {
    "classification": TaskCard(
        target="methods.tasks.classification:Classification",
        summary="one class for an image",
    ),
    "segmentation": TaskCard(
        target="methods.tasks.segmentation:Segmentation",
        code_version=3,
        summary="one class for every pixel",
        own_policy="map-confidence",
        labels_patches=True,
    ),
    "detection": TaskCard(
        target="methods.tasks.detection:Detection",
        code_version=3,
        summary="boxes of objects, each with a class",
        own_policy="box-confidence",
        labels_patches=True,
    ),
}


@cache
def get_task(name: str) -> Task:
    """The task registered as ``name``, which datasets' cards name. Imports torch.

    Raises:
        KeyError: there is no such task.
    """
    task: Task = TASKS[name].load()()
    return task

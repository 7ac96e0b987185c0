"""The augmentations of each task."""

from __future__ import annotations

from collections.abc import Mapping

from datasets.augment import AUGMENTATIONS, Augmentation
from datasets.box_augment import BOX_AUGMENTATIONS, BoxAugmentation
from datasets.joint_augment import JOINT_AUGMENTATIONS, JointAugmentation

AUGMENTATIONS_OF: dict[str, Mapping[str, Augmentation | JointAugmentation | BoxAugmentation]] = {
    "classification": AUGMENTATIONS,
    "segmentation": JOINT_AUGMENTATIONS,
    "detection": BOX_AUGMENTATIONS,
}
"""By the task's name and the name in a recipe."""

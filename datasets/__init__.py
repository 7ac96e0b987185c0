"""The registry of datasets, one line per dataset.

This is LGViT-Bench's own package; Hugging Face's has the same name (ARCHITECTURE.md, "The name `datasets`").
"""

from typing import NoReturn

from datasets.ade20k import ADE20K
from datasets.api import DatasetCard
from datasets.cifar import CIFAR_10, CIFAR_100
from datasets.coco import COCO_DETECTION
from datasets.fashion_mnist import FULL, MINI
from datasets.fashion_scenes import FASHION_SCENES, FASHION_SCENES_DETECTION
from datasets.food101 import FOOD_101
from datasets.imagenet import IMAGENET_1K
from datasets.oxford_pets import OXFORD_PETS, OXFORD_PETS_BREEDS
from datasets.tiny_imagenet import TINY_IMAGENET
from datasets.voc import VOC_SEGMENTATION
from datasets.voc_detection import VOC_DETECTION

DATASETS: dict[str, DatasetCard] = {
    "fashion-mnist-mini": MINI,
    "fashion-mnist": FULL,
    "fashion-scenes": FASHION_SCENES,
    "fashion-scenes-detection": FASHION_SCENES_DETECTION,
    "cifar-10": CIFAR_10,
    "cifar-100": CIFAR_100,
    "food-101": FOOD_101,
    "tiny-imagenet": TINY_IMAGENET,
    "imagenet-1k": IMAGENET_1K,
    "oxford-pets": OXFORD_PETS,
    "oxford-pets-breeds": OXFORD_PETS_BREEDS,
    "voc-segmentation": VOC_SEGMENTATION,
    "ade20k": ADE20K,
    "voc-detection": VOC_DETECTION,
    "coco-detection": COCO_DETECTION,
}


def __getattr__(name: str) -> NoReturn:
    if name.startswith("__"):
        raise AttributeError(name)
    raise AttributeError(
        f"'datasets' is LGViT-Bench's own package here ({__path__[0]}) and has no {name!r}. If you wanted Hugging Face's "
        "'datasets', start Python outside this checkout and leave the checkout out of PYTHONPATH."
    )

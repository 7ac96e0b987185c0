"""The data that methods are compared on. One line a registered dataset.

This is LGViT-Bench's own package; Hugging Face's has the same name (ARCHITECTURE.md, "The name `datasets`").
"""

from typing import NoReturn

from datasets.api import DatasetCard
from datasets.fashion_mnist import FULL, MINI

DATASETS: dict[str, DatasetCard] = {
    "fashion-mnist-mini": MINI,
    "fashion-mnist": FULL,
}


def __getattr__(name: str) -> NoReturn:
    if name.startswith("__"):
        raise AttributeError(name)
    raise AttributeError(
        f"'datasets' is LGViT-Bench's own package here ({__path__[0]}) and has no {name!r}. If you wanted Hugging Face's "
        "'datasets', start Python outside this checkout and leave the checkout out of PYTHONPATH."
    )

"""Class names of the larger datasets, one per line in the order of the class indices."""

from pathlib import Path


def class_lines(name: str) -> list[str]:
    """The lines of ``<name>.txt`` in this folder."""
    return Path(__file__).with_name(f"{name}.txt").read_text(encoding="utf-8").splitlines()

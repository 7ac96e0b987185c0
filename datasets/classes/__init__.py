"""The names of the classes of larger datasets, a line each, in the order of their indices."""

from pathlib import Path


def class_lines(name: str) -> list[str]:
    """The lines of ``<name>.txt`` in this folder."""
    return Path(__file__).with_name(f"{name}.txt").read_text(encoding="utf-8").splitlines()

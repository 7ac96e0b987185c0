"""Makes sure that `benchmark`, `datasets`, `methods`, `results` and `reports` are imported from this checkout.

The folder names are fixed, and `datasets` is also the name of Hugging Face's package. So the checkout is put in front of
sys.path; a package that was imported under one of our names before is an error.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path

from benchmark.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("benchmark", "methods", "datasets", "results", "reports")


def put_checkout_first() -> None:
    """Move the checkout to the front of sys.path and check that our names resolve to it.

    Raises:
        UserError: one of our names resolves to another package, for instance one that was imported before.
    """
    root = str(ROOT)
    if not sys.path or sys.path[0] != root:
        sys.path[:] = [root, *(entry for entry in sys.path if entry != root)]
    for name in PACKAGES:
        spec = find_spec(name)
        origin = Path(spec.origin).resolve() if spec and spec.origin else None
        if origin is None or not origin.is_relative_to(ROOT):
            raise UserError(
                f"the package {name!r} resolves to {origin}, not to {ROOT / name}: another package of that name was "
                "imported first. Run from the checkout (python -m benchmark) or use bin/lgvit-bench."
            )


def hidden_packages() -> dict[str, str]:
    """Other packages with our names that this Python would import without the checkout, as a mapping from name to file."""
    elsewhere = [entry for entry in sys.path if entry and not Path(entry).resolve().is_relative_to(ROOT)]
    specs = {name: PathFinder.find_spec(name, elsewhere) for name in PACKAGES}
    return {name: spec.origin for name, spec in specs.items() if spec is not None and spec.origin}

"""Makes sure that `datasets`, `methods`, `results` and `reports` are this checkout's.

The folder names are fixed, and `datasets` is also Hugging Face's package. Our place is in front of sys.path; whoever
imported another one first is named.
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
        UserError: a package of ours resolves elsewhere, for instance because it was imported before us.
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
    """Other packages of our names that this Python would find without us: name to place."""
    elsewhere = [entry for entry in sys.path if entry and not Path(entry).resolve().is_relative_to(ROOT)]
    found = {name: PathFinder.find_spec(name, elsewhere) for name in PACKAGES}
    return {name: spec.origin for name, spec in found.items() if spec is not None and spec.origin}

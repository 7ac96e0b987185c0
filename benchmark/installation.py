"""Whether the packages that training and measuring need are installed."""

from __future__ import annotations

import warnings
from importlib.util import find_spec

from benchmark.errors import UserError


def require_torch() -> None:
    """Call this before the first import of torch.

    Raises:
        UserError: torch, timm or fvcore is not installed.
    """
    for package in ("torch", "timm", "fvcore"):
        if find_spec(package) is None:
            raise UserError(
                f"the package {package!r} is not installed in this Python, and this command needs it. Set up the environment "
                "with 'pipx run tox -e demo', or install it by hand: pip install -e . -c constraints.txt"
            )
    # timm uses torch.jit.script when it is imported; users cannot do anything about it.
    warnings.filterwarnings("ignore", message=".*torch.jit.script.*", category=FutureWarning)

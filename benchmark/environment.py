"""Finds a Python that has the suite's packages: tox installs them into an environment of this checkout."""

from __future__ import annotations

import os
import sys
import warnings
from importlib.util import find_spec

from benchmark.checkout import ROOT
from benchmark.errors import UserError

PYTHON = ROOT / ".tox" / "py" / "bin" / "python"
PACKAGES = (
    "click", "filelock", "huggingface_hub", "jinja2", "matplotlib", "numpy", "packaging", "pandas", "PIL", "pyarrow",
    "pydantic", "rich", "safetensors", "scipy", "seaborn", "typst", "yaml",
)  # fmt: skip
"""Packages that every command may import; not torch, because reports, plans and lists work without it."""
SWITCHED = "LGVIT_BENCH_SWITCHED"
"""Set in the environment of the Python that was switched to, so that it does not switch again."""


def switch_environment(arguments: list[str]) -> None:
    """Restart in the environment made by tox if this Python lacks a package; except `doctor`, which reports missing packages.

    Raises:
        UserError: there is no such environment.
    """
    missing = [package for package in PACKAGES if find_spec(package) is None]
    if not missing or arguments[:1] == ["doctor"]:
        return
    lacks = f"this Python ({sys.executable}) lacks {', '.join(missing[:3])}{' and more' if len(missing) > 3 else ''}"
    if not PYTHON.is_file() or SWITCHED in os.environ:
        raise UserError(
            f"{lacks}. This command makes an environment with all packages and runs the grid quick in it: pipx run tox -e demo"
        )
    print(f"{lacks}; using {PYTHON.relative_to(ROOT)} of the checkout", file=sys.stderr, flush=True)
    options = ["-P"] if sys.flags.safe_path else []
    os.execve(PYTHON, [str(PYTHON), *options, "-m", "benchmark", *arguments], {**os.environ, SWITCHED: "1"})


def require_deploy(*packages: str) -> None:
    """Check packages of the extra ``deploy``. Call this before their first import.

    Raises:
        UserError: one is not installed.
    """
    for package in packages:
        if find_spec(package) is None:
            raise UserError(
                f"the package {package!r} is not installed in this Python, and this command needs it; install it with: "
                "pip install -e .[deploy] -c constraints.txt"
            )


def require_torch() -> None:
    """Check the packages that compute. Call this before the first import of torch.

    Raises:
        UserError: torch, timm or fvcore is not installed.
    """
    for package in ("torch", "timm", "fvcore"):
        if find_spec(package) is None:
            raise UserError(
                f"the package {package!r} is not installed in this Python, and this command needs it. Set up the environment "
                "with 'pipx run tox -e demo', or install it by hand: pip install -e . -c constraints.txt"
            )
    # timm's import causes this warning, and users cannot prevent it.
    warnings.filterwarnings("ignore", message=".*torch.jit.script.*", category=FutureWarning)


def require_tensorboard() -> None:
    """
    Raises:
        UserError: the package tensorboard, which torch's writer of curves needs, is not installed.
    """
    if find_spec("tensorboard") is None:
        raise UserError(
            "--log tensorboard needs the optional package tensorboard: pip install tensorboard -c constraints.txt"
        )

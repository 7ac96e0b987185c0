"""The code of a submission: a copy of the checkout as it stands, from which all its tasks run.

Tracked files as they are on disk, so with what is not committed, and new files of our packages that git does not ignore. The
hash covers what computes: a changed page of the documentation is no other code.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

from benchmark import provenance
from benchmark.checkout import PACKAGES, ROOT
from benchmark.errors import UserError

COMPUTES = (*(f"{package}/" for package in PACKAGES), "pyproject.toml", "constraints.txt")

SOURCES = (".py", ".yaml", ".typ")
SUBMISSIONS = "submissions"
"""In a results folder; one may lie in the checkout, and copies are not copied."""


def files_of(root: Path = ROOT) -> list[str]:
    """What belongs to the code of a checkout, relative to it.

    Raises:
        UserError: git cannot say.
    """
    tracked = _git(root, "ls-files", "-z")
    new = _git(root, "ls-files", "-z", "--others", "--exclude-standard", "--", *PACKAGES)
    if tracked is None or new is None:
        raise UserError(
            f"{root} is no git checkout, or git is not installed: Slurm tasks run from a copy that git lists"
        )
    fresh = {name for name in new.split("\0") if name.endswith(SOURCES) and SUBMISSIONS not in Path(name).parts}
    return [name for name in sorted({*tracked.split("\0"), *fresh} - {""}) if (root / name).is_file()]


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def code_hash(root: Path, files: list[str] | None = None) -> str:
    """16 hex digits over names and contents of the files that compute."""
    digest = hashlib.sha256()
    for name in files if files is not None else files_of(root):
        if name.startswith(COMPUTES):
            digest.update(f"{name}\0{hashlib.sha256((root / name).read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:16]


def freeze(target: Path, root: Path = ROOT) -> str:
    """Copy the code to a new folder.

    Returns:
        its hash, which every record of the submission names.
    """
    files = files_of(root)
    for name in files:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, target / name)
    frozen = code_hash(target, files)
    said = provenance.code() | {"frozen": frozen}
    (target / provenance.FROZEN).write_text(json.dumps(said) + "\n", encoding="utf-8")
    changes = _git(root, "diff", "HEAD", "--binary")
    if changes:
        (target.parent / "uncommitted.diff").write_text(changes, encoding="utf-8")
    return frozen

"""The frozen code of a submission: a copy of the checkout, from which all its tasks run.

The copy has the tracked files with their uncommitted changes, and new source files of our packages that git does not ignore.
The hash covers the files that affect results: a changed page of the documentation does not change it.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

from benchmark import provenance
from benchmark.checkout import PACKAGES, ROOT
from benchmark.errors import UserError

HASHED = (*(f"{package}/" for package in PACKAGES), "pyproject.toml", "constraints.txt")
"""Path prefixes of the files that the hash covers."""
SOURCE_SUFFIXES = (".py", ".yaml", ".typ")
SUBMISSIONS = "submissions"
"""The folder of submissions in a results folder, which may lie in the checkout: a copy is not copied again."""


def code_files(root: Path = ROOT) -> list[str]:
    """The files of a checkout's code, relative to it.

    Raises:
        UserError: git does not list them.
    """
    tracked = _git(root, "ls-files", "-z")
    untracked = _git(root, "ls-files", "-z", "--others", "--exclude-standard", "--", *PACKAGES)
    if tracked is None or untracked is None:
        raise UserError(
            f"{root} is not a git checkout, or git is not installed: Slurm tasks run from a copy of the files that git lists"
        )
    sources = {
        name for name in untracked.split("\0") if name.endswith(SOURCE_SUFFIXES) and SUBMISSIONS not in Path(name).parts
    }
    return [name for name in sorted({*tracked.split("\0"), *sources} - {""}) if (root / name).is_file()]


def _git(root: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(root), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None


def code_hash(root: Path, files: list[str] | None = None) -> str:
    """16 hex digits over names and contents of the files that affect results."""
    digest = hashlib.sha256()
    for name in files if files is not None else code_files(root):
        if name.startswith(HASHED):
            digest.update(f"{name}\0{hashlib.sha256((root / name).read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:16]


def freeze(target: Path, root: Path = ROOT) -> str:
    """Copy the code to a new folder.

    Returns:
        its hash, which every record of the submission contains.
    """
    files = code_files(root)
    for name in files:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, target / name)
    frozen = code_hash(target, files)
    code = provenance.code().model_copy(update={"frozen": frozen})
    (target / provenance.FROZEN).write_text(code.model_dump_json() + "\n", encoding="utf-8")
    if changes := _git(root, "diff", "HEAD", "--binary"):
        (target.parent / "uncommitted.diff").write_text(changes, encoding="utf-8")
    return frozen

"""The frozen code of a submission, from which all its tasks run: a copy of our packages and of the plug-ins.

The copy has the tracked files of our packages with their uncommitted changes, and new source files that git does not ignore. It
has only what tasks read: no reference results, and bundled images and weights only if the grid uses them. The hash covers all
copied code.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmark import provenance, registry
from benchmark.checkout import PACKAGES, ROOT
from benchmark.errors import UserError
from benchmark.plug_ins import files_hash, files_of, plug_ins
from benchmark.weights import is_bundled, locate

BUNDLED = "datasets/bundled/"
LEFT_OUT = ("results/reference", BUNDLED, "methods/backbones/bundled/")
"""Path prefixes of tracked data in the folders of our packages. All folders of reference results start with the first one."""
SOURCE_SUFFIXES = (".py", ".yaml", ".typ")
SUBMISSIONS = "submissions"
"""The folder of submissions in a results folder, which may lie in the checkout: a copy is not copied again."""


@dataclass(frozen=True)
class FrozenCode:
    """The files that a submission copies.

    Attributes:
        code: files of the checkout that compute, relative to it.
        data: bundled files of the grid's datasets and backbones, relative to the checkout.
        plug_ins: files of plug-ins: path relative to the folder that is in sys.path, and path.
    """

    code: tuple[str, ...]
    data: tuple[str, ...]
    plug_ins: tuple[tuple[str, Path], ...]

    @property
    def count(self) -> int:
        return len(self.code) + len(self.data) + len(self.plug_ins)

    @property
    def size(self) -> int:
        """Bytes."""
        own = sum((ROOT / name).stat().st_size for name in (*self.code, *self.data))
        return own + sum(path.stat().st_size for _, path in self.plug_ins)

    @property
    def hash(self) -> str:
        """16 hex digits over names and contents of the code and the plug-ins."""
        return _hash(ROOT, self.code, self.plug_ins)


def frozen_code(datasets: Iterable[str] = (), weights: Iterable[str] = ()) -> FrozenCode:
    """The files that a submission copies now.

    Args:
        datasets: names of the datasets that its tasks read.
        weights: sources of the weights from which they start.

    Raises:
        UserError: git does not list the files of the checkout.
    """
    bundled = [folder for name in datasets for folder in registry.card("dataset", name).fixed_folders]
    ours = {folder for folder in bundled if folder.is_relative_to(ROOT / BUNDLED)}
    data = {path for folder in ours for path in folder.iterdir() if path.is_file()}
    data |= {path for source in weights if is_bundled(source) and (path := locate(source, None)) is not None}
    names = tuple(sorted(path.relative_to(ROOT).as_posix() for path in data))
    modules = {module for plug_in in plug_ins() for module in plug_in.modules}
    return FrozenCode(tuple(code_files()), names, tuple(files_of(modules)))


def code_files(root: Path = ROOT) -> list[str]:
    """The files of a checkout's code, relative to it.

    Raises:
        UserError: git does not list them.
    """
    tracked = _git(root, "ls-files", "-z", "--", *PACKAGES)
    untracked = _git(root, "ls-files", "-z", "--others", "--exclude-standard", "--", *PACKAGES)
    if tracked is None or untracked is None:
        raise UserError(
            f"{root} is not a git checkout, or git is not installed: Slurm tasks run from a copy of the files that git lists"
        )
    sources = {
        name for name in untracked.split("\0") if name.endswith(SOURCE_SUFFIXES) and SUBMISSIONS not in Path(name).parts
    }
    names = sorted({*tracked.split("\0"), *sources} - {""})
    return [name for name in names if not name.startswith(LEFT_OUT) and (root / name).is_file()]


def _git(root: Path, *arguments: str) -> str | None:
    # The checkout may belong to another user of the team, whose code runs anyway.
    command = ["git", "-c", f"safe.directory={root}", "-C", str(root), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None


def _hash(root: Path, code: Iterable[str], plug_ins: Iterable[tuple[str, Path]]) -> str:
    digest = hashlib.sha256()
    for name in code:
        digest.update(f"{name}\0{hashlib.sha256((root / name).read_bytes()).hexdigest()}\n".encode())
    digest.update(files_hash(plug_ins).encode())
    return digest.hexdigest()[:16]


def freeze(files: FrozenCode, code: Path, plug_ins_folder: Path) -> str:
    """Copy the code, and the plug-ins if there are any, to new folders.

    Returns:
        the hash of the copy, which every record of the submission contains.
    """
    for name in (*files.code, *files.data):
        (code / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, code / name)
    for plug_in in plug_ins():
        plug_in.copy(plug_ins_folder)
    copied = [(name, plug_ins_folder / name) for name, _ in files.plug_ins]
    frozen = _hash(code, files.code, copied)
    described = provenance.code().model_copy(update={"frozen": frozen})
    (code / provenance.FROZEN).write_text(described.model_dump_json() + "\n", encoding="utf-8")
    paths = (*PACKAGES, *(f":(exclude){name}" for name in LEFT_OUT))
    if changes := _git(ROOT, "diff", "HEAD", "--binary", "--", *paths):
        (code.parent / "uncommitted.diff").write_text(changes, encoding="utf-8")
    return frozen

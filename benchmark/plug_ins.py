"""Installed packages that register methods, heads, policies, backbones or datasets by entry points: their files and hashes.

A stage key contains the hash of the plug-in behind a registered thing, and a Slurm submission contains a copy of every plug-in.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import Distribution, EntryPoint, distributions
from importlib.util import find_spec
from pathlib import Path

from benchmark.checkout import PACKAGES
from methods.lookup import EntryPointError

GROUPS = "lgvit_bench."
"""Beginning of the groups of entry points that register cards."""
METADATA = ("METADATA", "PKG-INFO")
"""Files of a distribution with its name and version; the second one is that of older installations."""


@dataclass(frozen=True)
class PlugIn:
    """An installed distribution that registers cards.

    Attributes:
        name: of the distribution.
        distribution: its metadata.
        modules: names of its top-level modules and packages.
    """

    name: str
    distribution: Distribution
    modules: frozenset[str]

    def copy(self, target: Path) -> None:
        """Copy its modules and entry points into a folder, which registers the same cards when it is in sys.path."""
        for name, path in files_of(self.modules):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target / name)
        info = target / f"{self.name}.dist-info"
        info.mkdir(parents=True)
        described = next(filter(None, map(self.distribution.read_text, METADATA)), f"Name: {self.name}\n")
        (info / METADATA[0]).write_text(described, encoding="utf-8")
        points = self.distribution.read_text("entry_points.txt") or ""
        (info / "entry_points.txt").write_text(points, encoding="utf-8")
        (info / "top_level.txt").write_text("\n".join(sorted(self.modules)) + "\n", encoding="utf-8")


@cache
def plug_ins() -> tuple[PlugIn, ...]:
    """The installed distributions that register cards, by name."""
    registering: dict[str, PlugIn] = {}
    for distribution in distributions():
        points = [point for point in distribution.entry_points if point.group.startswith(GROUPS)]
        if points and distribution.name not in registering:  # the first one in sys.path counts
            registering[distribution.name] = _plug_in(distribution, points)
    return tuple(registering[name] for name in sorted(registering))


def _plug_in(distribution: Distribution, points: list[EntryPoint]) -> PlugIn:
    modules = {_top(point.module) for point in points} | {
        _top(target) for point in points if (target := _target(point))
    }
    modules |= set((distribution.read_text("top_level.txt") or "").split())
    installed = [file.parts[0].removesuffix(".py") for file in distribution.files or () if file.suffix == ".py"]
    modules |= {module for module in installed if module.isidentifier() and not module.startswith("__editable__")}
    there = frozenset(module for module in modules - set(PACKAGES) if find_spec(module))
    return PlugIn(distribution.name, distribution, there)


def _target(point: EntryPoint) -> str:
    """The code behind a card; empty if the card cannot be loaded, which `benchmark.registry` reports where it is needed."""
    try:
        return str(getattr(point.load(), "target", ""))
    except Exception:  # any error of the package's own code
        return ""


def _top(name: str) -> str:
    """``package`` of ``package.module:attribute``."""
    return name.partition(":")[0].partition(".")[0]


def package_hash(target: str) -> str:
    """12 hex digits of the SHA-256 over the files of the plug-in that holds ``module:attribute``.

    Raises:
        EntryPointError: there is no such module.
    """
    top = _top(target)
    modules = {top}.union(*(plug_in.modules for plug_in in plug_ins() if top in plug_in.modules))
    return files_hash(files_of(modules))[:12]


def files_hash(files: Iterable[tuple[str, Path]]) -> str:
    """The SHA-256 over relative names and contents."""
    digest = hashlib.sha256()
    for name, path in files:
        status = path.stat()
        digest.update(f"{name}\0{_content_hash(path, status.st_size, status.st_mtime_ns)}\n".encode())
    return digest.hexdigest()


@lru_cache(maxsize=10_000)
def _content_hash(path: Path, size: int, modified: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def files_of(modules: Iterable[str]) -> Iterator[tuple[str, Path]]:
    """The files of top-level modules and packages: path relative to the folder that is in sys.path, and path.

    Raises:
        EntryPointError: there is no such module.
    """
    for module in sorted(modules):
        spec = find_spec(module)
        folders = [Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]
        for folder in folders:
            for path in sorted(folder.rglob("*")):
                if path.is_file() and path.suffix != ".pyc":
                    yield f"{module}/{path.relative_to(folder).as_posix()}", path
        if not folders:
            if spec is None or spec.origin is None or not Path(spec.origin).is_file():
                raise EntryPointError(f"there is no module {module!r}")
            yield Path(spec.origin).name, Path(spec.origin)

"""What this machine has, and whether a run will get by on it: one check a subject, each ok, warn or fail with the mend.

Nothing beyond the standard library is imported before a check needs it: a missing package is a line, not a traceback.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmark.checkout import ROOT, hidden_packages
from benchmark.hardware import cpu_model, memory_bytes
from results.check import Check

INSTALL = f"in {ROOT}: python -m pip install -e . -c constraints.txt"
GIB = 2**30
LITTLE_SPACE, SOME_SPACE = 1, 10
"""GiB. A checkpoint of ViT-B trained together with LGViT's heads has 1.1: 100,686,468 weights, two moments each, float32."""
KNOWN_MODEL, KNOWN_MACS = "vit_tiny_patch16_224", 1_253_683_200
"""With 1,000 classes, by hand: 197 tokens of width 192; patches 196 x 768 x 192, twelve blocks of 197 x 12 x 192 x 192 for the
linear layers and 2 x 197 x 197 x 192 for the attention, classifier 192 x 1,000."""


def plain_checks(results_dir: Path, data_dir: Path | None) -> dict[str, Callable[[], Check]]:
    """Name to check, in the order in which they are shown."""
    return {
        "python": python,
        "packages": packages,
        "names": names,
        "cpu": cpu,
        "gpu": lambda: gpu(results_dir),
        "disk": lambda: disk(results_dir),
        "results": lambda: results_folder(results_dir),
        "datasets": lambda: datasets(data_dir),
        "weights": lambda: weights(data_dir),
        "MAC counter": mac_counter,
        "slurm": slurm,
    }


def examine(name: str, check: Callable[[], Check]) -> Check:
    """The check's line; whatever it raises is a failure."""
    try:
        return check()
    except ImportError as error:
        return Check(name, "fail", f"cannot be checked: {error}", INSTALL)
    except Exception as error:  # a broken installation raises anything
        return Check(name, "fail", f"{type(error).__name__}: {' '.join(str(error).split())}", "see the lines above")


def python() -> Check:
    from packaging.specifiers import SpecifierSet

    wanted = str(_project()["requires-python"])
    here = platform.python_version()
    if SpecifierSet(wanted).contains(here):
        return Check("python", "ok", f"{here} ({wanted})")
    return Check(
        "python", "fail", f"{here}, supported is {wanted}", "use another Python: PYTHON=... bin/lgvit-bench, or tox"
    )


def packages() -> Check:
    """The dependencies of pyproject.toml beside their bounds and beside the versions that were tested together."""
    from packaging.requirements import Requirement
    from packaging.version import Version

    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    tested = dict(line.split("==") for line in lines if "==" in line)
    wanted = [Requirement(line) for line in _project()["dependencies"]]
    wrong, other = [], []
    for requirement in wanted:
        name = requirement.name
        try:
            here = version(name)
        except PackageNotFoundError:
            wrong.append(f"{name} is missing")
            continue
        if not requirement.specifier.contains(here, prereleases=True):
            wrong.append(f"{name} {here} is not {requirement.specifier}")
        elif Version(here).public != tested[name]:
            other.append(f"{name} {here} ({tested[name]})")
    if wrong:
        return Check("packages", "fail", ", ".join(wrong), INSTALL)
    if other:
        found = f"within bounds, but not as tested together (constraints.txt): {', '.join(other)}"
        return Check("packages", "warn", found, f"if something is odd, {INSTALL}")
    return Check("packages", "ok", f"{len(wanted)} as tested together (constraints.txt)")


def names() -> Check:
    """Whether other packages have the names of our folders; ours come first, or the start would have failed."""
    hidden = hidden_packages()
    if not hidden:
        return Check("names", "ok", "no other package is called as ours")
    found = ", ".join(f"{name} in {place}" for name, place in hidden.items())
    return Check("names", "warn", f"hidden behind ours: {found}", "nothing, unless a plug-in of yours imports it")


def cpu() -> Check:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = memory_bytes()
    said = f", {memory / GIB:.1f} GiB memory" if memory else ""
    return Check("cpu", "ok", f"{cpu_model()}, {cores} cores to use{said}")


def gpu(results_dir: Path) -> Check:
    """What the driver sees, whether torch uses it, and whether it has passed `doctor --device`."""
    driver = _output("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader").splitlines()
    seen = f"{len(driver)} x {driver[0].replace(', ', ', driver ')}" if driver else ""
    if find_spec("torch") is None:
        return Check("gpu", "fail", f"{seen or 'none seen'}; torch is not installed", INSTALL)
    import torch

    from benchmark.provenance import machine
    from results.store.devices import UNVERIFIED, is_unverified, read_checks
    from results.store.folder import Store

    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / GIB
        name = seen or f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}"
        said = f"{name}, {memory:.0f} GiB each, CUDA {torch.version.cuda}"
        if is_unverified(machine("cuda"), read_checks(Store(results_dir))):
            return Check("gpu", "warn", f"{said}; {UNVERIFIED}", "python -m benchmark doctor --device cuda")
        return Check("gpu", "ok", said)
    if seen:
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built for the CPU alone"
        mend = "install the torch build for this driver: https://pytorch.org/get-started/locally/"
        return Check("gpu", "warn", f"{seen}, but torch {torch.__version__} ({built}) does not use it", mend)
    return Check("gpu", "ok", "none; runs use the CPU")


def disk(results_dir: Path) -> Check:
    place = _existing(results_dir)
    free = shutil.disk_usage(place).free / GIB
    said, mend = f"{free:,.1f} GiB free for {results_dir}", "free some, or name another folder with --results"
    if free < LITTLE_SPACE:
        return Check("disk", "fail", said, mend)
    return Check("disk", "warn", said, mend) if free < SOME_SPACE else Check("disk", "ok", said)


def results_folder(results_dir: Path) -> Check:
    """Whether a file can be written there, or where the folder would be made."""
    place = _existing(results_dir)
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".doctor-") as probe:
            probe.write(b"probe")
            probe.flush()
    except OSError as error:
        found = f"cannot write {place}: {error.strerror or error}"
        return Check("results", "fail", found, "name a folder that you may write to with --results")
    where = "written" if place == results_dir else f"made in {place}"
    return Check("results", "ok", f"{results_dir} can be {where}")


def datasets(data_dir: Path | None) -> Check:
    from benchmark import registry
    from datasets.api import DataError, DatasetCard

    def here(card: DatasetCard) -> bool:
        try:
            card.find(data_dir)
        except DataError:
            return False
        return True

    cards = registry.table("dataset")
    found = [name for name, card in cards.items() if here(card)]
    absent = [name for name in cards if name not in found]
    said = f"{', '.join(found) or 'none'} found; not here: {', '.join(absent) or 'none'}"
    if data_dir is not None and not data_dir.is_dir():
        return Check("datasets", "fail", f"there is no folder {data_dir}", "--data-dir or LGVIT_BENCH_DATA names one")
    if "fashion-mnist-mini" in absent:
        return Check("datasets", "fail", said, f"the checkout is not whole: git -C {ROOT} status")
    return Check("datasets", "ok", f"{said} ('data where NAME' says where it is looked for)" if absent else said)


def weights(data_dir: Path | None) -> Check:
    from benchmark import registry
    from benchmark.weights import locate

    tags = [card.weights for card in registry.table("backbone").values() if card.weights]
    found = [tag for tag in tags if locate(f"timm:{tag}", data_dir)]
    named = f": {', '.join(found)}" if found else ""
    return Check(
        "weights", "ok", f"{len(found)} of {len(tags)} pretrained files are here{named}; a run fetches what it needs"
    )


def mac_counter() -> Check:
    """The counter on a model whose cost is known from its anatomy; fvcore alone leaves the fused attention out."""
    import torch  # noqa: F401  (missing, it is named)

    from benchmark import registry
    from benchmark.environment import require_torch

    require_torch()
    from benchmark.measure.price import price

    counted = price(KNOWN_MODEL, registry.configured("method", "static", {}), (), 1000).baseline
    if counted == KNOWN_MACS:
        return Check("MAC counter", "ok", f"{counted:,} for {KNOWN_MODEL}, as by hand")
    found = f"{counted:,} for {KNOWN_MODEL} instead of {KNOWN_MACS:,}"
    return Check("MAC counter", "fail", found, f"no cost can be trusted; {INSTALL}")


def slurm() -> Check:
    places = {name: shutil.which(name) for name in ("sbatch", "sinfo")}
    absent = [name for name, place in places.items() if place is None]
    if len(absent) == len(places):
        return Check("slurm", "ok", "none here; runs are local")
    if absent:
        return Check("slurm", "warn", f"{absent[0]} is not found, the other is", "load your site's Slurm module")
    return Check(
        "slurm", "ok", f"{_output('sinfo', '--version') or 'sinfo does not answer'}, sbatch in {places['sbatch']}"
    )


def _project() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(place for place in (folder, *folder.parents) if place.exists())


def _output(*command: str) -> str:
    """What a program prints; nothing where it is missing or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""

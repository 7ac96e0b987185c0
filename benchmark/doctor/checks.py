"""The checks of `doctor`, one per subject. Each is ok, warn or fail, and says how to fix a problem.

Only the standard library is imported at the top, so that a missing package becomes a line of the doctor and not a traceback.
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
"""GiB. A joint checkpoint of ViT-B with LGViT's heads needs 1.1: 100,686,468 parameters and two moments of each in float32."""
KNOWN_MODEL, KNOWN_MACS = "vit_tiny_patch16_224", 1_253_683_200
"""MACs with 1,000 classes, counted by hand for 197 tokens of width 192: patch embedding 196 x 768 x 192; in each of 12 blocks
197 x 12 x 192 x 192 for linear layers and 2 x 197 x 197 x 192 for attention; classifier 192 x 1,000."""


def plain_checks(results_dir: Path, data_dir: Path | None) -> dict[str, Callable[[], Check]]:
    """The checks by name, in the order in which they are shown."""
    return {
        "python": python,
        "packages": packages,
        "names": names,
        "plug-ins": plug_ins,
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
    """The result of a check; an exception is a failed check."""
    try:
        return check()
    except ImportError as error:
        return Check(name, "fail", f"cannot be checked: {error}", INSTALL)
    except Exception as error:  # a broken installation raises anything
        return Check(name, "fail", f"{type(error).__name__}: {' '.join(str(error).split())}", "see the lines above")


def python() -> Check:
    from packaging.specifiers import SpecifierSet

    supported = str(_project()["requires-python"])
    installed = platform.python_version()
    if SpecifierSet(supported).contains(installed):
        return Check("python", "ok", f"{installed} ({supported})")
    return Check(
        "python",
        "fail",
        f"{installed}; supported: {supported}",
        "use another Python: PYTHON=... bin/lgvit-bench, or tox",
    )


def packages() -> Check:
    """Compares the installed packages with the bounds of pyproject.toml and the tested versions of constraints.txt."""
    from packaging.requirements import Requirement
    from packaging.version import Version

    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    tested = dict(line.split("==") for line in lines if "==" in line)
    requirements = [Requirement(line) for line in _project()["dependencies"]]
    wrong, other = [], []
    for requirement in requirements:
        name = requirement.name
        try:
            installed = version(name)
        except PackageNotFoundError:
            wrong.append(f"{name} is missing")
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            wrong.append(f"{name} {installed} is not {requirement.specifier}")
        elif Version(installed).public != tested[name]:
            other.append(f"{name} {installed} ({tested[name]})")
    if wrong:
        return Check("packages", "fail", ", ".join(wrong), INSTALL)
    if other:
        text = f"within bounds, but other versions than tested (constraints.txt): {', '.join(other)}"
        return Check("packages", "warn", text, f"if there are problems, {INSTALL}")
    return Check("packages", "ok", f"{len(requirements)} in the tested versions (constraints.txt)")


def names() -> Check:
    """Whether other packages have the names of our folders. Ours come first, or the command would not have started."""
    hidden = hidden_packages()
    if not hidden:
        return Check("names", "ok", "no other package has the name of one of ours")
    others = ", ".join(f"{name} in {place}" for name, place in hidden.items())
    return Check("names", "warn", f"hidden by ours: {others}", "nothing to do, unless code of yours imports it")


def plug_ins() -> Check:
    """Whether the methods, datasets and others that installed packages register by entry points can be loaded."""
    from benchmark import registry
    from methods.lookup import EntryPointError, registered_outside

    loaded, broken = [], []
    for kind in registry.TABLES:
        try:
            loaded += [f"{kind} {name}" for name in registered_outside(kind)]
        except EntryPointError as error:
            broken.append(" ".join(str(error).split()))
    if broken:
        return Check("plug-ins", "fail", "; ".join(broken), "update or uninstall the package")
    return Check(
        "plug-ins", "ok", ", ".join(loaded) or "no installed package registers a method, dataset or other part"
    )


def cpu() -> Check:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = memory_bytes()
    memory_text = f", {memory / GIB:.1f} GiB memory" if memory else ""
    return Check("cpu", "ok", f"{cpu_model()}, {cores} usable cores{memory_text}")


def gpu(results_dir: Path) -> Check:
    """Whether the driver and torch see a GPU, and whether it has passed `doctor --device`."""
    driver = _output("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader").splitlines()
    seen = f"{len(driver)} x {driver[0].replace(', ', ', driver ')}" if driver else ""
    if find_spec("torch") is None:
        return Check("gpu", "fail", f"{seen or 'none'}; torch is not installed", INSTALL)
    import torch

    from benchmark.provenance import machine
    from results.store.devices import UNVERIFIED, is_unverified, read_checks
    from results.store.folder import Store

    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / GIB
        name = seen or f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}"
        text = f"{name}, {memory:.0f} GiB each, CUDA {torch.version.cuda}"
        if is_unverified(machine("cuda"), read_checks(Store(results_dir))):
            return Check("gpu", "warn", f"{text}; {UNVERIFIED}", "python -m benchmark doctor --device cuda")
        return Check("gpu", "ok", text)
    if seen:
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built for the CPU only"
        fix = "install the torch build for this driver: https://pytorch.org/get-started/locally/"
        return Check("gpu", "warn", f"{seen}, but torch {torch.__version__} ({built}) does not use it", fix)
    return Check("gpu", "ok", "none; runs use the CPU")


def disk(results_dir: Path) -> Check:
    place = _existing(results_dir)
    free = shutil.disk_usage(place).free / GIB
    text, fix = f"{free:,.1f} GiB free for {results_dir}", "free some space, or use another folder with --results"
    if free < LITTLE_SPACE:
        return Check("disk", "fail", text, fix)
    return Check("disk", "warn", text, fix) if free < SOME_SPACE else Check("disk", "ok", text)


def results_folder(results_dir: Path) -> Check:
    """Whether the results folder can be written, or created if it does not exist."""
    place = _existing(results_dir)
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".doctor-") as probe:
            probe.write(b"probe")
            probe.flush()
    except OSError as error:
        text = f"cannot write {place}: {error.strerror or error}"
        return Check("results", "fail", text, "use a folder with write permission: --results")
    possible = "written" if place == results_dir else f"created in {place}"
    return Check("results", "ok", f"{results_dir} can be {possible}")


def datasets(data_dir: Path | None) -> Check:
    from benchmark import registry
    from datasets.api import DataError, DatasetCard

    def is_present(card: DatasetCard) -> bool:
        try:
            card.find(data_dir)
        except DataError:
            return False
        return True

    cards = registry.TABLES["dataset"]
    present = [name for name, card in cards.items() if is_present(card)]
    missing = [name for name in cards if name not in present]
    text = f"found: {', '.join(present) or 'none'}; missing: {', '.join(missing) or 'none'}"
    if data_dir is not None and not data_dir.is_dir():
        return Check("datasets", "fail", f"there is no folder {data_dir}", "correct --data-dir or LGVIT_BENCH_DATA")
    if "fashion-mnist-mini" in missing:
        return Check("datasets", "fail", text, f"the checkout is incomplete: git -C {ROOT} status")
    return Check("datasets", "ok", f"{text} ('data where NAME' shows the searched folders)" if missing else text)


def weights(data_dir: Path | None) -> Check:
    from benchmark import registry
    from benchmark.weights import locate

    tags = [card.weights for card in registry.TABLES["backbone"].values() if card.weights]
    present = [tag for tag in tags if locate(f"timm:{tag}", data_dir)]
    listed = f": {', '.join(present)}" if present else ""
    return Check(
        "weights",
        "ok",
        f"{len(present)} of {len(tags)} pretrained files are here{listed}; runs download what they need",
    )


def mac_counter() -> Check:
    """Compares the MAC counter with a count by hand; fvcore without our handle would miss the fused attention."""
    import torch  # noqa: F401  (an ImportError names the package)

    from benchmark import registry
    from benchmark.environment import require_torch

    require_torch()
    from benchmark.measure.price import price

    counted = price(KNOWN_MODEL, registry.configured("method", "static", {}), (), 1000).baseline
    if counted == KNOWN_MACS:
        return Check("MAC counter", "ok", f"{counted:,} for {KNOWN_MODEL}, equal to the count by hand")
    text = f"{counted:,} for {KNOWN_MODEL} instead of {KNOWN_MACS:,}"
    return Check("MAC counter", "fail", text, f"MACs are wrong; {INSTALL}")


def slurm() -> Check:
    paths = {name: shutil.which(name) for name in ("sbatch", "sinfo")}
    missing = [name for name, path in paths.items() if path is None]
    if len(missing) == len(paths):
        return Check("slurm", "ok", "not installed; runs are local")
    if missing:
        return Check("slurm", "warn", f"{missing[0]} is not in PATH", "load your site's Slurm module")
    version = _output("sinfo", "--version")
    if not version:
        return Check("slurm", "warn", "sinfo does not respond", "ask the cluster's staff; runs on this machine work")
    return Check("slurm", "ok", f"{version}, sbatch: {paths['sbatch']}")


def _project() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project


def _existing(folder: Path) -> Path:
    """The folder, or its nearest parent that exists."""
    return next(place for place in (folder, *folder.parents) if place.exists())


def _output(*command: str) -> str:
    """The output of a program; empty if it is missing or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""

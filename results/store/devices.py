"""Which machines passed ``doctor --device``: `devices/<fingerprint>.json` in a results folder, one a kind of machine.

A number that a GPU made counts as checked only if that GPU, with that torch, passed. Until then it is from an "unverified
device", and reports say so. Only the standard library is imported until a folder is read: the doctor must start where packages
are missing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from results.store.folder import Store

UNVERIFIED = "unverified device"
FOLDER = "devices"


@dataclass(frozen=True)
class Check:
    """A line of the doctor.

    Attributes:
        name: what was looked at.
        status: ``fail`` keeps something from working, ``warn`` may surprise.
        found: what is there.
        mend: what to do about it; empty when ok.
    """

    name: str
    status: Literal["ok", "warn", "fail"]
    found: str
    mend: str = ""


@dataclass(frozen=True)
class DeviceCheck:
    """What ``doctor --device`` found on a machine.

    Attributes:
        machine: as a record's provenance has it.
        code: likewise.
        finished: when, ISO 8601.
        checks: its lines.
    """

    machine: dict[str, Any]
    code: dict[str, Any]
    finished: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return all(check.status != "fail" for check in self.checks)

    @property
    def summary(self) -> str:
        """One sentence: what, when, and the lines that did not pass, or all that were measured."""
        told = [check for check in self.checks if self.passed or check.status == "fail"]
        lines = "; ".join(f"{check.name}: {check.found}" for check in told)
        return f"{device_name(self.machine)} {'passed' if self.passed else 'failed'} on {self.finished[:10]}. {lines}"


def device_name(machine: Mapping[str, Any]) -> str:
    """The GPU, or the CPU with its threads."""
    return machine["gpu"] or f"{machine['cpu']}, {machine['threads']} threads"


def fingerprint(machine: Mapping[str, Any]) -> str:
    """Of a machine's kind: GPU, CPU and torch, 16 hex digits. Equal nodes of a cluster share it."""
    kind = {"gpu": machine["gpu"], "cpu": machine["cpu"], "torch": machine["packages"]["torch"]}
    return hashlib.sha256(json.dumps(kind, sort_keys=True).encode()).hexdigest()[:16]


def is_unverified(machine: Mapping[str, Any], checks: Mapping[str, DeviceCheck]) -> bool:
    """Whether it is a GPU that has not passed; the CPU is what everything is tested on."""
    if machine.get("gpu") is None:
        return False
    check = checks.get(fingerprint(machine))
    return check is None or not check.passed


def write_check(store: Store, check: DeviceCheck) -> Path:
    """Put it in the place of an earlier one of the same kind of machine.

    Raises:
        StoreError: it cannot be written.
    """
    from results.store.folder import write_file

    path = store.root / FOLDER / f"{fingerprint(check.machine)}.json"
    write_file(path, (json.dumps(asdict(check), indent=1, sort_keys=True) + "\n").encode())
    return path


def read_checks(store: Store, damaged: list[str] | None = None) -> dict[str, DeviceCheck]:
    """All that a results folder holds, by fingerprint; of several folders the last check of a kind of machine counts.

    Args:
        damaged: where to put a sentence about each one that is damaged.

    Raises:
        StoreError: one is damaged, and ``damaged`` is None.
    """
    from results.store.folder import StoreError

    found: dict[str, DeviceCheck] = {}
    for path in (path for root in store.roots for path in sorted((root / FOLDER).glob("*.json"))):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            lines = tuple(Check(**line) for line in content.pop("checks"))
            check = DeviceCheck(checks=lines, **content)
            key = fingerprint(check.machine)
            if key not in found or found[key].finished <= check.finished:
                found[key] = check
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            sentence = f"{path} is damaged ({error}); remove it and run doctor --device again"
            if damaged is None:
                raise StoreError(sentence) from None
            damaged.append(sentence)
    return found

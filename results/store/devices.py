"""Results of ``doctor --device``: `devices/<fingerprint>.json` in a results folder, one file per kind of machine.

A result from a GPU is verified only if a GPU of this kind, with the same torch, has passed. Until then reports mark it as
"unverified device".
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import AwareDatetime, ValidationError

from results.check import Check
from results.frozen import Frozen
from results.provenance import Code, Machine
from results.record_parsing import refuse_control_characters
from results.sealed import sealed, unsealed
from results.store.files import StoreError, read_file, write_file
from results.store.folder import Store
from results.text import printable

UNVERIFIED = "unverified device"
FOLDER = "devices"
CHECK_BYTES = 2**20


class DeviceCheck(Frozen):
    """The result of ``doctor --device`` on a machine."""

    machine: Machine
    code: Code
    finished: AwareDatetime
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return all(check.status != "fail" for check in self.checks)

    @property
    def summary(self) -> str:
        """One sentence: machine, date, and the failed checks, or all checks if none failed."""
        lines = [f"{check.name}: {check.result}" for check in self.checks if self.passed or check.status == "fail"]
        result = "passed" if self.passed else "failed"
        return f"{self.machine.name} {result} on {self.finished:%Y-%m-%d}. {'; '.join(lines)}"


def is_unverified(machine: Machine, checks: Mapping[str, DeviceCheck]) -> bool:
    """Whether the machine has a GPU that has not passed. A CPU counts as verified, because the tests run on it."""
    if machine.gpu is None:
        return False
    check = checks.get(machine.fingerprint)
    return check is None or not check.passed


def write_check(store: Store, check: DeviceCheck) -> Path:
    """Write a check, replacing an earlier one of the same kind of machine.

    Raises:
        StoreError: the file cannot be written.
    """
    path = store.root / FOLDER / f"{check.machine.fingerprint}.json"
    write_file(path, (sealed(check.model_dump_json(), indent=1) + "\n").encode())
    return path


def read_checks(store: Store, damaged: list[str] | None = None) -> dict[str, DeviceCheck]:
    """The latest check of each kind of machine, by fingerprint.

    Args:
        damaged: list to which a sentence is appended for each damaged file.

    Raises:
        StoreError: a file is damaged, and ``damaged`` is None.
    """
    checks: dict[str, DeviceCheck] = {}
    for path in (path for root in store.roots for path in sorted((root / FOLDER).glob("*.json"))):
        try:
            fields = unsealed(read_file(path, CHECK_BYTES))
            refuse_control_characters(fields)
            check = DeviceCheck.model_validate(fields)
        except (StoreError, ValueError) as error:
            reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
            sentence = f"{path} is damaged ({printable(str(reason))[:300]}); remove it and run doctor --device again"
            if damaged is None:
                raise StoreError(sentence) from None
            damaged.append(sentence)
            continue
        key = check.machine.fingerprint
        if key not in checks or checks[key].finished <= check.finished:
            checks[key] = check
    return checks

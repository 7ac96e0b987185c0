"""How `reproduce` prints the record, the differences of the environments, the comparison and the verdict."""

from __future__ import annotations

import re
from typing import Any

from rich.console import Console

from results.judge.environment_diff import EnvironmentDifference, same_bits_expected
from results.judge.reproduction import POINTS, Part, Reproduction
from results.record import DoneRecord

NOT_JUDGED = "not judged"


def show_record(console: Console, record: DoneRecord) -> None:
    """The run, and where it was trained."""
    made, machine = record.provenance, record.provenance.machine
    say(console, f"run: {record.run_id}")
    say(
        console,
        f"recorded {made.finished:%Y-%m-%d} on {machine.gpu or machine.cpu}, {machine.device}, threads: {machine.threads}, "
        f"torch {machine.packages.get('torch')}, commit {made.code.commit}",
    )


def show_differences(console: Console, differences: list[EnvironmentDifference]) -> None:
    """The differences, those with the largest effect first, and the rule that follows from them."""
    if not differences:
        say(console, "no differences: code, packages, machine, threads and data are those of the record")
    for difference in differences:
        say(console, f"  {difference.field}: {difference.recorded} -> {difference.here}  ({difference.effect})")
    if same_bits_expected(differences):
        say(console, "rule: every artifact must be bit-identical")
    else:
        say(
            console,
            f"rule: bits may differ; MACs must be equal; accuracies without exits, at equal MACs and at fixed thresholds may "
            f"differ by {100 * POINTS:g} point, by half of the paired 95 % interval, or by the spread over training seeds if "
            "the folder holds three",
        )


def show_comparison(console: Console, reproduction: Reproduction) -> None:
    """A table of the parts: each file if equal bits are expected, and each number unless all are equal."""
    rows = [("what", "recorded", "reproduced", "verdict")]
    files = [part for part in reproduction.parts if part.is_file]
    numbers = [part for part in reproduction.parts if not part.is_file]
    differing = [part for part in files if not part.equal]
    if reproduction.bitwise:
        rows += [(p.what, p.recorded, p.reproduced, "equal" if p.equal else "OTHER BITS") for p in files]
    else:
        first = f"; the first that differs: {differing[0].what}" if differing else ""
        rows.append(("files", str(len(files)), str(len(files) - len(differing)), f"bit-identical{first}"))
    if all(part.equal for part in numbers):
        rows.append(("numbers", str(len(numbers)), str(len(numbers)), "equal"))
    else:
        rows += [(p.what, p.recorded, p.reproduced, _verdict(p)) for p in numbers]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    for number, row in enumerate(rows):
        cells = [row[0].ljust(widths[0]), row[1].rjust(widths[1]), row[2].rjust(widths[2]), row[3]]
        say(console, "  ".join(cells), style="bold" if number == 0 else "")
    if any(row[3].startswith(NOT_JUDGED) for row in rows):
        say(
            console,
            f"{NOT_JUDGED}: the threshold was chosen on val and may lie elsewhere on the curve; the points at equal MACs judge "
            "the curve",
        )


def _verdict(part: Part) -> str:
    if part.equal:
        return "equal"
    if not part.judged:
        return f"{NOT_JUDGED}: {part.remark}"
    return f"{'within' if part.close else 'OFF'}: {part.remark}" if part.remark else "DIFFERENT"


def show_verdict(console: Console, reproduction: Reproduction, differences: list[EnvironmentDifference]) -> None:
    """Whether the run was reproduced; if not, the differences that could explain it."""
    if reproduction.same_bits:
        say(console, "reproduced: bit-identical", style="bold green")
        return
    if reproduction.reproduced:
        say(console, "reproduced: within the tolerance; bits differ, as they may here", style="bold green")
        return
    near = " (its numbers are within the tolerance for other machines)" if reproduction.within_tolerance else ""
    say(console, f"not reproduced{near}", style="bold red")
    reasons = [difference.field for difference in differences if difference.could_explain]
    if reasons:
        say(console, f"possible reasons: {', '.join(reasons)}")
    else:
        say(console, "no difference explains it: check the hardware, and whether the record was changed")


def say(console: Console, text: str, style: str = "") -> None:
    """Print a line with shortened checksums, and without the control characters that a record could contain."""
    console.print(_printable(text), markup=False, soft_wrap=True, style=style)


def _printable(value: Any) -> str:
    text = "".join(letter if letter.isprintable() else "?" for letter in str(value))
    return re.sub(r"\b[0-9a-f]{32,}\b", lambda checksum: checksum[0][:12], text)

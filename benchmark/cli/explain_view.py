"""The output of the command ``explain``."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from results.store.probes import Probes


def show_probes(console: Console, probes: Probes) -> None:
    """The test accuracy of both classifiers, one row per block."""
    kinds = list(dict.fromkeys(probe.inputs for probe in probes.probes))
    table = Table(title="test accuracy (%): linear probe / nearest class mean", title_justify="left")
    table.add_column("block", justify="right")
    for kind in kinds:
        table.add_column(kind, justify="right")
    for block in dict.fromkeys(probe.block for probe in probes.probes):
        rows = [probes.at(block, kind) for kind in kinds]
        cells = [f"{100 * row.test_accuracy:.1f} / {100 * row.mean_test_accuracy:.1f}" if row else "" for row in rows]
        table.add_row(str(block), *cells)
    console.print(table)
    if probes.last_quarter is not None:
        last = probes.last_quarter
        console.print(
            f"val accuracy of the final classifier: {100 * last.before:.1f} % after epoch {last.before_epoch} of "
            f"{last.epochs}, {100 * last.after:.1f} % at the end"
        )

"""Symptoms of trainings that ended too early: heads below a linear probe, and backbones that still improve.

Differences between methods whose heads have not converged may be differences in the speed of training.
"""

from __future__ import annotations

from collections.abc import Iterator

from results.judge.symptom import Symptom
from results.store.probes import BOTH
from results.tables.convergence import convergence_table
from results.tables.run import Run

HEAD = "head not converged"
BACKBONE = "backbone not converged"
WORDS = {BOTH: "class token and patch mean"}


def not_converged(runs: list[Run]) -> Iterator[Symptom]:
    """Every head that is more than half a point below the linear probe, beyond chance, and every backbone that still gains
    more than 0.2 points."""
    table = convergence_table(runs)
    if table is None:
        return
    heads = {(run.record.run_id, exit_.block): exit_.head for run in runs for exit_ in run.record.exits}
    for _, row in table[~table["converged"]].iterrows():
        if row["part"] == "backbone":
            yield Symptom(
                BACKBONE, row["run_id"], "without exits", row["gap"], row["limit"],
                f"{row['backbone']} gains {100 * row['gap']:.1f} points on val in the last quarter of its epochs",
            )  # fmt: skip
        else:
            head = heads[row["run_id"], row["block"]]
            inputs = WORDS.get(row["inputs"], row["inputs"])
            yield Symptom(
                HEAD, row["run_id"], f"block {row['block']}", row["gap"], row["limit"],
                f"the {head} exit after block {row['block']} classifies {100 * row['accuracy']:.1f} % of test correctly, a "
                f"linear probe with its inputs ({inputs}) and loss {100 * row['reference']:.1f} %",
            )  # fmt: skip

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
    """The heads of a method after a block that are more than half a point below linear probes in the mean over the training
    seeds, beyond chance, and every backbone that still gains more than 0.2 points."""
    table = convergence_table(runs)
    if table is None:
        return
    by_run = {run.record.run_id: run for run in runs}
    late = table[~table["converged"]]
    for _, row in late[late["part"] == "backbone"].iterrows():
        yield Symptom(
            BACKBONE, row["run_id"], "without exits", row["gap"], row["limit"],
            f"{row['backbone']} gains {100 * row['gap']:.1f} points on val in the last quarter of its epochs",
        )  # fmt: skip
    heads = late[late["part"] == "head"]
    settings = heads["run_id"].map(lambda run_id: by_run[run_id].setting)
    for _, own in heads.groupby([settings, "method", "block"], sort=False):
        first = own.iloc[0]
        exit_ = next(one for one in by_run[first["run_id"]].record.exits if one.block == first["block"])
        inputs = WORDS.get(first["inputs"], first["inputs"])
        seeds = own.drop_duplicates("seed")  # a training may be recorded under several policies
        over = "" if len(seeds) == 1 else f", in the mean over {len(seeds)} training seeds"
        yield Symptom(
            HEAD, " ".join(own["run_id"]), f"block {first['block']}", first["mean_gap"], first["limit"],
            f"the {exit_.head} exit after block {first['block']} classifies {100 * seeds['accuracy'].mean():.1f} % of test "
            f"correctly, a linear probe with its inputs ({inputs}) and loss {100 * seeds['reference'].mean():.1f} %{over}",
        )  # fmt: skip

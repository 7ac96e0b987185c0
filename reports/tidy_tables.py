"""The tidy tables of a report, one declaration each. They are written as CSV and Parquet, and sections read them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from results.judge.failures import failures
from results.judge.mechanism_evidence import mechanism_table
from results.record import FailedRecord
from results.tables import metrics
from results.tables.backbones import backbone_table
from results.tables.convergence import convergence_table
from results.tables.iso_accuracy import iso_table
from results.tables.points import comparisons, points
from results.tables.representations import disagreement_table, representation_table
from results.tables.run import Run
from results.tables.static_models import static_models
from results.tables.tuning import learning_rates


@dataclass(frozen=True)
class TidyTable:
    """A table over the runs of a report.

    Attributes:
        name: of its files, and key in `reports.study.Study.tidy`.
        contents: description.
        make: makes the table from the finished runs; returns None if there is nothing to tabulate.
    """

    name: str
    contents: str
    make: Callable[[list[Run]], pd.DataFrame | None]


def _curves(runs: list[Run]) -> pd.DataFrame:
    curves = [run.curves.assign(run_id=run.record.run_id, method=run.method, seed=run.seed) for run in runs]
    return pd.concat(curves, ignore_index=True)


def _heads(runs: list[Run]) -> pd.DataFrame | None:
    return metrics.head_table(runs) if any(run.is_classification for run in runs) else None


def _learning_rates(runs: list[Run]) -> pd.DataFrame | None:
    return learning_rates(runs) if any(run.tried for run in runs) else None


TIDY_TABLES = (
    TidyTable("points", "every operating point of every run", points),
    TidyTable("comparisons", "every pair of methods, on the same test images", comparisons),
    TidyTable("curves", "every threshold of every policy, on val and test", _curves),
    TidyTable(
        "areas",
        "area under each curve, accuracy at fixed budgets, and what choosing on test would have claimed",
        metrics.area_table,
    ),
    TidyTable(
        "budget-drift",
        "what the thresholds that cost a budget on val cost on test, and their accuracy there",
        metrics.drift_table,
    ),
    TidyTable(
        "iso-accuracy",
        "speed-up at equal accuracy, with the share of replicates that do not reach it",
        iso_table,
    ),
    TidyTable(
        "routing",
        "each policy between random and perfect routing, and its agreement with the full model",
        metrics.routing_table,
    ),
    TidyTable("heads", "oracle, overthinking and flips of the exits of each run", _heads),
    TidyTable("exits", "accuracy, calibration error and likelihood of every exit on all samples", metrics.exit_table),
    TidyTable(
        "leaving",
        "the samples that leave at each exit: their share, their accuracy, and the final head's on the same samples",
        metrics.leaving_table,
    ),
    TidyTable("boxes", "AP, AP50, AP by size and AR100 of detections at every operating point", metrics.box_table),
    TidyTable("classes", "recall, cost and accuracy drop of every class", metrics.class_table),
    TidyTable("backbones", "the backbones without exits beside always answering the largest class", backbone_table),
    TidyTable(
        "convergence",
        "every head beside a linear probe with its inputs and loss, and every backbone before the last quarter of its training",
        convergence_table,
    ),
    TidyTable(
        "representations",
        "what each block of a backbone represents: probes, CKA, attention distance, spatial frequencies, gradients of exits",
        representation_table,
    ),
    TidyTable(
        "disagreement",
        "how often each exit differs from the final classifier, by whether that one is right",
        disagreement_table,
    ),
    TidyTable("mechanisms", "the answers to the rules on LGViT's mechanisms, with their numbers", mechanism_table),
    TidyTable("static-models", "published results of static models on ImageNet-1k, not measured here", static_models),
    TidyTable("learning-rates", "the learning rates that a grid tried, with val accuracy", _learning_rates),
)


ACCURACIES = {"points", "curves", "areas", "budget-drift", "routing", "exits", "leaving", "classes", "backbones"}
"""Tables with a column of accuracies, and a row per run."""
CONTRASTS = "contrasts"
FAILURES = "failures"
CONTENTS = {table.name: table.contents for table in TIDY_TABLES} | {
    CONTRASTS: "LGViT against every other method at every budget, over all seeds, with corrected p-values",
    FAILURES: "failure signatures: weak backbones, trainings that ended early, exits that do not learn, unstable speed-ups, "
    "costly heads, memory, devices",
}
"""Name of every tidy table to its contents in words."""


def tidy_tables(runs: list[Run], failed: list[FailedRecord]) -> dict[str, pd.DataFrame]:
    """Every table that has content, by name. The table of failures also reads the records of failed runs.

    With other tasks than classification, tables with a row per run have the column `metric`, which names what their accuracies
    are.
    """
    made = {table.name: table.make(runs) for table in TIDY_TABLES}
    made[FAILURES] = failures(runs, failed, made["points"])
    tables = {name: table for name, table in made.items() if table is not None}
    if not all(run.is_classification for run in runs):
        measured = {run.record.run_id: run.metric.name for run in runs}
        for name, table in tables.items():
            if name in ACCURACIES and not table.empty:
                tables[name] = table.assign(metric=table["run_id"].map(measured))
    return tables

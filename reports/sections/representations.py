"""What the blocks of the backbones represent."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from reports.blocks import Block, Drawn, Shown, Text
from reports.comparison_group import ComparisonGroup
from reports.figures.representations import representations as drawn
from reports.numbering import ref
from reports.sources import source
from reports.study import Study
from reports.tables import DASH, Table, percent
from reports.words import counted
from results.store.probes import BOTH, CLASS_TOKEN, PATCH_MEAN
from results.tables.representations import NEAREST_MEAN, PROBE
from results.tables.run import Run

TABLE = "representations"
FIGURE = "blocks"
COLUMNS = {
    "probe": (PROBE, (BOTH, PATCH_MEAN)), "nearest_mean": (NEAREST_MEAN, (BOTH, PATCH_MEAN)),
    "cka_class": ("cka", (CLASS_TOKEN,)), "cka_mean": ("cka", (PATCH_MEAN,)), "uniform": ("uniform-distance", ("",)),
    "high": ("high-frequency-share", ("",)), "noise": ("white-noise-share", ("",)),
}  # fmt: skip
"""Columns of `by_block`: the measure, and the first of these parts that it has."""
CAPTION = (
    "What the blocks represent, on test. Probe: accuracy of logistic regression on class token and patch mean, in %; nearest "
    "mean: of the nearest class mean. CKA (centred kernel alignment, debiased) with the tokens after the last block. Distance: "
    "mean attention distance in pixels, smallest to largest head; uniform: that of equal weights. High: share of high spatial "
    "frequencies; noise: that of white noise."
)
DRAWN = (
    "What the blocks represent, on test. From left: linear probe on class token and patch mean (dotted: nearest class mean); "
    "CKA with the last block of class token (dotted: patch mean); attention distance, mean and range of the heads "
    "(dotted: uniform attention); share of high spatial frequencies of the token map (dotted: white noise)."
)


def representations(study: Study) -> list[Block]:
    """Sentences, a figure, and a table for each backbone; nothing without measured tokens."""
    groups = by_block(study)
    if not groups:
        return []
    runs = [run for run in study.runs if run.measurements]
    figure = Drawn(f"{DRAWN}{_over_seeds(groups.values())}", drawn(groups), FIGURE, source(runs, TABLE))
    text = " ".join([*sentences(study), f"{ref(FIGURE)} shows all blocks."])
    return [Text(text), figure, *block_tables(study)]


def by_block(study: Study) -> dict[str, pd.DataFrame]:
    """For each backbone, dataset and training a table with one row per block: means over training seeds, on test, and the
    number of these seeds."""
    rows = study.tidy.get(TABLE)
    if rows is None:
        return {}
    training = {run.record.run_id: _training(study, run) for run in study.runs}
    rows = rows[(rows["split"] == "test") & rows["run_id"].isin(training.keys())]
    rows = rows.assign(training=rows["run_id"].map(training))
    groups: dict[str, pd.DataFrame] = {}
    for (backbone, dataset, trained), own in rows.groupby(["backbone", "dataset", "training"], sort=False):
        means = own.groupby(["measure", "part", "block"])["value"].mean()
        table = pd.DataFrame(index=pd.Index(sorted(own["block"].unique()), name="block"))
        for column, (measure, parts) in COLUMNS.items():
            part = next((part for part in parts if (measure, part) in means.index), None)
            table[column] = np.nan if part is None else means[measure, part]
        # The numbers of heads mean nothing across seeds: each seed has its own smallest and largest head.
        heads = own[own["measure"] == "attention-distance"].groupby(["run_id", "block"])["value"]
        for column, by_seed in (
            ("distance", heads.mean()),
            ("distance_low", heads.min()),
            ("distance_high", heads.max()),
        ):
            table[column] = by_seed.groupby("block").mean()
        table["seeds"] = own.groupby("block")["seed"].nunique()
        name = study.backbones.get(str(backbone), str(backbone))
        with_data = f"{name}, {dataset}" if rows["dataset"].nunique() > 1 else name
        groups[f"{with_data}{trained}"] = table
    return groups


def _training(study: Study, run: Run) -> str:
    """What the name of a backbone needs beside that of its model: backbones of different trainings are not averaged."""
    kinds = [reference.stage for reference in run.record.stages]
    if "joint" in kinds:
        return f", trained with {study.display[run.method]}"
    if kinds.count("finetune") > 1:  # the second backbone is the run's own, such as a truncated one
        return f", {study.display[run.method]}"
    train = run.record.spec.train
    recipes = list(dict.fromkeys(other.record.spec.train.recipes.finetune for other in study.runs))
    weights = [other.record.spec.train.weights.identity for other in study.runs if other.backbone == run.backbone]
    weights = list(dict.fromkeys(weights))
    recipe = "" if len(recipes) == 1 else f", recipe {1 + recipes.index(train.recipes.finetune)}"
    start = "" if len(weights) == 1 else f", initial weights {1 + weights.index(train.weights.identity)}"
    return recipe + start


def sentences(study: Study) -> list[str]:
    """What the tables say about the first backbone, and about the exits of the leading method on it; nothing about what was
    not measured."""
    name, table = next(iter(by_block(study).items()))
    found = ["; ".join(parts) for parts in (_of_features(table), _of_maps(table)) if parts]
    text = [f"{name}: {found[0]}.", *(f"{part[0].upper()}{part[1:]}." for part in found[1:])] if found else []
    first_row = study.tidy[TABLE].iloc[0]
    where = (first_row["backbone"], first_row["dataset"])
    setting = next((s for s in study.settings if (s.where["backbone"], s.where["dataset"]) == where), None)
    return text + (_of_exits(study, setting) if setting else [])


def _of_features(table: pd.DataFrame) -> list[str]:
    """Linear probes and CKA."""
    probed, similar = table["probe"].dropna(), table["cka_mean"].dropna()
    parts = []
    if len(probed):
        best = probed.index.tolist()[int(probed.to_numpy().argmax())]
        parts.append(
            f"a linear probe is {percent(probed.iloc[0])} % accurate after block {probed.index[0]} and "
            f"{percent(probed.iloc[-1])} % after block {probed.index[-1]}, most accurate after block {best} "
            f"({percent(probed.max())} %)"
        )
    if len(similar):
        parts.append(f"CKA with the last block is {similar.iloc[0]:.2f} (patch mean) after block {similar.index[0]}")
    return parts


def _of_maps(table: pd.DataFrame) -> list[str]:
    """Attention distances and spatial frequencies."""
    heads, shares = table[["distance_low", "distance_high", "uniform"]].dropna(), table[["high", "noise"]].dropna()
    parts = []
    if len(heads):
        parts.append(
            f"the attention heads reach {heads['distance_low'].min():.1f} to {heads['distance_high'].max():.1f} pixels, "
            f"uniform attention {heads['uniform'].iloc[0]:.1f}"
        )
    if len(shares):
        parts.append(
            f"the share of high spatial frequencies is {shares['high'].iloc[0]:.2f} after block {shares.index[0]} and "
            f"{shares['high'].iloc[-1]:.2f} after block {shares.index[-1]}, that of white noise {shares['noise'].iloc[-1]:.2f}"
        )
    return parts


def _of_exits(study: Study, setting: ComparisonGroup) -> list[str]:
    """The disagreement of the first exit of the leading method with the final classifier; nothing if that one has no errors, or
    only errors."""
    rows = study.tidy.get("disagreement")
    if rows is None:
        return []
    leading = setting.leading
    alike = [run.record.run_id for run in setting.exiting if run.method == leading.method]
    own = rows[rows["run_id"].isin(alike)]
    shallow = own[own["block"] == own["block"].min()][["final_right", "final_wrong", "corrected"]].mean()
    if shallow.isna().any():
        return []
    return [
        f"{study.display[leading.method]}'s exit after block {own['block'].min()} differs from the final classifier on "
        f"{percent(shallow['final_right'])} % of the test images that this one classifies correctly and on "
        f"{percent(shallow['final_wrong'])} % of the others, of which the exit classifies {percent(shallow['corrected'])} % "
        "correctly."
    ]


def block_tables(study: Study) -> list[Shown]:
    """A table for each backbone."""
    runs = [run for run in study.runs if run.measurements]
    groups = by_block(study)
    shown = []
    for number, (name, table) in enumerate(groups.items(), start=1):
        place = f" {name}." if len(groups) > 1 else ""
        caption = f"{CAPTION}{place}{_over_seeds([table])}"
        shown.append(Shown(caption, _block_table(table), name=f"blocks-{number}", source=source(runs, TABLE)))
    return shown


def _block_table(table: pd.DataFrame) -> Table:
    header = ("Block", "Probe", "Nearest mean", "CKA, class", "CKA, patches", "Distance", "Uniform", "High", "Noise")
    rows = []
    for block, row in table.iterrows():
        distance = (
            DASH if np.isnan(row["distance_low"]) else f"{row['distance_low']:.1f}{DASH}{row['distance_high']:.1f}"
        )
        rows.append(
            (
                str(block), _cell(100 * row["probe"], 1), _cell(100 * row["nearest_mean"], 1), _cell(row["cka_class"], 2),
                _cell(row["cka_mean"], 2), distance, _cell(row["uniform"], 1), _cell(row["high"], 2), _cell(row["noise"], 2),
            )
        )  # fmt: skip
    return Table(header, tuple(rows))


def _over_seeds(tables: Collection[pd.DataFrame]) -> str:
    """Over how many seeds the means of these tables are, with a space before; empty for one seed."""
    low, high = (int(of(table["seeds"].max() for table in tables)) for of in (min, max))
    if high == 1:
        return ""
    seeds = counted(high, "training seed")
    return f" Means over {seeds if low == high else f'{low} to {seeds}'}; smallest and largest head are those in each seed."


def _cell(value: float, digits: int) -> str:
    return DASH if np.isnan(value) else f"{value:.{digits}f}"

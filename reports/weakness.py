"""Sentences about settings from which early exits cannot be judged: a weak backbone, or exits that decide nothing."""

from __future__ import annotations

import pandas as pd

from reports.comparison_group import DROP, ComparisonGroup
from reports.study import Study
from reports.tables import percent
from reports.words import few
from results.judge.weak_runs import ALL, NEAR_MAJORITY, NEVER_PREDICTED, SMALL_VAL
from results.metric import ACCURACY, Metric
from results.tables.convergence import not_converged


def weakness(study: Study, setting: ComparisonGroup) -> list[str]:
    """At most three sentences; empty if nothing is wrong."""
    sentences = weak_backbone(study, setting)
    where, block = one_exit(setting, study), setting.leading.record.exits[0].block
    if where:
        sentences.append(f"{where[0].upper()}{where[1:]}, so a backbone truncated after block {block} does the same.")
    if sentences and SMALL_VAL in set(_symptoms(study, setting)["signature"]):
        images = setting.runs[0].record.data.sizes["val"]
        sentences.append(f"With {images:,} val images, thresholds for the smallest drops cannot be chosen reliably.")
    return sentences


def weak_backbone(study: Study, setting: ComparisonGroup) -> list[str]:
    """A sentence if the backbone is hardly better than the largest class, or never predicts a class."""
    row = _backbone(study, setting)
    if row is None or not {NEAR_MAJORITY, NEVER_PREDICTED} & set(_symptoms(study, setting)["signature"]):
        return []
    return [_weak_backbone(study.backbones[setting.where["backbone"]], row, setting.metric)]


def one_exit(setting: ComparisonGroup, study: Study) -> str:
    """A clause if the reference of the group sends all images to its first exit at `DROP`, with every seed; else nothing."""
    run = setting.leading
    seeds = setting.contenders.get(setting.reference, {}).values()
    points = [seed.point(policy, *DROP) for seed, policy in seeds]
    if not points or not all(point and point.test and point.test.exit_shares[0] >= ALL for point in points):
        return ""
    block = run.record.exits[0].block
    cut = next((other for other in setting.runs if _is_cut(other.record.costs.blocks, block, other.has_exits)), None)
    accuracy = "" if cut is None else percent(cut.record.exits[-1].test_accuracy)
    same = f" (truncated there, the backbone reaches {accuracy} %)" if accuracy else ""
    name = study.display[setting.reference]
    return (
        f"at the cheapest threshold that loses at most 1 point on val, all test images leave {name} at its first exit, "
        f"after block {block}{same}"
    )


def unconverged(setting: ComparisonGroup) -> dict[str, float]:
    """The labels of the rows with heads that have not converged, with their largest gaps; rows of one run may be policies."""
    gaps = not_converged(setting.exiting)
    rows = {setting.label(run, policy): run.method for run in setting.exiting for policy in run.policies}
    return {label: gaps[method] for label, method in rows.items() if method in gaps}


def _symptoms(study: Study, setting: ComparisonGroup) -> pd.DataFrame:
    rows = study.tidy.get("failures", pd.DataFrame(columns=["signature", "run_id", "place", "sentence"]))
    return rows[rows["run_id"].isin([run.record.run_id for run in setting.runs])]


def _backbone(study: Study, setting: ComparisonGroup) -> pd.Series | None:
    """The row of `results.tables.backbones` of the first seed."""
    table = study.tidy.get("backbones", pd.DataFrame())
    if table.empty:
        return None
    rows = table[(table["backbone"] == setting.where["backbone"]) & (table["dataset"] == setting.where["dataset"])]
    return None if rows.empty else rows.iloc[0]


def _weak_backbone(name: str, row: pd.Series, metric: Metric) -> str:
    never = str(row["never_predicted"])
    names = few(never.split(", ")) if never else ""
    images = f" of {row['test']:,} test images"
    recall = f"balanced accuracy, the mean recall over the {row['classes']} classes,"
    if metric is not ACCURACY:
        recall = f"mean recall over classes, of {'boxes' if pd.isna(row['majority_share']) else 'pixels'},"
    always = f", where always answering “{row['majority']}” gives {percent(row['majority_share'])} %"
    return (
        f"The {name} without exits {metric.reaches(percent(row['accuracy']), images)}"
        f"{'' if pd.isna(row['majority_share']) else always}; its {recall} is "
        f"{percent(row['balanced_accuracy'])} %" + (f", and it never predicts {names}." if names else ".")
    )


def _is_cut(blocks: tuple[int, ...], block: int, has_exits: bool) -> bool:
    return not has_exits and len(blocks) == block

"""Tables of segmentation runs: read, compared with their records, and refused with one sentence where they do not fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyarrow.parquet import read_schema

from results.stats.iou import mean_iou
from results.store.folder import Store
from results.store.sharing import share
from results.tables.columns import PIXEL_COLUMNS
from results.tables.compare import point_differences
from results.tables.examples import Example, examples_frame
from results.tables.iso_accuracy import iso_table
from results.tables.loading import load_runs
from results.tables.metrics import class_table, exit_table, head_table, leaving_table, routing_table
from results.tables.outcomes import PixelOutcomes
from results.tables.points import comparisons, points
from results.tables.run import STATIC, Run
from tests.results.edited import edit_record, problem_of_edited
from tests.results.loaded import runs_by_method
from tests.results.stats.test_iso_accuracy import cost_to_reach
from tests.segmentation_runs import CLASSES, IMAGES, POLICY, write_segmentation

HALF = f"{POLICY}/equal-macs-0.5"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_segmentation(tmp_path_factory.mktemp("scenes"), seeds=(0,), methods=("lgvit", "vanilla"))


@pytest.fixture(scope="module")
def runs(store: Store) -> dict[str, Run]:
    return runs_by_method(store)


def counts_of(run: Run, exits: dict[int, float]) -> np.ndarray:
    """Counts of pixels by class, row by row from the file: of all images at some exits, with weights."""
    table = pd.read_parquet(run.folder / "answers.parquet")
    total = np.zeros((len(CLASSES), 3))
    for exit_, weight in exits.items():
        by_class = table[table["exit"] == exit_].groupby("class")[["tp", "fp", "fn"]].sum()
        total[by_class.index] += weight * by_class.to_numpy()
    return total


def test_the_columns_are_those_of_the_documentation(runs: dict[str, Run]) -> None:
    for run in runs.values():
        for name, columns in PIXEL_COLUMNS.items():
            assert read_schema(run.folder / f"{name}.parquet").names == list(columns)


def test_the_metric_of_a_point_is_the_weighted_miou_of_its_settings(runs: dict[str, Run]) -> None:
    run = runs["lgvit"]
    outcomes = pd.read_parquet(run.folder / "outcomes.parquet")
    answers = pd.read_parquet(run.folder / "answers.parquet")
    expected = 0.0
    for (_, weight), rows in outcomes[outcomes["point"] == HALF].groupby(["threshold", "weight"]):
        taken = answers.merge(rows[["sample_id", "exit"]])
        by_class = taken.groupby("class")[["tp", "fp", "fn"]].sum()
        expected += weight * (by_class["tp"] / by_class.sum(axis=1)).mean()
    assert run.values(HALF).mean() == pytest.approx(expected)
    (row,) = points([run]).query("point == @HALF").to_dict("records")
    assert row["accuracy"] == pytest.approx(expected)
    assert row["low"] < row["accuracy"] < row["high"]
    assert row["drop"] == pytest.approx(run.record.static_accuracy.test - expected)
    assert runs["static"].values(STATIC).mean() == pytest.approx(mean_iou(counts_of(run, {-1: 1.0})))


def test_a_cost_that_is_known_or_only_a_mean_has_no_interval(runs: dict[str, Run]) -> None:
    """Of a truncated model all images cost the same; where tokens leave, the record holds the mean of their costs."""
    ends = ["layer_low", "layer_high", "mac_low", "mac_high"]
    (row,) = points([runs["lgvit"]]).query("point == @HALF").to_dict("records")
    assert row["mac_low"] < row["mac_speedup"] < row["mac_high"]
    truncated = next(run for run in runs.values() if not run.has_exits and not run.is_static)
    train = truncated.record.spec.train.model_copy(update={"token_exits": (4, 8)})
    spec = truncated.record.spec.model_copy(update={"train": train})
    tokens = replace(truncated, record=truncated.record.model_copy(update={"spec": spec}))
    for run in (truncated, tokens):
        (row,) = points([run]).to_dict("records")
        assert row["mac_speedup"] > 1
        assert np.isnan([row[end] for end in ends]).all()


def test_exits_and_the_images_that_leave_there(runs: dict[str, Run]) -> None:
    run = runs["lgvit"]
    exits = exit_table([run])
    assert not {"ece", "nll"} & set(exits.columns)
    for k, row in exits.iterrows():
        assert row["accuracy"] == pytest.approx(mean_iou(counts_of(run, {int(str(k)): 1.0})))
        assert row["classes"] == len(CLASSES) - 1  # no image has a hat, and no answer
        assert row["boundary_iou"] < row["accuracy"] < row["pixel_accuracy"]
    leaving = leaving_table([run]).query("point == @HALF")
    assert leaving["share"].sum() == pytest.approx(1)
    assert leaving["all_accuracy"].tolist() == pytest.approx(exits["accuracy"].tolist())
    assert (leaving["final_accuracy"] >= leaving["accuracy"] - 1e-12).all()
    routing = routing_table([run]).set_index("point")
    outcomes = run.point_outcomes[HALF]
    assert len(outcomes.weight) == 2
    of_settings = [mean_iou(counts_of(run, {k: np.mean(taken == k) for k in range(4)})) for taken in outcomes.exit]
    assert routing.loc[HALF, "random"] == pytest.approx(outcomes.weight @ of_settings)
    assert routing.loc[HALF, "accuracy"] > routing.loc[HALF, "random"]
    assert head_table([run]).empty  # an image is neither right nor wrong


def test_a_mixture_of_fixed_exits_is_no_better_than_random_routing(runs: dict[str, Run]) -> None:
    run = runs["lgvit"]
    outcomes = run.point_outcomes[HALF]
    exits = np.array([[0], [2]]).repeat(len(outcomes.sample_id), axis=1)
    fixed = replace(outcomes, exit=exits, weight=np.array([0.3, 0.7]))
    routing = routing_table([run.changed(point_outcomes={**run.point_outcomes, HALF: fixed})]).set_index("point")
    assert routing.loc[HALF, "random"] == pytest.approx(fixed.metric, abs=1e-12)


def test_classes_have_their_iou_and_the_block_at_which_their_images_leave(runs: dict[str, Run]) -> None:
    run = runs["lgvit"]
    table = class_table([run])
    assert not table.isna().any(axis=None)
    at_half = table[table["point"] == HALF].set_index("name")
    assert list(at_half.index) == list(CLASSES[:-1])
    assert at_half["accuracy"].mean() == pytest.approx(run.values(HALF).mean())
    assert at_half["static_accuracy"].mean() == pytest.approx(run.record.static_accuracy.test)
    assert at_half.loc["background", "samples"] == IMAGES["test"]
    half = next(point.test for point in run.record.points if point.name == HALF)
    assert half is not None
    assert at_half.loc["background", "mean_block"] == pytest.approx(half.mean_block)


def test_methods_are_compared_in_pairs(runs: dict[str, Run]) -> None:
    table = comparisons([runs["lgvit"], runs["vanilla"]]).query("kind == 'equal-macs'")
    assert (table["difference"] > 0).all()
    assert (table["low"] < table["difference"]).all()
    assert (table["p"] < 0.05).any()
    same = point_differences(runs["lgvit"], runs["lgvit"]).set_index("point")
    assert same.loc[STATIC, "p"] == 1
    assert same["low"].isna().all()  # equal answers say nothing about the variance


def test_the_speed_up_at_equal_miou_is_that_of_the_hull(runs: dict[str, Run]) -> None:
    run = runs["lgvit"]
    corners, answers = (pd.read_parquet(run.folder / f"{name}.parquet") for name in ("corners", "answers"))
    macs = np.array(run.record.costs.cumulative) / run.record.costs.baseline
    points = []
    for _, rows in corners.groupby("threshold"):
        by_class = answers.merge(rows[["sample_id", "exit"]]).groupby("class")[["tp", "fp", "fn"]].sum()
        points.append((macs[rows["exit"]].mean(), (by_class["tp"] / by_class.sum(axis=1)).mean()))
    cost, miou = (np.array(column) for column in zip(*sorted(points), strict=True))
    target = run.record.static_accuracy.test - 0.01
    (row,) = iso_table([run]).to_dict("records")
    assert row["speedup"] == pytest.approx(1 / cost_to_reach(cost, miou, target))
    assert row["low"] < row["speedup"] < row["high"]


def test_shared_records_are_read(store: Store, tmp_path: Path) -> None:
    share(store, store.run_ids(), tmp_path)
    loaded, problems = load_runs(Store(tmp_path), store.run_ids())
    assert problems == []
    assert len(loaded) == 4


def test_other_settings_of_images_are_other_outcomes(runs: dict[str, Run]) -> None:
    first, second = (runs[name].point_outcomes[HALF] for name in ("lgvit", "vanilla"))
    assert isinstance(first, PixelOutcomes)
    assert not np.array_equal(first.exits_and_answers, second.exits_and_answers)
    assert first.exits_and_answers.all()


def accuracy_of(record: dict[str, Any]) -> Any:
    return next(point for point in record["points"] if (point["kind"], point["target"]) == ("equal-macs", 0.5))["test"]


RECORDS: dict[str, Callable[[dict[str, Any]], object]] = {
    "test mIoU of exit 2": lambda record: record["exits"][1].update(test_accuracy=0.9),
    "mIoU at": lambda record: accuracy_of(record).update(accuracy=0.9),
    "static_accuracy.test": lambda record: record["static_accuracy"].update(test=0.99),
    "class 5": lambda record: record["data"].update(classes=5, class_names=[]),
    "at most": lambda record: record["data"].update(classes=10**7, class_names=[]),
}
ANSWERS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "no column edge_fn": lambda table: table.drop(columns="edge_fn"),
    "no whole numbers in tp": lambda table: table.assign(tp=table["tp"] + 0.5),
    "negative": lambda table: table.assign(fp=table["fp"] - 10**6),
    "name class": lambda table: table.assign(**{"class": table["class"] + 5}),
    "name exit 7": lambda table: table.assign(exit=table["exit"].replace(2, 7)),
    "twice": lambda table: pd.concat([table, table.iloc[:1]]),
    "other samples": lambda table: table.assign(sample_id=table["sample_id"] + 1),
    "exit 2 are for other labels": lambda table: table.assign(fn=table["fn"] + (table["exit"] == 1)),
    "exit 1 are for other labels": lambda table: table[table["exit"] != 0],
    "lack the backbone": lambda table: table[table["exit"] != -1],
    "other numbers of wrongly found": lambda table: table.assign(fp=table["fp"] + (table["exit"] == 1)),
    "mIoU of exit 3": lambda table: moved(table, 2),
}


def moved(table: pd.DataFrame, exit_: int) -> pd.DataFrame:
    """One exit with more pixels found in an image, without a contradiction."""
    image = table[(table["exit"] == exit_) & (table["fn"] > 0)]["sample_id"].iloc[0]
    here = (table["exit"] == exit_) & (table["sample_id"] == image)
    better = table.copy()
    better.loc[here, "tp"] += better.loc[here, "fn"]
    better.loc[here, ["fp", "fn"]] = 0
    return better


@pytest.mark.parametrize("part", RECORDS)
def test_an_edited_record_is_refused(store: Store, tmp_path: Path, part: str) -> None:
    assert part in problem_of_edited(store, tmp_path, lambda folder: edit_record(folder, RECORDS[part]))


@pytest.mark.parametrize("part", ANSWERS)
def test_edited_counts_are_refused(store: Store, tmp_path: Path, part: str) -> None:
    def edit(folder: Path) -> None:
        path = folder / "answers.parquet"
        ANSWERS[part](pd.read_parquet(path)).to_parquet(path, index=False)
        edit_record(folder)

    assert part in problem_of_edited(store, tmp_path, edit)


EXAMPLES: dict[str, Callable[[Example], Example]] = {
    "has answers of 2 exits": lambda example: replace(example, answers=example.answers[:2]),
    "names the class 7": lambda example: replace(example, answers=example.answers + np.uint8(7)),
    "names the class 9": lambda example: replace(example, label=np.full_like(example.label, 9)),
    "left at exit 1, and the last is 0": lambda example: replace(example, left=np.ones((4, 4), np.uint8)),
}


@pytest.mark.parametrize("part", EXAMPLES)
def test_examples_that_a_figure_could_not_draw_are_refused(
    store: Store, runs: dict[str, Run], tmp_path: Path, part: str
) -> None:
    """They ended the report of all runs."""
    label = np.array([[0, 255], [6, 1]], np.uint8)
    answers = np.zeros((len(runs["lgvit"].record.exits), 4, 4), np.uint8)
    example = Example(1000, np.zeros((2, 2, 1), np.uint8), label, answers)

    def edit(folder: Path) -> None:
        examples_frame([EXAMPLES[part](example)]).to_parquet(folder / "examples.parquet", index=False)
        edit_record(folder)

    assert part in problem_of_edited(store, tmp_path, edit)


@pytest.mark.parametrize("exit_", [9, -1])
def test_other_exits_are_refused(store: Store, tmp_path: Path, exit_: int) -> None:
    """An exit that does not exist, and the answers of the backbone without exits at an operating point."""

    def edit(folder: Path) -> None:
        path = folder / "outcomes.parquet"
        table = pd.read_parquet(path)
        at = (table["point"] == HALF) & (table["exit"] == 0)
        table.loc[at, "exit"] = exit_
        table.to_parquet(path, index=False)
        edit_record(folder)

    assert "does not have" in problem_of_edited(store, tmp_path, edit)

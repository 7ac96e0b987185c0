"""Tables of detection runs: read, compared with their records, and refused with one sentence where they do not fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyarrow.parquet import read_schema

from results.judge.contrast import contrast
from results.metric import AP
from results.stats.box_matching import FoundBoxes, TrueBoxes
from results.store.folder import Store
from results.store.sharing import share
from results.tables.backbones import backbone_table
from results.tables.box_answers import SIDES
from results.tables.columns import BOX_COLUMNS
from results.tables.compare import point_differences
from results.tables.iso_accuracy import iso_table
from results.tables.loading import load_runs, without_repeats
from results.tables.metrics import class_table, exit_table, head_table, leaving_table, routing_table
from results.tables.outcomes import BoxOutcomes
from results.tables.pictures import PICTURES, Picture, pictures_frame
from results.tables.points import comparisons, points
from results.tables.run import STATIC, Run
from tests.detection_runs import CLASSES, POLICY, write_detection
from tests.results.edited import edit_record, problem_of_edited
from tests.results.loaded import runs_by_method
from tests.results.stats.boxes import reference

HALF = f"{POLICY}/equal-macs-0.5"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_detection(tmp_path_factory.mktemp("boxes"), seeds=(0,), methods=("lgvit", "vanilla"))


@pytest.fixture(scope="module")
def runs(store: Store) -> dict[str, Run]:
    return runs_by_method(store)


def pycocotools(run: Run, taken: np.ndarray) -> dict[str, float]:
    """The numbers of pycocotools for the exits of the images, from the files."""
    answers, labelled = (pd.read_parquet(run.folder / f"{name}.parquet") for name in ("answers", "ground_truth"))
    ids = run.point_outcomes[STATIC].sample_id
    found = FoundBoxes(
        answers["exit"].to_numpy(), np.searchsorted(ids, answers["sample_id"]), answers[list(SIDES)].to_numpy(),
        answers["score"].to_numpy(), answers["label"].to_numpy(),
    )  # fmt: skip
    truth = TrueBoxes(
        len(ids), np.searchsorted(ids, labelled["sample_id"]), labelled[list(SIDES)].to_numpy(), labelled["label"].to_numpy(),
        labelled["ignored"].to_numpy(),
    )  # fmt: skip
    return reference(found, truth, taken)


def test_the_columns_are_those_of_the_documentation(runs: dict[str, Run]) -> None:
    for run in runs.values():
        for name, columns in BOX_COLUMNS.items():
            assert read_schema(run.folder / f"{name}.parquet").names == list(columns)


def test_the_metric_of_a_point_is_the_weighted_ap_of_its_settings(runs: dict[str, Run]) -> None:
    run = runs["lgvit"]
    outcomes = pd.read_parquet(run.folder / "outcomes.parquet")
    at_half = outcomes[outcomes["point"] == HALF].groupby(["threshold", "weight"])
    expected = sum(weight * pycocotools(run, rows["exit"].to_numpy())["AP"] for (_, weight), rows in at_half)
    assert run.values(HALF).mean() == pytest.approx(expected)
    (row,) = points([run]).query("point == @HALF").to_dict("records")
    assert row["accuracy"] == pytest.approx(expected)
    assert row["low"] < row["accuracy"] < row["high"]
    assert row["drop"] == pytest.approx(run.record.static_accuracy.test - expected)
    images = len(run.values(HALF))
    assert runs["static"].values(STATIC).mean() == pytest.approx(pycocotools(run, np.full(images, -1))["AP"])
    reached = [point for point in run.record.points if point.kind == "accuracy-drop" and point.reached]
    assert any(point.redrawn is not None for point in reached)
    assert len(run.curves[run.curves["split"] == "test"]) <= 20


def test_numbers_of_the_same_exits_are_computed_once(runs: dict[str, Run]) -> None:
    evidence = runs["lgvit"].boxes
    taken = runs["lgvit"].point_outcomes[HALF].exit[0]
    for measure in (evidence.precision, evidence.values, evidence.metrics):
        assert measure(taken.astype(np.int64)) is measure(taken)
        assert not np.array_equal(measure(taken), measure(np.zeros_like(taken)))
    assert evidence.metrics(taken)[0] == pytest.approx(pycocotools(runs["lgvit"], taken)["AP"], abs=1e-12)


def test_exits_and_the_images_that_leave_there(runs: dict[str, Run]) -> None:
    run = runs["lgvit"]
    exits = exit_table([run])
    images = len(run.values(HALF))
    for k, row in enumerate(exits.to_dict("records")):
        expected = pycocotools(run, np.full(images, k))
        names = {"accuracy": "AP", "ap50": "AP50", "ap_small": "small", "ap_medium": "medium", "ap_large": "large"}
        for column, name in (names | {"ar100": "AR100"}).items():
            assert row[column] == pytest.approx(expected[name]), column
    leaving = leaving_table([run]).query("point == @HALF")
    assert leaving["share"].sum() == pytest.approx(1)
    assert leaving["all_accuracy"].tolist() == pytest.approx(exits["accuracy"].tolist())
    routing = routing_table([run]).set_index("point")
    assert 0 < routing.loc[HALF, "random"] < exits["accuracy"].max()
    assert "oracle" not in routing
    assert head_table([run]).empty  # an image is neither right nor wrong


def test_a_box_takes_few_bytes(store: Store) -> None:
    """A report has the boxes of all runs in memory, a detection of VOC some two million a run."""
    evidence = runs_by_method(store)["lgvit"].boxes
    arrays = list(vars(evidence.found).values())
    for matches in (evidence.matches, *evidence.matches_by_size.values()):
        for one in matches.classes:
            arrays += [one.image, one.exit, one.right, one.counted]
    distinct = {id(array): array.nbytes for array in arrays}
    assert evidence.found.boxes.dtype == np.float32  # as stored
    assert sum(distinct.values()) / len(evidence.found.image) < 60


def test_a_mixture_of_fixed_exits_is_no_better_than_random_routing(runs: dict[str, Run]) -> None:
    run = runs["lgvit"]
    outcomes = run.point_outcomes[HALF]
    exits = np.array([[0], [2]]).repeat(len(outcomes.sample_id), axis=1)
    fixed = replace(outcomes, exit=exits, weight=np.array([0.3, 0.7]))
    routing = routing_table([run.changed(point_outcomes={**run.point_outcomes, HALF: fixed})]).set_index("point")
    assert routing.loc[HALF, "random"] == pytest.approx(fixed.metric, abs=1e-12)


def test_classes_have_their_ap_and_the_block_at_which_their_images_leave(runs: dict[str, Run]) -> None:
    table = class_table([runs["lgvit"]])
    assert not table.isna().any(axis=None)
    at_half = table[table["point"] == HALF].set_index("name")
    assert list(at_half.index) == list(CLASSES[:-1])
    assert at_half["accuracy"].mean() == pytest.approx(runs["lgvit"].values(HALF).mean())
    assert at_half["static_accuracy"].mean() == pytest.approx(runs["lgvit"].record.static_accuracy.test)


def test_methods_are_compared_in_pairs(runs: dict[str, Run]) -> None:
    table = comparisons([runs["lgvit"], runs["vanilla"]]).query("kind == 'equal-macs'")
    assert (table["difference"] > 0).all()
    assert (table["low"] < table["difference"]).all()
    assert (table["p"] < 0.05).any()
    same = point_differences(runs["lgvit"], runs["lgvit"]).set_index("point")
    assert same.loc[STATIC, "p"] == 1
    (row,) = iso_table([runs["lgvit"]]).to_dict("records")
    assert row["low"] < row["speedup"] < row["high"]


def test_a_backbone_has_the_recall_of_its_boxes(runs: dict[str, Run]) -> None:
    (row,) = backbone_table(list(runs.values())).to_dict("records")
    assert row["accuracy"] == pytest.approx(runs["static"].record.static_accuracy.test)
    assert 0 < row["lowest_recall"] <= row["balanced_accuracy"] <= 1
    assert np.isnan(row["majority_share"])  # no answer is the same for all images
    assert runs["static"].metric is AP


def test_shared_records_are_read(store: Store, tmp_path: Path) -> None:
    share(store, store.run_ids(), tmp_path)
    loaded, problems = load_runs(Store(tmp_path), store.run_ids())
    assert problems == []
    assert len(loaded) == 4


def test_other_settings_of_images_are_other_outcomes(runs: dict[str, Run]) -> None:
    first, second = (runs[name].point_outcomes[HALF] for name in ("lgvit", "vanilla"))
    assert isinstance(first, BoxOutcomes)
    assert not np.array_equal(first.exits_and_answers, second.exits_and_answers)


def at_first_exit(run: Run, found: FoundBoxes) -> BoxOutcomes:
    """All images leave at the first exit, where these boxes are found."""
    outcomes = run.point_outcomes[HALF]
    assert isinstance(outcomes, BoxOutcomes)
    evidence = replace(outcomes.evidence, found=found)
    return replace(outcomes, exit=np.zeros_like(outcomes.exit), evidence=evidence)


OTHER: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "score": lambda score: 1 - score, "boxes": lambda boxes: 0.8 * boxes, "label": lambda label: (label + 1) % 3,
}  # fmt: skip


def with_other(found: FoundBoxes, part: str) -> FoundBoxes:
    """As many boxes in every image and at every exit, with other scores, coordinates or labels."""
    return replace(found, **{part: OTHER[part](getattr(found, part))})


@pytest.mark.parametrize("part", OTHER)
def test_as_many_but_other_boxes_are_another_training(runs: dict[str, Run], part: str) -> None:
    run, other = runs["lgvit"], runs["vanilla"]
    found = run.boxes.found
    first, second = at_first_exit(run, found), at_first_exit(run, with_other(found, part))
    copy = at_first_exit(run, found.part(np.random.default_rng(0).permutation(len(found.exit))))
    assert np.array_equal(first.exits_and_answers, copy.exits_and_answers)
    assert not np.array_equal(first.exits_and_answers, second.exits_and_answers)
    of_other = [at_first_exit(other, one) for one in (other.boxes.found, with_other(other.boxes.found, part))]
    for seeds, of_run in ((2, (first, second)), (1, (first, copy))):
        sides = (
            {seed: (side.changed(point_outcomes={HALF: one}), HALF) for seed, one in enumerate(outcomes)}
            for side, outcomes in ((run, of_run), (other, of_other))
        )
        result = contrast(*sides)
        assert result is not None
        assert (result.seeds, result.seeds_run) == (seeds, 2)


def test_other_boxes_of_the_same_training_are_named(runs: dict[str, Run]) -> None:
    run = runs["lgvit"]
    other = at_first_exit(run, with_other(run.boxes.found, "score"))
    before = run.changed(point_outcomes={STATIC: run.point_outcomes[STATIC], HALF: at_first_exit(run, run.boxes.found)})
    after = before.changed(point_outcomes={**before.point_outcomes, HALF: other})
    assert without_repeats([before, before])[1] == []
    assert len(without_repeats([before, after])[1]) == 1


def accuracy_of(record: dict[str, Any]) -> Any:
    return next(point for point in record["points"] if (point["kind"], point["target"]) == ("equal-macs", 0.5))["test"]


RECORDS: dict[str, Callable[[dict[str, Any]], object]] = {
    "test AP of exit 2": lambda record: record["exits"][1].update(test_accuracy=0.9),
    "AP at": lambda record: accuracy_of(record).update(accuracy=0.9),
    "static_accuracy.test": lambda record: record["static_accuracy"].update(test=0.99),
    "outside the 3 classes": lambda record: record["data"].update(classes=3, class_names=[]),
}
ANSWERS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "answers has no column top": lambda table: table.drop(columns="top"),
    "no whole numbers in label": lambda table: table.assign(label=table["label"] + 0.5),
    "outside the 6 classes": lambda table: table.assign(label=table["label"] + 5),
    "name an exit": lambda table: table.assign(exit=table["exit"].replace(2, 7)),
    "other samples": lambda table: table.assign(sample_id=table["sample_id"] + 1),
    "scores outside": lambda table: table.assign(score=table["score"] * 2),
    "box whose": lambda table: table.assign(right=table["left"]),
    "more than 100": lambda table: pd.concat([table, *[table.iloc[:1]] * 100]),
    "AP of exit 3": lambda table: table[(table["exit"] != 2) | (table["score"] > 0.5)],
    "static_accuracy.test is": lambda table: table[table["exit"] != -1],
}
TRUTH: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "no column ignored": lambda table: table.drop(columns="ignored"),
    "truth values": lambda table: table.assign(ignored=table["ignored"].astype(int)),
    "no box that counts": lambda table: table.assign(ignored=True),
    "static_accuracy.test": lambda table: table.iloc[5:],
}


@pytest.mark.parametrize("part", RECORDS)
def test_an_edited_record_is_refused(store: Store, tmp_path: Path, part: str) -> None:
    assert part in problem_of_edited(store, tmp_path, lambda folder: edit_record(folder, RECORDS[part]))


@pytest.mark.parametrize(("name", "part"), [*(("answers", p) for p in ANSWERS), *(("ground_truth", p) for p in TRUTH)])
def test_edited_boxes_are_refused(store: Store, tmp_path: Path, name: str, part: str) -> None:
    def edit(folder: Path) -> None:
        path = folder / f"{name}.parquet"
        (ANSWERS if name == "answers" else TRUTH)[part](pd.read_parquet(path)).to_parquet(path, index=False)
        edit_record(folder)

    assert part in problem_of_edited(store, tmp_path, edit)


def test_pictures_of_other_samples_are_named(store: Store, tmp_path: Path) -> None:
    def edit(folder: Path) -> None:
        pictures_frame([Picture(5000, np.zeros((4, 4, 1), np.uint8), 1.0)]).to_parquet(folder / PICTURES, index=False)
        edit_record(folder)

    assert "pictures are of other samples" in problem_of_edited(store, tmp_path, edit)


def test_missing_labelled_boxes_are_named(store: Store, tmp_path: Path) -> None:
    def edit(folder: Path) -> None:
        (folder / "ground_truth.parquet").unlink()

    assert "ground_truth.parquet" in problem_of_edited(store, tmp_path, edit)

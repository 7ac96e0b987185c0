"""Every failure signature is reported where it occurs and nowhere else: records of the grid `smoke`, changed one at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from results.judge.failures import exits_that_did_not_learn, failed_records, failures
from results.record import DoneRecord
from results.store.folder import Store
from results.tables.loading import load_runs
from results.tables.outcomes import ClassOutcomes, split_by_point
from results.tables.run import STATIC, Run, TriedRate
from tests.conftest import SmokeRun
from tests.results.builders import failed_record


@pytest.fixture(scope="module")
def runs(smoke: SmokeRun) -> list[Run]:
    store = Store(smoke.results)
    smoke_runs, _ = load_runs(store, store.run_ids())
    return [run for run in smoke_runs if run.method in ("static", "lgvit")]


def bent(runs: list[Run], change: Callable[[DoneRecord], dict[str, Any]], seed: int | None = None) -> list[Run]:
    """The runs with changed records of those with early exits."""
    changed = []
    for run in runs:
        record = run.record
        if not run.is_static:
            record = record.model_copy(update=change(record))
        if seed is not None:
            record = record.model_copy(
                update={"spec": record.spec.with_train(seed=seed), "run_id": f"{record.run_id}-{seed}"}
            )
        changed.append(replace(run, record=record))
    return changed


def found(runs: list[Run], signature: str) -> pd.DataFrame:
    table = failures(runs)
    return table[table["signature"] == signature]


def accuracies(value: float) -> Callable[[DoneRecord], dict[str, Any]]:
    """The first exit has this test accuracy, all others .9."""

    def change(record: DoneRecord) -> dict[str, Any]:
        exits = [exit_.model_copy(update={"test_accuracy": 0.9}) for exit_ in record.exits]
        return {"exits": (exits[0].model_copy(update={"test_accuracy": value}), *exits[1:])}

    return change


@pytest.mark.parametrize(
    ("val", "place"),
    [((0.3, 0.5, 0.4), None), ((0.5, 0.4, 0.3), "exits 1"), ((0.3, 0.4, 0.5), "exits 3"), ((0.3, 0.4), None)],
)
def test_a_best_learning_rate_at_an_end(runs: list[Run], val: tuple[float, ...], place: str | None) -> None:
    tried = tuple(
        TriedRate(f"exits {rate}", accuracy, accuracy == max(val)) for rate, accuracy in enumerate(val, start=1)
    )
    tuned = [replace(run, tried=() if run.is_static else tried) for run in runs]
    rows = found(tuned, "best learning rate at an end").to_dict("records")
    assert [(row["place"], row["value"], row["limit"]) for row in rows] == ([(place, 0.5, 0.4)] if place else [])


def test_an_exit_that_does_not_learn(runs: list[Run]) -> None:
    # Chance is .1, the final head .9: half of the way is .5.
    assert found(bent(runs, accuracies(0.51)), "exit does not learn").empty
    (row,) = found(bent(runs, accuracies(0.49)), "exit does not learn").to_dict("records")
    assert row["place"] == "block 4"
    assert row["limit"] == pytest.approx(0.5)
    assert "49.0 %" in row["sentence"]
    assert "90.0 %" in row["sentence"]


def test_chance_is_the_share_of_the_most_frequent_class(runs: list[Run]) -> None:
    """Nine of ten test images have one class, and the final head has 95 %: half of the way is 92.5 %."""

    def change(record: DoneRecord) -> dict[str, Any]:
        first, *others = record.exits
        exits = [exit_.model_copy(update={"test_accuracy": 0.95}) for exit_ in others]
        return {"exits": (first.model_copy(update={"test_accuracy": 0.9}), *exits)}

    run = next(run for run in bent(runs, change) if not run.is_static)
    alone = run.point_outcomes[STATIC]
    assert isinstance(alone, ClassOutcomes)
    label = np.arange(len(alone.label)) // (0.9 * len(alone.label))
    run.__dict__["point_outcomes"] = run.point_outcomes | {STATIC: replace(alone, label=label.astype(int))}
    (symptom,) = exits_that_did_not_learn(run)
    assert symptom.limit == pytest.approx(0.925, abs=0.001)
    assert symptom.value == 0.9


def scaled_costs(record: DoneRecord, split: str, factor: float) -> dict[str, Any]:
    points = [
        point.model_copy(
            update={split: getattr(point, split).model_copy(update={"mean_macs": point.test.mean_macs * factor})}
        )
        if point.test is not None
        else point
        for point in record.points
    ]
    return {"points": tuple(points)}


def test_a_speed_up_that_differs_between_val_and_test(runs: list[Run]) -> None:
    name = "speed-up unstable between val and test"
    assert found(bent(runs, lambda record: scaled_costs(record, "val", 1.05)), name).empty
    table = found(bent(runs, lambda record: scaled_costs(record, "val", 1.2)), name)
    assert len(table)
    assert not table["place"].str.contains("equal-macs").any()
    assert table["value"].to_numpy() == pytest.approx(0.2)


def test_a_speed_up_that_varies_over_seeds(runs: list[Run]) -> None:
    name = "speed-up unstable across seeds"

    def seeds(stretch: float) -> list[Run]:
        return [
            run
            for seed in range(3)
            for run in bent(runs, lambda record, seed=seed: shallower(record, 1 + stretch * seed), seed)  # type: ignore[misc]
        ]

    def shallower(record: DoneRecord, factor: float) -> dict[str, Any]:
        cheaper = tuple(round(macs / factor) for macs in record.costs.cumulative)
        return {"costs": record.costs.model_copy(update={"cumulative": cheaper})}

    assert found(seeds(0.0), name).empty
    table = found(seeds(0.3), name)
    assert len(table)
    assert (table["value"] > 0.1).all()
    assert table["run_id"].str.split().map(len).eq(3).all()
    assert found(seeds(0.3)[:4], name).empty  # two seeds are too few


def test_heads_that_cost_more_than_they_save(runs: list[Run]) -> None:
    name = "head costs more than it saves"

    def dear(record: DoneRecord) -> dict[str, Any]:
        heads = list(record.costs.heads)
        heads[0] *= 1000
        return {"costs": record.costs.model_copy(update={"heads": tuple(heads)})}

    def nearly_free(record: DoneRecord) -> dict[str, Any]:
        return {"costs": record.costs.model_copy(update={"heads": (1,) * len(record.costs.heads)})}

    assert "block 4" in set(found(bent(runs, dear), name)["place"])
    assert "block 4" not in set(found(bent(runs, nearly_free), name)["place"])


def test_exits_that_save_no_macs(runs: list[Run]) -> None:
    name = "leaving saves nothing"
    (run,) = [run for run in runs if not run.is_static]
    costs = run.record.costs
    late = [run.record.exits[k].block for k, macs in enumerate(costs.cumulative[:-1]) if macs >= costs.baseline]
    assert found(runs, name)["place"].tolist() == [f"block {block}" for block in late]
    cheap = {"costs": costs.model_copy(update={"baseline": 1})}
    assert len(found(bent(runs, lambda record: cheap), name)) == 8


def test_low_accuracy_despite_speed_up_and_exceeded_drops(runs: list[Run]) -> None:
    """The predictions of a fifth of the samples are made wrong at every point."""
    spoiled = []
    for run in runs:
        outcomes = run.outcomes.copy()
        hit = (outcomes["point"] != "static") & (outcomes["sample_id"] % 5 == 0)
        outcomes.loc[hit, "prediction"] = -1
        spoiled.append(replace(run, point_outcomes=split_by_point(outcomes)))
    for name in ("low accuracy despite speed-up", "drop on test exceeds that on val"):
        assert len(found(spoiled, name))
    table = failures(runs)
    promises = table[table["signature"] == "drop on test exceeds that on val"]
    assert (promises["value"] > promises["limit"]).all()


def memory(peak: float, of: str = "") -> Callable[[DoneRecord], dict[str, Any]]:
    def change(record: DoneRecord) -> dict[str, Any]:
        machine = record.provenance.machine.model_copy(update={f"{of}memory_bytes": 100 * 2**30})
        update = {"machine": machine, f"{of}peak_memory_bytes": peak * 2**30}
        return {"provenance": record.provenance.model_copy(update=update)}

    return change


def test_memory_beyond_that_of_the_device(runs: list[Run], smoke: SmokeRun) -> None:
    name = "memory nearly outgrows the device"
    assert found(bent(runs, memory(89)), name).empty
    assert found(bent(runs, memory(95)), name)["sentence"].tolist() == ["95.0 of 100.0 GiB were in use"]
    on_gpu = found(bent(runs, memory(95, "gpu_")), name)
    assert on_gpu["sentence"].tolist() == ["95.0 of 100.0 GiB of the GPU were in use"]
    assert on_gpu["place"].tolist() == ["GPU"]

    broken = [failed_record("r0", failure="oom"), failed_record("r1", failure="error")]
    table = failures([], broken)
    assert table[["signature", "run_id"]].to_numpy().tolist() == [["memory outgrows the device", "r0"]]
    store = Store(smoke.results)
    assert failed_records(store, [*store.run_ids(), "none"]) == []
    assert store.record(store.run_ids()[0]).provenance.machine.memory_bytes > 2**30

"""A second run compared with its record: what is equal, what is close, and what may explain a difference."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from results.judge.environment_diff import distinct, of_code, of_data, of_machines, same_bits_expected
from results.judge.reproduction import POINTS, SPEEDUP, Reproduction, judge
from results.judge.seed_spread import seed_spread
from results.provenance import Code
from results.stats.statistics import over_seeds
from results.store.folder import Store, StoreError
from tests.conftest import SmokeRun
from tests.results.edited import edit_record

Bend = Callable[[dict[str, Any]], None]


@pytest.fixture
def run_id(smoke: SmokeRun) -> str:
    (name,) = (name for name in Store(smoke.results).run_ids() if name.startswith("lgvit-"))
    return name


def bent(smoke: SmokeRun, run_id: str, folder: Path, bend: Bend) -> Store:
    """A copy of the run with a changed record."""
    store = Store(folder)
    shutil.copytree(smoke.results / "runs" / run_id, store.run(run_id))
    edit_record(store.run(run_id), bend)
    return store


def judged(smoke: SmokeRun, run_id: str, folder: Path, bend: Bend, *, bitwise: bool = False) -> Reproduction:
    return judge(Store(smoke.results), bent(smoke, run_id, folder, bend), run_id, run_id, bitwise=bitwise)


def off(reproduction: Reproduction) -> set[str]:
    return {part.what for part in reproduction.parts if part.judged and not part.close}


def test_the_same_run_is_reproduced_under_both_rules(smoke: SmokeRun, run_id: str, tmp_path: Path) -> None:
    for bitwise in (True, False):
        reproduction = judged(smoke, run_id, tmp_path / str(bitwise), lambda record: None, bitwise=bitwise)
        assert reproduction.reproduced
        assert reproduction.same_bits
        assert all(part.equal for part in reproduction.parts)
        names = [part.what for part in reproduction.parts]
        assert len(names) == len(set(names))
        for name in ("finetune/backbone.safetensors", "exits/heads.safetensors", "scores 2/test.safetensors",
                     "outcomes.parquet", "MACs of every exit", "confidence/equal-macs-0.5"):  # fmt: skip
            assert name in names


def other_weights(record: dict[str, Any]) -> None:
    (stage,) = (stage for stage in record["stages"] if stage["stage"] == "exits")
    (artifact,) = (entry for entry in stage["artifacts"] if entry["path"].endswith("heads.safetensors"))
    artifact["sha256"] = "0" * 64


def test_other_bits_matter_only_if_equal_bits_are_expected(smoke: SmokeRun, run_id: str, tmp_path: Path) -> None:
    strict = judged(smoke, run_id, tmp_path / "a", other_weights, bitwise=True)
    assert off(strict) == {"exits/heads.safetensors"}
    assert not strict.reproduced
    assert strict.within_tolerance
    assert judged(smoke, run_id, tmp_path / "b", other_weights).reproduced


def changed(name: str, **values: Any) -> Bend:
    def bend(record: dict[str, Any]) -> None:
        (point,) = (p for p in record["points"] if f"{p['kind']}-{p['target']:g}" == name)
        for field, value in values.items():
            point["test"][field] = value(point["test"][field])

    return bend


def test_numbers_may_differ_within_the_tolerance(smoke: SmokeRun, run_id: str, tmp_path: Path) -> None:
    name = "equal-macs-0.5"
    near, far = (changed(name, accuracy=lambda value, by=by: value + by * POINTS) for by in (0.9, 1.1))
    assert off(judged(smoke, run_id, tmp_path / "near", near)) == set()
    assert off(judged(smoke, run_id, tmp_path / "far", far)) == {f"confidence/{name}"}
    slow, slower = (changed(name, mean_macs=lambda value, by=by: value / (1 - by * SPEEDUP)) for by in (0.9, 1.1))
    assert off(judged(smoke, run_id, tmp_path / "slow", slow)) == set()
    assert off(judged(smoke, run_id, tmp_path / "slower", slower)) == {f"confidence/{name}"}


def test_points_with_thresholds_chosen_on_val_are_shown_and_not_judged(
    smoke: SmokeRun, run_id: str, tmp_path: Path
) -> None:
    moved = changed("accuracy-drop-0.02", accuracy=lambda value: value - 0.1, mean_macs=lambda value: value / 1.5)
    reproduction = judged(smoke, run_id, tmp_path, moved)
    (part,) = (part for part in reproduction.parts if part.what == "confidence/accuracy-drop-0.02")
    assert part.remark == "-10.00 points, speed-up +50.0 %"
    assert not part.judged
    assert reproduction.within_tolerance
    assert not reproduction.same_bits


def test_macs_and_points_that_are_missing_are_never_close(smoke: SmokeRun, run_id: str, tmp_path: Path) -> None:
    def one_mac(record: dict[str, Any]) -> None:
        record["costs"]["cumulative"][0] += 1

    def unreached(record: dict[str, Any]) -> None:
        record["points"][-1] |= {"settings": [], "val": None, "test": None}

    assert off(judged(smoke, run_id, tmp_path / "a", one_mac)) == {"MACs of every exit"}
    (name,) = off(judged(smoke, run_id, tmp_path / "b", unreached))
    assert name.startswith("confidence/equal-macs-")


def test_paired_samples_widen_what_is_allowed(smoke: SmokeRun, run_id: str, tmp_path: Path) -> None:
    """A fifth of all predictions are flipped: the accuracy changes by 2 points, which these samples cannot tell from zero."""
    store = bent(smoke, run_id, tmp_path, changed("equal-macs-0.5", accuracy=lambda value: value + 0.02))
    path = store.run(run_id) / "outcomes.parquet"
    table = pd.read_parquet(path)
    rows = table[table["point"] == "confidence/equal-macs-0.5"].sort_values("sample_id").index
    turned = rows[::5]
    right = table.loc[turned, "prediction"] == table.loc[turned, "label"]
    table.loc[turned, "prediction"] = (table.loc[turned, "label"] + right.astype(int)) % 10
    table.to_parquet(path)
    edit_record(path.parent)
    reproduction = judge(Store(smoke.results), store, run_id, run_id, bitwise=False)
    (part,) = (part for part in reproduction.parts if part.what == "confidence/equal-macs-0.5")
    assert part.close
    assert "+2.00 points" in part.remark
    assert {part.what for part in reproduction.parts if part.is_file and not part.equal} == {"outcomes.parquet"}
    record = store.run(run_id) / "record.json"
    whole = record.read_text()
    # Equal ids of other images are not pairs.
    edit_record(record.parent, lambda content: content["data"]["content"].update(test="pixels:others"))
    assert "confidence/equal-macs-0.5" in off(judge(Store(smoke.results), store, run_id, run_id, bitwise=False))
    record.write_text(whole)
    path.unlink()  # without outcomes nothing is paired, and only the fixed tolerance remains
    alone = judge(Store(smoke.results), store, run_id, run_id, bitwise=False)
    assert "confidence/equal-macs-0.5" in off(alone)


def test_three_seeds_give_the_spread_of_training(smoke: SmokeRun, run_id: str, tmp_path: Path) -> None:
    recorded = Store(tmp_path / "recorded")
    accuracies = []
    for seed, by in ((0, 0.0), (1, 0.05), (2, -0.05)):
        name = "confidence/equal-macs-0.5"
        record = Store(smoke.results).done_record(run_id)
        bent_points = [
            point.model_copy(update={"test": point.test.model_copy(update={"accuracy": point.test.accuracy + by})})
            if point.name == name and point.test
            else point
            for point in record.points
        ]
        accuracies += [point.test.accuracy for point in bent_points if point.name == name and point.test]
        spec = record.spec.with_train(seed=seed)
        update = {"spec": spec, "points": tuple(bent_points), "run_id": run_id if seed == 0 else f"seed-{seed}"}
        with recorded.write_run(record.model_copy(update=update)):
            pass
        if seed == 1:
            assert seed_spread(recorded, record) == {}  # two seeds are too few
    spread = seed_spread(recorded, recorded.done_record(run_id))[name]
    low, high = over_seeds(accuracies)
    assert spread.seeds == 3
    assert spread.accuracy == pytest.approx((high - low) / 2 * 2)  # sqrt(n + 1) times the half interval of the mean
    assert spread.speedup == pytest.approx(0, abs=1e-12)
    far = bent(smoke, run_id, tmp_path / "far", changed("equal-macs-0.5", accuracy=lambda value: value + 0.1))
    assert not judge(Store(smoke.results), far, run_id, run_id, bitwise=False).reproduced
    assert judge(recorded, far, run_id, run_id, bitwise=False).within_tolerance


@pytest.mark.parametrize(("field", "value", "bits"), [
    ("threads", 64, False), ("cpu", "another", False), ("cpu_capability", "DEFAULT", False), ("device", "cuda", False),
    ("deterministic", False, False), ("python", "3.99.0", True), ("platform", "Linux-9", True), ("memory_bytes", 1, True),
])  # fmt: skip
def test_differences_of_machines_and_their_effects(
    smoke: SmokeRun, run_id: str, field: str, value: object, bits: bool
) -> None:
    machine = Store(smoke.results).record(run_id).provenance.machine
    (difference,) = of_machines(machine, machine.model_copy(update={field: value}))
    assert difference.field == field
    assert same_bits_expected([difference]) is bits
    assert of_machines(*(machine.model_copy(update={"device": f"cuda:{index}"}) for index in range(2))) == []


def test_packages_data_and_commits(smoke: SmokeRun, run_id: str) -> None:
    record = Store(smoke.results).done_record(run_id)
    machine, data = record.provenance.machine, record.data
    other = machine.model_copy(update={"packages": machine.packages | {"torch": "9"}})
    (torch,) = of_machines(machine, other)
    assert (torch.field, torch.effect) == ("packages.torch", "changes bits")
    assert of_data(data, data) == []
    moved = data.model_copy(update={"content": data.content | {"test": "pixels:0"}, "citation": "somebody else"})
    content, words = distinct(of_data(data, moved))
    assert (content.field, content.effect) == ("data.content.test", "changes what is computed")
    assert words.effect == "should change nothing"
    commit, dirty = of_code(Code(commit="a", dirty=False), Code(commit="b", dirty=True))
    assert (commit.field, dirty.field) == ("code.commit", "code.dirty")
    assert commit.could_explain
    assert same_bits_expected([commit, dirty])
    assert [one.effect for one in distinct([commit, torch, content])] == [
        "changes what is computed", "changes bits", "should change nothing"
    ]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), [("key", "../../../../etc"), ("key", "0123"), ("stage", "../up")])
def test_a_stage_name_in_a_record_cannot_be_a_path(
    smoke: SmokeRun, run_id: str, tmp_path: Path, field: str, value: str
) -> None:
    def bend(record: dict[str, Any]) -> None:
        record["stages"][0][field] = value

    store = bent(smoke, run_id, tmp_path, bend)
    with pytest.raises(StoreError, match=r"stages\.0\." + field):
        store.record(run_id)

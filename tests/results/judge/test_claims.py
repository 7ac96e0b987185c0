"""Claims and records: real runs of the grid `smoke`, unchanged and as if they were on the paper's scale."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark import registry
from results.judge.claims import judge
from results.judge.judgement import CONTROLS, on_paper_scale
from results.judge.literature import read_claims, read_numbers
from results.spec import Weights
from results.store.folder import Store
from results.tables.fixed_speedup import drop_at_speedup
from results.tables.loading import load_runs
from results.tables.run import STATIC, Run
from tests.conftest import Command, SmokeRun
from tests.results.judge.paper_scale import (
    promoted,
    right_everywhere,
    verdict,
    with_policy,
    with_train,
)

CLAIMS = read_claims()


@pytest.fixture(scope="module")
def runs(smoke: SmokeRun) -> list[Run]:
    store = Store(smoke.results)
    return load_runs(store, store.run_ids())[0]


def with_hull(run: Run, *, correct: bool) -> Run:
    """The run with all answers at the corners of its hulls right, or four of five wrong."""
    copy = replace(run)
    copy.__dict__["hull_outcomes"] = {
        policy: replace(outcomes, values=np.full_like(outcomes.values, correct) | (outcomes.sample_id % 5 == 0))
        for policy, outcomes in run.hull_outcomes.items()
    }
    return copy


def test_small_runs_judge_no_claim(runs: list[Run]) -> None:
    table = judge(runs, CLAIMS, read_numbers())
    assert set(table["verdict"]) == {"not run"}
    row = verdict(table, "above vanilla")
    assert row["finding"]
    assert "says nothing about the published claim" in row["reason"]
    assert row["run_ids"].split() == [
        next(run.record.run_id for run in runs if run.method == method) for method in ("lgvit", "vanilla")
    ]


def test_above_vanilla_on_the_papers_scale(runs: list[Run]) -> None:
    better = [right_everywhere(run) if run.method == "lgvit" else run for run in runs]
    row = verdict(judge(promoted(better, 5), CLAIMS), "above vanilla")
    assert row["verdict"] == "reproduced"
    assert row["interval"] == "seeds"
    assert row["low"] > 0
    assert len(row["run_ids"].split()) == 10
    assert verdict(judge(promoted(better, 5)[::-1], CLAIMS), "above vanilla")["verdict"] == "reproduced"
    worse = [right_everywhere(run) if run.method == "vanilla" else run for run in runs]
    assert verdict(judge(promoted(worse, 5), CLAIMS), "above vanilla")["verdict"] == "not reproduced"


def under_another_id(run: Run, policy: str, prefix: str) -> Run:
    """The run as another grid would record it under another policy."""
    copy = with_policy(run, policy)
    outcomes = {
        new.name: run.point_outcomes[old.name]
        for old, new in zip(run.record.points, copy.record.points, strict=True)
        if old.reached
    }
    renamed = copy.record.model_copy(update={"run_id": f"{prefix}-{run.record.run_id}"})
    return copy.changed(
        record=renamed,
        point_outcomes={STATIC: run.point_outcomes[STATIC]} | outcomes,
        curves=run.curves.assign(policy=policy),
    )


@pytest.mark.parametrize("prefix", ["a", "z"])
def test_a_method_is_judged_under_one_policy_in_all_seeds(runs: list[Run], prefix: str) -> None:
    """Whatever the ids of runs of another grid under another policy, which some seeds have."""
    better = promoted([right_everywhere(run) if run.method == "lgvit" else run for run in runs], 5)
    others = [under_another_id(run, "entropy", prefix) for run in better if run.has_exits and run.seed < 3]
    expected, mixed = (judge(some, CLAIMS) for some in (better, [*others, *better]))
    assert verdict(expected, "above vanilla")["verdict"] == "reproduced"
    pd.testing.assert_frame_equal(mixed, expected)


def test_both_stages_of_the_alternating_reading_have_the_papers_epochs(runs: list[Run]) -> None:
    lgvit = next(run for run in promoted(runs, 1) if run.method == "lgvit")
    (finetune,) = (stage for stage in lgvit.record.stages if stage.stage == "finetune")
    stages = (finetune.model_copy(update={"stage": "joint"}), *lgvit.record.stages)
    recipes = lgvit.record.spec.train.recipes
    for joint, exits, expected in ((50, 50, True), (50, 12, False), (12, 50, False)):
        epochs = {"joint": joint, "exits": exits}
        changed = {stage: getattr(recipes, stage).model_copy(update={"epochs": n}) for stage, n in epochs.items()}
        run = with_train(lgvit, recipes=recipes.model_copy(update=changed))
        both = run.changed(record=run.record.model_copy(update={"stages": stages}))
        assert on_paper_scale(both, CLAIMS) is expected


@pytest.mark.parametrize("field", ["weights", "file", "exits", "finetune"])
def test_a_small_training_under_the_papers_names_is_not_on_its_scale(runs: list[Run], field: str) -> None:
    def small(run: Run) -> Run:
        if field in ("weights", "file"):
            source = {"weights": "scratch", "file": "file:w.safetensors"}[field]
            return with_train(run, weights=Weights(source=source, sha256="0" * 64))
        recipes = run.record.spec.train.recipes
        short = getattr(recipes, field).model_copy(update={"epochs": 2})
        return with_train(run, recipes=recipes.model_copy(update={field: short}))

    better = promoted([right_everywhere(run) if run.method == "lgvit" else run for run in runs], 5)
    assert verdict(judge([small(run) for run in better], CLAIMS), "above vanilla")["verdict"] == "not run"


def test_the_speed_up_is_fixed_and_the_drop_is_tested(runs: list[Run]) -> None:
    seeds = promoted(runs, 5)
    drops = [drop_at_speedup(run, run.judged_policy, "layer", 1.8) for run in seeds if run.method == "lgvit"]
    row = verdict(judge(seeds, CLAIMS), "speed-up in layers")
    assert row["value"] == pytest.approx(np.mean([drop.mean() for drop in drops if drop is not None]))
    assert "1.8x in layers" in row["reason"]
    perfect = promoted([with_hull(run, correct=True) if run.method == "lgvit" else run for run in runs], 5)
    for metric in ("layers", "MACs"):
        assert verdict(judge(perfect, CLAIMS), f"speed-up in {metric}")["verdict"] == "reproduced"
    useless = promoted([with_hull(run, correct=False) if run.method == "lgvit" else run for run in runs], 5)
    assert verdict(judge(useless, CLAIMS), "speed-up in layers")["verdict"] == "not reproduced"


def with_one_threshold(run: Run, corner: int) -> Run:
    """The run as if one threshold of its policy had been evaluated: a corner of its hull, from the slowest."""
    points = tuple(point for point in run.record.points if point.reached)[:1]
    fixed = points[0].model_copy(update={"kind": "fixed", "target": points[0].settings[0].threshold})
    copy = run.changed(record=run.record.model_copy(update={"points": (fixed,)}))
    at = run.hull_outcomes[fixed.policy]
    slowest = np.argsort(-at.exit.mean(axis=1))[[corner]]
    copy.__dict__["hull_outcomes"] = {fixed.policy: replace(at, values=at.values[slowest], exit=at.exit[slowest])}
    return copy


def test_a_single_threshold_refutes_no_claim_about_another_speed_up(runs: list[Run]) -> None:
    for corner, correct, part, expected in (
        (0, True, "slower than 1.8x", "inconclusive"),
        (-1, False, "faster than 1.8x", "inconclusive"),
        (-1, True, "faster than 1.8x", "reproduced"),
    ):
        seeds = promoted([with_hull(run, correct=correct) for run in runs if run.method == "lgvit"], 5)
        row = verdict(judge([with_one_threshold(run, corner) for run in seeds], CLAIMS), "speed-up in layers")
        assert row["verdict"] == expected
        assert part in row["reason"]


def test_the_controls_are_those_of_the_registry() -> None:
    cards = registry.table("policy")
    assert {name for name, card in cards.items() if card.target.startswith("methods.policies.controls:")} == set(
        CONTROLS
    )


def test_one_seed_cannot_judge_a_claim(runs: list[Run]) -> None:
    better = [right_everywhere(run) if run.method == "lgvit" else run for run in runs]
    row = verdict(judge(promoted(better, 1), CLAIMS), "above vanilla")
    assert row["verdict"] == "inconclusive"
    assert row["interval"] == "test samples"
    assert "1 of 5 seeds" in row["reason"]
    speed = verdict(judge(promoted(runs, 1), CLAIMS), "speed-up in layers")
    assert speed["verdict"] == "inconclusive"
    assert "1 of the 5 training seeds" in speed["reason"]


def test_published_numbers_need_seeds_and_one_setting(runs: list[Run]) -> None:
    (lgvit,) = (run for run in runs if run.method == "lgvit")

    def numbers(judged: list[Run]) -> pd.DataFrame:
        table = judge(judged, CLAIMS, read_numbers())
        return table[table["claim"].str.startswith("88.5 % at 1.87x") & (table["reading"] == "lgvit")]

    assert numbers(promoted([lgvit], 1))["verdict"].tolist() == ["inconclusive"]
    spec = lgvit.record.spec.model_copy(update={"scheme": "uniform"})
    other = replace(lgvit, record=lgvit.record.model_copy(update={"spec": spec, "run_id": "uniform"}))
    both = promoted([lgvit], 5) + [
        replace(run, record=run.record.model_copy(update={"run_id": f"{run.record.run_id}-uniform"}))
        for run in promoted([other], 5)
    ]
    table = numbers(both)
    assert sorted(table["scheme"]) == ["paper", "uniform"]
    # Seeds with one curve are copies of one training, so nothing is judged.
    assert set(table["verdict"]) == {"inconclusive"}
    assert table["reason"].str.startswith("1 of 5 seeds").all()
    assert table[["low", "high"]].isna().all(axis=None)


def test_a_subset_of_the_data_is_not_paper_scale(runs: list[Run]) -> None:
    table = judge(promoted(runs, 5, dataset="fashion-mnist"), CLAIMS)
    assert set(table["verdict"]) == {"not run"}


def test_the_claim_everywhere_requires_every_setting(runs: list[Run]) -> None:
    useless = [with_hull(run, correct=False) if run.method == "lgvit" else run for run in runs]
    row = verdict(judge(promoted(useless, 5), CLAIMS), "everywhere")  # a failure anywhere refutes "everywhere"
    assert row["verdict"] == "not reproduced"
    assert "speed-up in layers" in row["reason"]
    none = judge([], CLAIMS)
    assert verdict(none, "everywhere")["verdict"] == "not run"
    assert "27 of 27 cells" in verdict(none, "everywhere")["reason"]


def test_a_published_accuracy_is_compared_at_its_speed_up(runs: list[Run]) -> None:
    judged = [
        replace(run, curves=run.curves.assign(accuracy=run.curves["accuracy"] + 0.001 * run.seed))
        for run in promoted(runs, 5)
    ]
    table = judge(judged, CLAIMS, read_numbers())
    rows = table[table["claim"].str.contains("in layers \\(") & (table["reading"] == "lgvit")]
    assert len(rows) == 4
    joined = rows[rows["claim"].str.startswith("88.5 % at 1.87x")].iloc[0]
    # The smoke model answers half of the images right, far from 88.5 %.
    assert joined["verdict"] == "not reproduced"
    run = next(run for run in runs if run.method == "lgvit")
    curve = run.curves[run.curves["split"] == "test"]
    near = curve.iloc[(curve["mean_block"] - 12 / 1.87).abs().argsort()[:1]]
    assert joined["value"] == pytest.approx(near["accuracy"].iloc[0], abs=0.02)


def test_the_published_files_are_complete() -> None:
    numbers = read_numbers()
    assert len(numbers) > 100
    assert all(number.source for number in numbers)
    by_hand = {(n.metric, n.value, n.status) for n in numbers if n.method == "LGViT" and n.threshold is None}
    assert ("accuracy", 88.5, "second-hand") in by_hand
    assert ("layer-speedup", 1.87, "second-hand") in by_hand
    assert ("speed-up (headline)", 1.8, "confirmed") in by_hand
    at_90 = {n.metric: n.value for n in numbers if n.threshold == 0.9}
    assert at_90["accuracy"] == 89.41
    assert at_90["layer-speedup"] == pytest.approx(12 / at_90["mean-block"], rel=1e-4)
    names = {claim.id for claim in CLAIMS.claims}
    assert all(set(claim.over) <= names for claim in CLAIMS.claims)


def test_the_command_prints_every_verdict_and_strict_fails(
    smoke: SmokeRun, tmp_path: Path, benchmark_command: Command
) -> None:
    out = tmp_path / "claims.csv"
    done = benchmark_command("claims", "--results", smoke.results, "--out", out, "--full")
    assert done.returncode == 0, done.stderr
    for part in ("above vanilla: not run", "small scale", "everywhere", "27 of 27", "88.5 % at 1.87x"):
        assert part in done.stdout
    table = pd.read_csv(out)
    printed = " ".join(done.stdout.split())
    assert [claim for claim in set(table["claim"]) if claim not in printed] == []
    assert benchmark_command("claims", "--grid", "smoke", "--results", smoke.results, "--strict").returncode == 1
    empty = benchmark_command("claims", "--results", tmp_path)
    assert empty.returncode == 2
    assert "run this first" in empty.stderr


def test_claims_of_copied_records_alone(smoke: SmokeRun, tmp_path: Path, benchmark_command: Command) -> None:
    shutil.copytree(smoke.results / "runs", tmp_path / "runs")
    done = benchmark_command("claims", "--results", tmp_path)
    assert done.returncode == 0, done.stderr

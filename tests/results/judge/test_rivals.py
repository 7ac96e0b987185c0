"""Claims about the lead over other methods: who is compared, on what, and what must not be missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from results.judge.claims import judge
from results.judge.literature import read_claims
from results.spec import Configured, Weights
from results.store.folder import Store
from results.tables.loading import load_runs
from results.tables.run import Run
from tests.conftest import SmokeRun
from tests.results.judge.paper_scale import (
    changed_where,
    class_outcomes,
    promoted,
    right_everywhere,
    verdict,
    with_policy,
    with_train,
    without_point,
)

CLAIMS = read_claims()


@pytest.fixture(scope="module")
def runs(smoke: SmokeRun) -> list[Run]:
    store = Store(smoke.results)
    return load_runs(store, store.run_ids())[0]


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_competitor_on_other_images_leaves_the_claim_inconclusive(runs: list[Run], split: str) -> None:
    better = promoted([right_everywhere(run) if run.method == "lgvit" else run for run in runs], 5)
    mixed = []
    for run in better:
        data = run.record.data.model_copy(update={"content": {**run.record.data.content, split: "pixels:x"}})
        apart = run.method == "homogeneous-local" and run.seed == 0
        mixed.append(replace(run, record=run.record.model_copy(update={"data": data})) if apart else run)
    row = verdict(judge(mixed, CLAIMS), "above homogeneous heads")
    assert row["verdict"] == "inconclusive"
    assert "other images" in row["reason"]
    assert "homogeneous-local-" in row["reason"]
    assert verdict(judge(mixed, CLAIMS), "above vanilla")["verdict"] == "reproduced"


@pytest.mark.parametrize(("change", "part"), [
    (lambda runs: [run for run in runs if run.method != "vanilla" or run.seed == 0], "1 of 5 seeds against vanilla"),
    (lambda runs: [run for run in runs if run.method != "lgvit" or run.seed < 2], "2 of 5 seeds against vanilla"),
    (lambda runs: changed_where(runs, lambda r: r.method == "lgvit", lambda r: without_point(r, "macs-0.4")), "0 of 5 seeds"),
    (
        lambda runs: changed_where(
            runs, lambda r: (r.method, r.seed) == ("vanilla", 4), lambda r: without_point(r, "macs-0.5")
        ),
        "4 of 5 seeds against vanilla at 0.5",
    ),
    (lambda runs: [with_policy(run, "oracle") for run in runs], "oracle"),
])  # fmt: skip
def test_what_is_missing_on_a_side_leaves_a_claim_inconclusive(
    runs: list[Run], change: Callable[[list[Run]], list[Run]], part: str
) -> None:
    better = promoted([right_everywhere(run) if run.method == "lgvit" else run for run in runs], 5)
    row = verdict(judge(change(better), CLAIMS), "above vanilla")
    assert row["verdict"] == "inconclusive"
    assert part in row["reason"]


def test_a_rival_with_further_seeds_is_named(runs: list[Run]) -> None:
    """Tests ask for every seed of both methods, so the reason says which are missing."""
    better = promoted([right_everywhere(run) if run.method == "lgvit" else run for run in runs], 6)
    row = verdict(judge([run for run in better if run.method == "vanilla" or run.seed < 5], CLAIMS), "above vanilla")
    assert row["verdict"] == "inconclusive"
    assert "5 of 6 seeds against vanilla" in row["reason"]


def few_images(run: Run) -> Run:
    """The run as if it had been tested on the first 250 images."""
    point_outcomes = {
        name: replace(
            at, sample_id=at.sample_id[:250], label=at.label[:250], exit=at.exit[:, :250],
            prediction=at.prediction[:, :250], score=at.score[:, :250],
        )
        for name, at in class_outcomes(run).items()
    }  # fmt: skip
    copy = replace(run, point_outcomes=point_outcomes)
    if run.has_exits:
        copy.__dict__["hull_outcomes"] = {
            policy: replace(at, sample_id=at.sample_id[:250], values=at.values[:, :250], exit=at.exit[:, :250])
            for policy, at in run.hull_outcomes.items()
        }
    return copy


def test_seeds_with_different_numbers_of_images_are_not_pooled(runs: list[Run]) -> None:
    better = promoted([right_everywhere(run) if run.method == "lgvit" else run for run in runs], 5)
    mixed = changed_where(better, lambda r: r.seed > 1, few_images)
    assert verdict(judge(mixed, CLAIMS), "above vanilla")["verdict"] == "inconclusive"


@pytest.mark.parametrize("method", ["lgvit", "vanilla"])
@pytest.mark.parametrize("copies", [2, 5])
def test_copies_of_one_training_count_once(runs: list[Run], method: str, copies: int) -> None:
    """Also where only one side has them, and where other seeds are real."""
    better = promoted([right_everywhere(run) if run.method == "lgvit" else run for run in runs], 5)
    (first,) = (run for run in better if (run.method, run.seed) == (method, 0))
    mixed = changed_where(
        better,
        lambda r: r.method == method and r.seed < copies,
        lambda r: replace(r, point_outcomes=first.point_outcomes),
    )
    row = verdict(judge(mixed, CLAIMS), "above vanilla")
    assert row["verdict"] == "inconclusive"
    assert f"{6 - copies} of 5 seeds" in row["reason"]


def test_another_reading_of_stage_1_is_no_rival(runs: list[Run]) -> None:
    """`alternating-frozen` is the other reading of the paper's two stages, `joint` another way to train."""
    better = promoted([right_everywhere(run) if run.method == "lgvit" else run for run in runs], 5)

    def with_regime(regime: str) -> list[Run]:
        method = Configured(name="lgvit", set={"regime": regime})
        return changed_where(better, lambda r: r.method == "vanilla", lambda r: with_train(r, method=method))

    rows = {
        name: verdict(judge(with_regime(name), CLAIMS), "two-stage training")
        for name in ("alternating-frozen", "joint")
    }
    assert {name: row["verdict"] for name, row in rows.items()} == {
        "alternating-frozen": "not run",
        "joint": "reproduced",
    }


def test_a_rival_from_other_weights_is_in_another_setting(runs: list[Run]) -> None:
    better = promoted([right_everywhere(run) if run.method == "lgvit" else run for run in runs], 5)
    scratch = Weights(source="scratch")
    mixed = changed_where(better, lambda r: r.method == "vanilla", lambda r: with_train(r, weights=scratch))
    row = verdict(judge(mixed, CLAIMS), "above vanilla")
    assert row["verdict"] == "not run"
    assert "no rival" in row["reason"]


def test_one_homogeneous_head_is_not_every_head(runs: list[Run]) -> None:
    better = promoted([right_everywhere(run) if run.method == "lgvit" else run for run in runs], 5)
    assert verdict(judge(better, CLAIMS), "above homogeneous heads")["verdict"] == "reproduced"
    one = [run for run in better if run.method != "homogeneous-global"]
    row = verdict(judge(one, CLAIMS), "above homogeneous heads")
    assert row["verdict"] == "inconclusive"
    assert "1 of 2 rivals" in row["reason"]


def test_lgvit_is_compared_with_all_homogeneous_heads(runs: list[Run]) -> None:
    better = [right_everywhere(run) if run.method in ("lgvit", "homogeneous-local") else run for run in runs]
    row = verdict(judge(promoted(better, 5), CLAIMS), "above homogeneous heads")
    # Equal to one of them is not above all of them.
    assert row["verdict"] == "inconclusive"
    assert "8 comparisons" in row["reason"]
    assert "a family of 12" in row["reason"]
    assert "over homogeneous-local" in row["reason"]


@pytest.mark.parametrize(("option", "value"), [("kd_weight", 0), ("feature_terms", False), ("regime", "joint")])
def test_a_homogeneous_head_with_another_loss_or_regime_is_no_rival(
    runs: list[Run], option: str, value: object
) -> None:
    """The claim is about heads, so nothing else may differ."""
    better = [right_everywhere(run) if run.method == "lgvit" else run for run in runs]
    (head,) = (run for run in better if run.method == "homogeneous-local")
    other = with_train(right_everywhere(head), method=Configured(name="homogeneous-local", set={option: value}))
    other = replace(other, record=other.record.model_copy(update={"run_id": "other-loss"}))
    row = verdict(judge(promoted([*better, other], 5), CLAIMS), "above homogeneous heads")
    assert row["verdict"] == "reproduced", row["reason"]

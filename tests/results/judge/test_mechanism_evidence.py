"""The rules on mechanisms, applied to made-up runs: which runs answer which rule, and what a folder lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from results.judge.mechanism_evidence import ScaledAnswer, effect_text, mechanism_answers, mechanism_table
from results.operating_point import Measured, OperatingPoint, WeightedThreshold
from results.record import ExitMetrics, StageRef
from results.spec import Configured
from results.store.probes import BlockProbe, Probes, packed
from results.store.representations import Measurement, Measurements
from results.tables.answers import Answers
from results.tables.run import Run
from tests.results.builders import done_record, run_spec

JITTER = (-0.002, -0.001, 0.0, 0.001, 0.002)
DEPTH, IMAGES = 12, 8
EXITS = (2, 8)
HEADS = {"vanilla": "linear", "homogeneous-local": "lph", "lgvit": "lph"}


def point(accuracy: float, exits: int) -> OperatingPoint:
    measured = Measured(accuracy=accuracy, mean_macs=1, mean_block=1, exit_shares=(1.0, *[0.0] * (exits - 1)))
    setting = WeightedThreshold(threshold=0.5, weight=1)
    return OperatingPoint(
        policy="confidence", kind="equal-macs", target=0.5, settings=(setting,), val=measured, test=measured
    )


def run(
    method: str, seed: int, accuracy: float, exits: tuple[int, ...] = EXITS, scheme: str = "paper", **options: Any
) -> Run:
    """A run whose exits and common budget have an accuracy on test; its heads equal the probes of their inputs."""
    stage = StageRef(stage="finetune", key=f"{seed:016}", code={}, seconds=1, shared_pass=1, artifacts=())
    plain = run_spec(method, exits, seed=seed)
    train = plain.train.model_copy(update={"method": Configured(name=method, set=options)})
    spec = plain.model_copy(update={"train": train, "scheme": scheme})
    metrics = tuple(
        ExitMetrics(block=block, head=HEADS[method], val_accuracy=0.9, test_accuracy=accuracy)
        for block in (*exits, DEPTH)
    )
    run_id = f"{method}-{seed}-{scheme}-{sorted(options.items())}"
    record = done_record(run_id, spec=spec, exits=metrics, stages=(stage,), points=(point(accuracy, len(exits) + 1),))
    probes = tuple(
        BlockProbe(
            block=block, inputs=kind, strength=0.1, val_accuracy=0.9 - abs(block - 6) / 100, mean_val_accuracy=block / 100,
            test_accuracy=0.9 - abs(block - 6) / 100 + JITTER[seed] * (block == 6), mean_test_accuracy=block / 100,
            test_correct=packed(np.ones(IMAGES, dtype=bool)),
        )
        for block in range(1, DEPTH + 1)
        for kind in ("class token", "both")
    )  # fmt: skip
    own = Probes(backbone=stage.name, content={}, probes=probes, last_quarter=None)
    made = Run(record, {}, pd.DataFrame(columns=["policy"]), Path(), probes=(own,))
    shape, labels = (len(metrics), IMAGES), np.zeros(IMAGES, dtype=int)
    answers = Answers(labels, labels, np.zeros(shape, dtype=int), np.full(shape, np.nan), np.full(shape, np.nan))
    made.__dict__["answers"] = answers  # instead of its file: every head and probe is right on these images
    return made


def by_rule(runs: list[Run]) -> dict[str, ScaledAnswer]:
    answers = mechanism_answers(runs)
    assert [scaled.answer.rule for scaled in answers] == ["a", "b", "c", "d", "d"]
    return {scaled.answer.rule: scaled for scaled in answers}


def heads(seed: int) -> list[Run]:
    return [
        run("homogeneous-local", seed, 0.90 + JITTER[seed]),
        run("homogeneous-local", seed, 0.85, kernel=0),
        run("vanilla", seed, 0.80),
    ]


def test_local_information_is_read_from_equal_runs_with_kernel_3_and_0_and_linear_heads() -> None:
    runs = [one for seed in range(5) for one in heads(seed)]
    scaled = by_rule(runs)["a"]
    assert scaled.answer.verdict == "supported"
    assert [round(effect.mean, 6) for effect in scaled.answer.effects] == [0.05, 0.1]
    text = effect_text(scaled.answer, scaled.answer.effects[0])
    assert text == "LPH, kernel 3 minus kernel 0: 5.00 [4.80, 5.20] points, 5 seeds"
    assert "b, 1 train images" in scaled.scale
    unknown = by_rule([one.changed(probes=()) for one in runs])["a"].answer
    assert (unknown.verdict, len(unknown.effects)) == ("open", 2)  # nobody knows whether the heads have converged
    other_regime = [one if one.method == "vanilla" else run(one.record.spec.train.method.name, one.seed, 0.9, regime="joint")
                    for one in runs]  # fmt: skip
    assert not by_rule(other_regime)["a"].answer.effects


def test_runs_on_other_images_of_the_same_name_are_not_compared() -> None:
    runs = [one for seed in range(5) for one in heads(seed)]
    others = [one.record.data.model_copy(update={"content": {"test": "pixels:other"}}) for one in runs]
    moved = [
        one.changed(record=one.record.model_copy(update={"data": data})) if one.method == "vanilla" else one
        for one, data in zip(runs, others, strict=True)
    ]
    assert not [scaled for scaled in mechanism_answers(moved) if scaled.answer.rule == "a" and scaled.answer.effects]


def test_a_record_with_an_option_of_another_type_answers_nothing() -> None:
    """Records come from anybody."""
    runs = [run("homogeneous-local", 0, 0.9, kernel=[3]), run("lgvit", 0, 0.9, kd_weight=[0])]
    assert not by_rule(runs)["a"].answer.effects
    assert not by_rule(runs)["c"].answer.effects


def test_one_backbone_under_several_seeds_counts_once() -> None:
    runs = [run("vanilla", seed, 0.8) for seed in range(5)]
    copies = [one.changed(probes=runs[0].probes) for one in runs]
    answer = by_rule(copies)["b"].answer
    assert ([effect.seeds for effect in answer.effects], answer.verdict) == ([1, 1], "open")


def test_deep_semantics_is_read_from_the_probes_on_both_kinds_of_tokens() -> None:
    answer = by_rule([one for seed in range(5) for one in heads(seed)])["b"].answer
    assert [(effect.seeds, round(effect.mean, 6)) for effect in answer.effects] == [(5, 0.06), (5, 0.0)]
    assert answer.verdict == "not supported"  # the nearest mean does not fall


def with_and_without_distillation() -> list[Run]:
    """Mixed and homogeneous heads of five seeds; distillation brings mixed heads 0.04 more on average."""
    off = {"kd_weight": 0.0, "feature_terms": False}
    return [
        one
        for seed in range(5)
        for one in (
            run("lgvit", seed, 0.90 + JITTER[seed]), run("lgvit", seed, 0.85, **off),
            run("homogeneous-local", seed, 0.80), run("homogeneous-local", seed, 0.79, **off),
        )
    ]  # fmt: skip


def test_distillation_is_read_from_runs_that_differ_in_its_options() -> None:
    runs = with_and_without_distillation()
    answer = by_rule(runs)["c"].answer
    assert (answer.verdict, round(answer.effects[0].mean, 6)) == ("supported", 0.04)
    half = [one for one in runs if one.record.spec.train.method.set.get("feature_terms") is None]
    assert "kd_weight" in by_rule(half)["c"].answer.reason


def test_a_training_under_two_policies_is_one_run_under_the_policy_that_all_seeds_have() -> None:
    runs = with_and_without_distillation()
    entropy = point(0.5, 3).model_copy(update={"policy": "entropy"})
    others = [
        one.changed(record=one.record.model_copy(update={"run_id": f"a-{one.record.run_id}", "points": (entropy,)}))
        for one in runs[:8]
    ]
    assert by_rule([*others, *runs])["c"] == by_rule(runs)["c"]


def test_runs_under_other_policies_are_not_set_against_each_other() -> None:
    runs = with_and_without_distillation()
    worse = point(0.5, 3).model_copy(update={"policy": "entropy"})
    options = {"kd_weight": 0.0, "feature_terms": False}
    mixed = [
        one.changed(record=one.record.model_copy(update={"points": (worse,)}))
        if one.record.spec.train.method == Configured(name="lgvit", set=options)
        else one
        for one in runs
    ]
    assert by_rule(runs)["c"].answer.effects
    answer = by_rule(mixed)["c"].answer
    assert (answer.verdict, answer.effects) == ("open", ())


def test_exit_schemes_need_as_many_exits_and_the_measures_at_their_blocks() -> None:
    schemes = {"shallow": (1, 2), "middle": (3, 4), "deep": (5, 6), "late": (2, 6)}
    runs = [
        run("lgvit", seed, 0.7 + sum(exits) / 100, exits, scheme)
        for seed in range(5)
        for scheme, exits in schemes.items()
    ]
    cka, probes = (scaled.answer for scaled in mechanism_answers(runs) if scaled.answer.rule == "d")
    assert "explain" in cka.reason
    assert (probes.verdict, round(probes.effects[0].mean, 6)) == ("supported", 1)
    rows = tuple(
        Measurement(measure="cka", split="val", block=block, part=part, value=1 - block / 20)
        for block in range(1, 13)
        for part in ("patch mean", "both")
    )
    measured = [
        one.changed(measurements=(Measurements("representations", one.probes[0].backbone, {}, rows),)) for one in runs
    ]
    assert next(one.answer for one in mechanism_answers(measured) if one.answer.rule == "d").verdict == "not supported"


def test_the_table_says_what_a_folder_lacks_and_is_absent_without_any_number() -> None:
    seed_0 = heads(0)
    table = mechanism_table(seed_0)
    assert table is not None
    assert set(table["verdict"]) == {"open"}
    assert (table["reason"] != "").all()
    assert table.loc[table["rule"] == "a", "mean"].tolist() == pytest.approx([0.048, 0.098])
    without = [one.changed(probes=()) for one in seed_0[:1]]
    assert "homogeneous-local with kernel 0, vanilla" in by_rule(without)["a"].answer.reason
    assert mechanism_table(without) is None

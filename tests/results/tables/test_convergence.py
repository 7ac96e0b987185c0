"""Which heads and backbones count as converged, from made-up records and probes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from benchmark import registry
from methods.exit_method import ExitMethod
from reports.findings import limits
from reports.study import Study
from results.judge.convergence import not_converged as symptoms
from results.record import ExitMetrics, StageRef
from results.stats.significance import holm, one_sided
from results.store.probes import BlockProbe, Distillation, LastQuarter, ProbeInputs, Probes, packed, unpacked
from results.tables.answers import Answers
from results.tables.convergence import (
    ALPHA,
    HEAD_LIMIT,
    WEIGHTED,
    backbone_is_late,
    convergence_table,
    not_converged,
    probe_of,
)
from results.tables.run import Run
from tests.results.builders import done_record, run_spec

BACKBONE = "finetune-" + "0" * 16


IMAGES = 1000


def correct(accuracy: float) -> np.ndarray:
    """The first images are classified correctly, so of two classifiers one is nowhere worse."""
    return np.arange(IMAGES) < round(accuracy * IMAGES)


def block_probe(inputs: ProbeInputs, test: float, by_image: np.ndarray | None = None) -> BlockProbe:
    bits = packed(correct(test) if by_image is None else by_image)
    return BlockProbe(
        block=1, inputs=inputs, strength=0.1, val_accuracy=test, test_accuracy=test, test_correct=bits, mean_val_accuracy=0.5,
        mean_test_accuracy=0.5,
    )  # fmt: skip


def run_with(head: str, test: float, probes: tuple[BlockProbe, ...], last: LastQuarter | None = None) -> Run:
    """A run with one early exit after block 1."""
    exits = tuple(
        ExitMetrics(block=block, head=name, val_accuracy=0.5, test_accuracy=accuracy)
        for block, name, accuracy in ((1, head, test), (2, "final classifier", 0.9))
    )
    stage = StageRef(stage="finetune", key="0" * 16, code={}, seconds=1, shared_pass=1, artifacts=())
    record = done_record(spec=run_spec(exits=(1,)), exits=exits, stages=(stage,))
    content = Probes(backbone=BACKBONE, content=record.data.content, probes=probes, last_quarter=last)
    assert content.fits(record)
    assert not content.model_copy(update={"backbone": "finetune-" + "1" * 16}).fits(record)
    return with_answers(Run(record, {}, pd.DataFrame(), Path(), probes=(content,)))


def with_answers(run: Run) -> Run:
    """The run, whose heads classify the first images correctly."""
    right = np.stack([correct(exit_.test_accuracy) for exit_ in run.record.exits])
    unknown = np.full(right.shape, np.nan)
    answers = Answers(np.arange(IMAGES), np.zeros(IMAGES, dtype=int), (~right).astype(int), unknown, unknown)
    run.__dict__["answers"] = answers  # instead of its file
    return run


THREE = (block_probe("class token", 0.6), block_probe("patch mean", 0.5), block_probe("both", 0.8))


@pytest.mark.parametrize(
    ("head", "test", "gap"),
    [
        ("linear", 0.595, None),  # half a point below the probe of the class token
        ("linear", 0.594, 0.006),
        ("lph", 0.7, 0.1),
        ("lph", 0.9, None),
        ("of-a-package", 0.51, None),  # its inputs are unknown: the weakest probe
        ("of-a-package", 0.4, 0.1),
    ],
)
def test_a_head_is_compared_with_the_probe_of_its_inputs(head: str, test: float, gap: float | None) -> None:
    run = run_with(head, test, THREE)
    assert not_converged([run]) == ({} if gap is None else {run.method: pytest.approx(gap)})
    assert [(symptom.place, symptom.value) for symptom in symptoms([run])] == (
        [] if gap is None else [("block 1", pytest.approx(gap))]
    )


def test_a_distilled_head_is_compared_with_a_probe_that_learns_from_the_same_teacher() -> None:
    run = run_with("lph", 0.75, THREE)
    (plain,) = run.probes
    taught = plain.model_copy(
        update={"distillation": Distillation(weight=0.3, temperature=2), "probes": (block_probe("both", 0.752),)}
    )
    info = run.record.method.model_copy(update={"options": {"kd_weight": 0.3, "regime": "frozen"}})
    record = run.record.model_copy(update={"method": info})
    both = with_answers(replace(run, record=record, probes=(plain, taught)))
    assert not_converged([both]) == {}
    assert not_converged([run]) == {run.method: pytest.approx(0.05)}
    assert convergence_table([replace(both, probes=(plain,))]) is None  # nothing is known without such a probe


def test_heads_with_a_loss_that_no_probe_has_are_not_compared() -> None:
    run = run_with("lph", 0.5, THREE)
    other_teacher = run.record.method.model_copy(update={"options": {"teacher_norm": "none"}})
    train = run.record.spec.train
    recipes = train.recipes.model_copy(
        update={"joint": train.recipes.joint.model_copy(update={"label_smoothing": 0.1})}
    )
    smoothed = run.record.spec.model_copy(update={"train": train.model_copy(update={"recipes": recipes})})
    assert not_converged([run]) != {}
    for record in (
        run.record.model_copy(update={"method": other_teacher}),
        run.record.model_copy(update={"spec": smoothed}),
    ):
        assert convergence_table([with_answers(replace(run, record=record))]) is None


@pytest.mark.parametrize(
    ("kd_weight", "exit_weights", "is_compared"), [(0.3, "uniform", True), (0.3, "depth", False), (0, "depth", True)]
)
def test_heads_with_another_share_of_distillation_at_every_exit_are_not_compared(
    kd_weight: float, exit_weights: str, *, is_compared: bool
) -> None:
    """Only the cross-entropies are weighted; without distillation the weights change no loss."""
    run = run_with("lph", 0.5, THREE)
    (plain,) = run.probes
    taught = plain.model_copy(update={"distillation": Distillation(weight=0.3, temperature=2)})
    options = {"exit_weights": exit_weights, "kd_weight": kd_weight, "regime": "frozen"}
    info = run.record.method.model_copy(update={"options": options})
    record = run.record.model_copy(update={"method": info})
    weighted = with_answers(replace(run, record=record, probes=(plain, taught)))
    assert (convergence_table([weighted]) is not None) == is_compared


def test_the_methods_that_weight_their_exits_are_known() -> None:
    card = registry.card("backbone", "vit_nano_patch4_28")
    weighted = set()
    for name, method_card in registry.table("method").items():
        method = method_card.load()()
        if isinstance(method, ExitMethod):
            loss = method.heads_stage(card).loss.options
            own = registry.method_info(name, method).options
            if loss.get("exit_weights", "uniform") != own.get("exit_weights", "uniform"):
                weighted.add(name)
    assert weighted == set(WEIGHTED)


def test_the_limits_name_heads_whose_loss_no_probe_has() -> None:
    run = run_with("lph", 0.5, THREE)
    info = run.record.method.model_copy(update={"options": {"teacher_norm": "none"}})
    other = run.changed(record=run.record.model_copy(update={"method": info}))
    texts = [" ".join(limits(Study("t", [one], {}))) for one in (run, other)]
    assert [("no probe there has their loss" in text, run.method in text) for text in texts] == [
        (False, False),
        (True, True),
    ]


def test_the_head_of_another_method_inside_a_head_is_compared_with_the_weakest_probe() -> None:
    """JEI-DNN with SDN's heads reads the patches alone, not the class token."""
    run = run_with("jei", 0.5, THREE)
    info = run.record.method.model_copy(update={"options": {"base": "sdn"}})
    borrowed = run.changed(record=run.record.model_copy(update={"method": info}))
    probes = [probe_of(one, one.record.exits[0]) for one in (run, borrowed)]
    assert [probe.inputs for probe in probes if probe] == ["class token", "patch mean"]


def test_of_probes_with_other_strengths_the_best_on_val_counts() -> None:
    run = run_with("linear", 0.595, THREE)
    (stored,) = run.probes
    better = stored.model_copy(update={"probes": (block_probe("class token", 0.7), *THREE[1:])})
    for probes in ((stored, better), (better, stored)):
        chosen = probe_of(replace(run, probes=probes), run.record.exits[0])
        assert chosen == better.probes[0]


def test_the_accuracy_of_a_probe_is_that_of_its_answers() -> None:
    probe = block_probe("class token", 0.6).model_copy(update={"test_accuracy": 0.9})
    table = convergence_table([run_with("linear", 0.55, (probe, *THREE[1:]))])
    assert table is not None
    assert table["reference"].tolist() == pytest.approx([0.6])


def test_a_gap_within_chance_is_no_symptom() -> None:
    """0.6 points of 1,000 images: 30 images that only the probe classifies correctly, and 24 that only the head does."""
    by_probe = correct(0.6)
    by_probe[570:594], by_probe[594:624] = False, True
    run = run_with("linear", 0.594, (block_probe("class token", 0.6, by_probe), *THREE[1:]))
    table = convergence_table([run])
    assert table is not None
    (row,) = table.to_dict("records")
    assert row["gap"] == pytest.approx(0.006)
    assert row["p"] == pytest.approx(binomtest(30, 54, alternative="greater").pvalue)
    assert row["converged"]
    assert not not_converged([run])


def test_equally_good_heads_are_rarely_named() -> None:
    """Eight heads that are as accurate as their probes, on 4,000 images, disagreeing with them on 8 %."""
    rng = np.random.default_rng(0)
    counts = rng.multinomial(4000, [0.04, 0.04, 0.92], size=(400, 8))
    gaps = (counts[..., 0] - counts[..., 1]) / 4000
    p = np.array([holm(np.array([one_sided(np.repeat([1, -1], pair[:2])) for pair in run])) for run in counts])
    assert (gaps > HEAD_LIMIT).any(axis=1).mean() > 0.5
    assert ((gaps > HEAD_LIMIT) & (p < ALPHA)).any(axis=1).mean() < 0.07


def test_images_on_which_all_seeds_agree_are_no_more_evidence_than_one_seed() -> None:
    """The images are the same in every seed, so it is not chance alone that decides anew in each."""
    run = run_with("linear", 0.594, THREE)
    alone, together = convergence_table([run]), convergence_table([of_seed(run, seed) for seed in range(8)])
    assert alone is not None
    assert together is not None
    assert 0 < alone["p"].iloc[0] < 1
    assert together["p"].tolist() == pytest.approx([alone["p"].iloc[0]] * 8)


def of_seed(run: Run, seed: int) -> Run:
    spec = run.record.spec
    other = spec.model_copy(update={"train": spec.train.model_copy(update={"seed": seed})})
    return run.changed(record=run.record.model_copy(update={"spec": other, "run_id": f"r{seed}"}))


def test_the_seeds_of_a_method_are_judged_together() -> None:
    """A head is 0.8 points behind the probe with two seeds and 0.1 with the third, 0.57 in the mean; then 0.2 with a fourth."""
    runs = [of_seed(run_with("linear", test, THREE), seed) for seed, test in enumerate((0.592, 0.592, 0.599, 0.598))]
    for seeds, gap in ((3, 0.017 / 3), (4, None)):
        table = convergence_table(runs[:seeds])
        assert table is not None
        assert table["gap"].tolist() == pytest.approx([0.008, 0.008, 0.001, 0.002][:seeds])
        assert set(table["converged"]) == {gap is None}
        assert not_converged(runs[:seeds]) == ({} if gap is None else {runs[0].method: pytest.approx(gap)})
        found = [(one.run_id, one.value, one.sentence) for one in symptoms(runs[:seeds])]
        if gap is None:
            assert found == []
        else:
            ((run_id, value, text),) = found
            assert (run_id, value) == ("r0 r1 r2", pytest.approx(gap))
            assert "mean over 3 training seeds" in text
    assert not_converged(runs[3:]) == {}


def test_a_training_under_two_policies_counts_once() -> None:
    """Seed 0 is 0.8 points behind the probe, seed 1 0.3: 0.55 in the mean, and 0.47 if seed 1 counted twice."""
    runs = [of_seed(run_with("linear", test, THREE), seed) for seed, test in enumerate((0.592, 0.597))]
    again = runs[1].changed(record=runs[1].record.model_copy(update={"run_id": "r1-again"}))
    once, twice = (convergence_table(some) for some in (runs, [*runs, again]))
    assert once is not None
    assert twice is not None
    assert set(twice["mean_gap"].round(9)) == {0.0055}
    assert twice["p"].tolist() == pytest.approx([once["p"][0]] * 3)
    assert twice["run_id"].tolist() == ["r0", "r1", "r1-again"]
    (symptom,) = symptoms([*runs, again])
    assert "mean over 2 training seeds" in symptom.sentence
    assert symptom.sentence == next(symptoms(runs)).sentence


@pytest.mark.parametrize("count", [1, 8, 13])
def test_bits_of_images_survive_packing(count: int) -> None:
    bits = np.arange(count) % 3 == 0
    restored = unpacked(packed(bits), count)
    assert restored is not None
    assert restored.tolist() == bits.tolist()
    assert unpacked(packed(bits), count + 8) is None
    assert unpacked("no base64", count) is None


def test_without_class_tokens_there_is_one_probe() -> None:
    run = run_with("linear", 0.4, (block_probe("patch mean", 0.5),))
    assert not_converged([run]) == {run.method: pytest.approx(0.1)}


def test_a_backbone_that_still_gains_is_named_once() -> None:
    late = LastQuarter(epochs=8, before_epoch=6, before=0.80, after=0.803)
    run = run_with("lph", 0.9, THREE, late)
    (symptom,) = symptoms([run, run])
    assert (symptom.signature, symptom.value) == ("backbone not converged", pytest.approx(0.003))
    other = run.changed(record=run.record.model_copy(update={"run_id": "other"}))
    assert backbone_is_late([other])  # also in a group without the run that the table names
    done = run.probes[0].model_copy(update={"last_quarter": late.model_copy(update={"after": 0.802})})
    assert not list(symptoms([with_answers(replace(run, probes=(done,)))]))


def test_heads_on_reduced_tokens_are_not_compared() -> None:
    run = run_with("linear", 0.1, THREE)
    costs = run.record.costs.model_copy(update={"reduced_tokens": True})
    reduced = with_answers(replace(run, record=run.record.model_copy(update={"costs": costs})))
    assert convergence_table([run]) is not None
    assert convergence_table([reduced]) is None


def test_without_probes_nothing_is_known() -> None:
    assert convergence_table([replace(run_with("lph", 0.1, THREE), probes=())]) is None

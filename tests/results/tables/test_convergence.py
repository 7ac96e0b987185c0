"""Which heads and backbones count as converged, from made-up records and probes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from results.judge.convergence import not_converged as symptoms
from results.record import ExitMetrics, StageRef
from results.store.probes import BlockProbe, LastQuarter, ProbeInputs, Probes
from results.tables.convergence import convergence_table, not_converged
from results.tables.run import Run
from tests.results.builders import done_record, run_spec

BACKBONE = "finetune-" + "0" * 16


def block_probe(inputs: ProbeInputs, val: float, block: int = 1) -> BlockProbe:
    return BlockProbe(
        block=block, inputs=inputs, strength=0.1, val_accuracy=val, test_accuracy=0.5, mean_val_accuracy=0.5,
        mean_test_accuracy=0.5,
    )  # fmt: skip


def run_with(head: str, val: float, probes: tuple[BlockProbe, ...], last: LastQuarter | None = None) -> Run:
    """A run with one early exit after block 1."""
    exits = tuple(
        ExitMetrics(block=block, head=name, val_accuracy=accuracy, test_accuracy=0.5)
        for block, name, accuracy in ((1, head, val), (2, "final classifier", 0.9))
    )
    stage = StageRef(stage="finetune", key="0" * 16, code={}, seconds=1, shared_pass=1, artifacts=())
    record = done_record(spec=run_spec(exits=(1,)), exits=exits, stages=(stage,))
    content = Probes(backbone=BACKBONE, content=record.data.content, probes=probes, last_quarter=last)
    assert content.fits(record)
    assert not content.model_copy(update={"backbone": "finetune-" + "1" * 16}).fits(record)
    return Run(record, {}, pd.DataFrame(), Path(), probes=(content,))


THREE = (block_probe("class token", 0.6), block_probe("patch mean", 0.5), block_probe("both", 0.8))


@pytest.mark.parametrize(
    ("head", "val", "gap"),
    [
        ("linear", 0.595, None),  # half a point below the probe of the class token
        ("linear", 0.594, 0.006),
        ("lph", 0.7, 0.1),
        ("lph", 0.9, None),
        ("of-a-package", 0.51, None),  # its inputs are unknown: the weakest probe
        ("of-a-package", 0.4, 0.1),
    ],
)
def test_a_head_is_compared_with_the_probe_of_its_inputs(head: str, val: float, gap: float | None) -> None:
    run = run_with(head, val, THREE)
    assert not_converged([run]) == ({} if gap is None else {run.method: pytest.approx(gap)})
    assert [(symptom.place, symptom.value) for symptom in symptoms([run])] == (
        [] if gap is None else [("block 1", pytest.approx(gap))]
    )


def test_without_class_tokens_there_is_one_probe() -> None:
    run = run_with("linear", 0.4, (block_probe("patch mean", 0.5),))
    assert not_converged([run]) == {run.method: pytest.approx(0.1)}


def test_a_backbone_that_still_gains_is_named_once() -> None:
    late = LastQuarter(epochs=8, before_epoch=6, before=0.80, after=0.803)
    run = run_with("lph", 0.9, THREE, late)
    (symptom,) = symptoms([run, run])
    assert (symptom.signature, symptom.value) == ("backbone not converged", pytest.approx(0.003))
    done = run.probes[0].model_copy(update={"last_quarter": late.model_copy(update={"after": 0.802})})
    assert not list(symptoms([replace(run, probes=(done,))]))


def test_without_probes_nothing_is_known() -> None:
    assert convergence_table([replace(run_with("lph", 0.1, THREE), probes=())]) is None

"""The section on what the blocks represent, from made-up measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from reports.blocks import Drawn, Text
from reports.sections.convergence import convergence
from reports.sections.mechanisms import mechanisms
from reports.sections.representations import block_tables, by_block, representations, sentences
from reports.study import Study
from reports.tidy_tables import tidy_tables
from reports.web.page import page
from results.record import StageRef
from results.store.folder import Store
from results.store.probes import BOTH, BlockProbe, Probes
from results.store.representations import GRADIENTS, TOKENS, Measurement, Measurements
from results.tables.loading import load_runs
from results.tables.representations import representation_table
from results.tables.run import Run
from tests.conftest import ROOT
from tests.results.builders import done_record, run_spec

REFERENCE = Store(ROOT / "results" / "reference")


def row(measure: Any, value: float, block: int = 1, part: str = "") -> Measurement:
    return Measurement(measure=measure, split="test", block=block, part=part, value=value)


def distances(*heads: float) -> list[Measurement]:
    """The attention distances of the heads of one block, beside uniform attention."""
    named = [row("attention-distance", value, part=f"head {number}") for number, value in enumerate(heads, start=1)]
    return [*named, row("uniform-distance", 9.0)]


def explained(seed: int, rows: Sequence[Measurement], keys: str = "0", **spec: Any) -> Run:
    """A run without exits, with these measurements of the last of its backbones."""
    stages = tuple(
        StageRef(stage="finetune", key=f"{seed}{key}" * 8, code={}, seconds=1, shared_pass=1, artifacts=())
        for key in keys
    )
    spec_ = run_spec("static", (), seed=seed, **spec)
    record = done_record(f"static-{keys}-{seed}", spec=spec_, stages=stages)
    table = Measurements(TOKENS, stages[-1].name, record.data.content, tuple(rows))
    return Run(record, {}, pd.DataFrame(), Path(), measurements=(table,))


PROBES = Probes(
    backbone="finetune-" + "00" * 8,
    content={},
    probes=(
        BlockProbe(
            block=1, inputs=BOTH, strength=1, val_accuracy=0.5, test_accuracy=0.6, test_correct="", mean_val_accuracy=0.5,
            mean_test_accuracy=0.5,
        ),
    ),
    last_quarter=None,
)  # fmt: skip
GRADIENT = Measurement(measure="gradient-cosine", split="train", block=1, part="", value=0.5)


def study_of(*runs: Run) -> Study:
    table = representation_table(list(runs))
    assert table is not None
    return Study("t", list(runs), {"representations": table})


def test_the_range_of_heads_is_that_of_each_seed_since_their_numbers_mean_nothing_across_seeds() -> None:
    study = study_of(explained(0, distances(2.0, 10.0)), explained(1, distances(11.0, 3.0)))
    (table,) = by_block(study).values()
    low, mean, high = table.loc[1, ["distance_low", "distance", "distance_high"]]
    assert (low, mean, high) == (2.5, 6.5, 10.5)
    (shown,) = block_tables(study)
    assert shown.table.rows[0][5] == "2.5–10.5"
    assert "in each seed" in shown.caption
    assert "2.5 to 10.5 pixels" in " ".join(sentences(study))
    _, figure, _ = representations(study)
    assert isinstance(figure, Drawn)
    assert "in each seed" in figure.caption
    (band,) = figure.figure.axes[2].collections
    assert {round(y, 6) for _, y in band.get_paths()[0].vertices} == {2.5, 10.5}


def test_a_table_says_over_how_many_seeds_its_own_means_are() -> None:
    study = study_of(
        explained(0, [row("cka", 0.5)]), explained(1, [row("cka", 0.5)]), explained(0, [row("cka", 0.5)], keys="ab")
    )
    several, one = block_tables(study)
    assert "over 2 training seeds" in several.caption
    assert "seed" not in one.caption
    _, figure, *_ = representations(study)
    assert isinstance(figure, Drawn)
    assert "over 1 to 2 training seeds" in figure.caption
    (legend,) = figure.figure.legends
    assert len(legend.get_lines()) == 2  # although no backbone has probes, whose panel is the first


FREQUENCIES = [row("high-frequency-share", 0.25), row("white-noise-share", 0.75)]
SIMILARITY = [row("cka", 0.125, part="patch mean")]


@pytest.mark.parametrize(
    ("rows", "stated", "unstated"),
    [
        ([], [], ["CKA", "attention", "frequencies"]),
        ([*distances(2.0, 10.0), *FREQUENCIES], ["10.0 pixels", "0.25 after block 1", "0.75"], ["CKA"]),
        ([*SIMILARITY, *FREQUENCIES], ["0.12 (patch mean)", "0.25 after block 1"], ["attention"]),
        (SIMILARITY, ["0.12 (patch mean)"], ["attention", "frequencies"]),
    ],
    ids=["no tokens, as where their table is damaged", "fewer than 4 images", "windows", "no maps"],
)
@pytest.mark.parametrize("probes", [(), (PROBES,)], ids=["no probes", "probes"])
def test_the_sentences_leave_out_what_was_not_measured(
    rows: list[Measurement], stated: list[str], unstated: list[str], probes: tuple[Probes, ...]
) -> None:
    """Gradients alone bring a run into the table, too."""
    run = explained(0, rows)
    gradients = replace(run.measurements[0], kind=GRADIENTS, rows=(GRADIENT,))
    study = study_of(run.changed(measurements=(*run.measurements, gradients) if rows else (gradients,), probes=probes))
    text = " ".join(sentences(study)) if by_block(study) else ""
    assert "nan" not in text
    assert ("a linear probe is 60.0 % accurate after block 1" in text) == bool(probes)
    assert [words for words in stated if words not in text] == []
    assert [words for words in unstated if words in text] == []
    assert text.startswith("b: ") or not (rows or probes)
    shown = [block.text for block in representations(study) if isinstance(block, Text)]
    assert [part[:1] for part in shown] == [text[:1]] * bool(by_block(study))


@pytest.fixture(scope="module")
def static() -> Study:
    """A run without exits, with all that `explain` measures."""
    run_id = next(run_id for run_id in REFERENCE.run_ids() if run_id.startswith("static-"))
    runs, _ = load_runs(REFERENCE, [run_id])
    return Study("t", runs, tidy_tables(runs, []))


def test_the_page_says_whether_the_backbone_has_converged_also_without_heads(static: Study) -> None:
    (said,) = (block for block in convergence(static) if isinstance(block, Text))
    assert "of the backbone changed by" in said.text
    assert page(static).count(said.text) == 1


def test_texts_that_call_the_rules_on_mechanisms_fixed_say_what_changed_afterwards(static: Study) -> None:
    (rules,) = mechanisms(static)
    statistics = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8").split("\n\n")
    (paragraph,) = (paragraph for paragraph in statistics if "fixed before any" in paragraph)
    for text in (rules.caption, paragraph):
        assert "fixed before" in text
        assert "check of convergence" in " ".join(text.split())

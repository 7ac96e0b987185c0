"""The section on what the blocks represent, from made-up measurements."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from reports.blocks import Drawn
from reports.sections.representations import block_tables, by_block, representations, sentences
from reports.study import Study
from results.record import StageRef
from results.store.representations import TOKENS, Measurement, Measurements
from results.tables.representations import representation_table
from results.tables.run import Run
from tests.results.builders import done_record, run_spec


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

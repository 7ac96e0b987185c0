"""Policies whose decisions depend on earlier images are shown, and compared with nothing."""

from __future__ import annotations

from pathlib import Path

from benchmark.grid.load import load_grid
from reports.captioned import marks
from reports.sections.placement import schemes
from reports.study import Study
from reports.tidy_tables import tidy_tables
from results.judge.contrast import contrast
from results.judge.judgement import refusal
from results.store.folder import Store
from results.tables.loading import load_runs
from tests.grids import write_grid
from tests.made_up_runs import make_finished

ORDERED = {"name": "running-quantile", "set": {"order": 0}}


def study_of(tmp_path: Path, policies: list[object], *methods: str) -> Study:
    """Made-up runs of methods with two exit schemes."""
    tmp_path.mkdir(exist_ok=True)
    exits = [{"name": name, "set": {"count": 4}} for name in ("shallow", "uniform")]
    grid = write_grid(tmp_path / "g.yaml", methods=["static", "lgvit", *methods], exits=exits, policies=policies)
    store = Store(tmp_path / "results")
    make_finished(load_grid(grid), store)
    runs, _ = load_runs(store, store.run_ids())
    return Study("t", runs, tidy_tables(runs, []))


def test_the_place_in_the_grid_decides_nothing(tmp_path: Path) -> None:
    first, last = (
        study_of(tmp_path / name, policies, "vanilla").main[0]
        for name, policies in (
            ("first", [ORDERED, "confidence", "entropy"]),
            ("last", ["confidence", "entropy", ORDERED]),
        )
    )
    assert first.reference == last.reference
    assert first.contrasts.keys() == last.contrasts.keys() != set()
    assert first.leading.judged_policy == "confidence"


def test_a_table_of_policies_says_that_they_are_not_compared(tmp_path: Path) -> None:
    (first, *_) = study_of(tmp_path, ["confidence", ORDERED, "entropy"]).settings
    assert {label for label, _ in first.contrasts} == {"entropy"}
    assert marks(first).endswith(" Not compared: running-quantile(order=0).")


def test_they_decide_no_placement_and_no_claim(tmp_path: Path) -> None:
    study = study_of(tmp_path, [ORDERED])
    (text, _) = schemes(study)
    assert "compared with no other on the same images" in str(text)
    first, second = study.settings
    label = first.reference
    assert contrast(first.seeds_at(label, ("equal-macs", 0.5)), second.seeds_at(label, ("equal-macs", 0.5))) is None
    decision = refusal(first.exiting)
    assert decision is not None
    assert "decides by earlier images" in decision.reason
    with_confidence = study_of(tmp_path / "other", ["confidence"])
    assert refusal(with_confidence.settings[0].exiting) is None
    assert "compared with no other on the same images" not in str(schemes(with_confidence)[0])

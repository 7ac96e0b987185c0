"""The report of photos that teach a backbone little says so, and judges no claim of the paper."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reports.abstract import abstract
from reports.blocks import Shown, Terms
from reports.captioned import readable_tables
from reports.findings import limits
from reports.sections.claims import unjudged
from reports.sections.closing import limits_and_failures
from reports.sections.data import data
from reports.setup import facts
from reports.study import Study
from reports.text_tables import plain
from reports.tidy_tables import tidy_tables
from reports.weakness import one_exit
from results.store.folder import Store
from results.tables.loading import load_runs


@pytest.fixture(scope="module")
def study(hard_photos: Store) -> Study:
    runs, _ = load_runs(hard_photos, hard_photos.run_ids())
    return Study("photos", runs, tidy_tables(runs, []))


def test_the_abstract_calls_no_speed_up(study: Study) -> None:
    text = " ".join(abstract(study))
    table = plain((shown.caption, shown.table) for shown in readable_tables(study)[:1])
    (row,) = study.tidy["backbones"].to_dict("records")
    for number in ("accuracy", "majority_share", "balanced_accuracy"):
        assert f"{100 * row[number]:.1f}" in text
        assert f"{100 * row[number]:.1f}" in table
    for words in ("never predicts dusty and shaded", "truncated after block 4", "“intact”"):
        assert words in text
    for words in ("×", "holds", "speed-up in MACs", "paper's claims"):
        assert words not in text


def test_exits_that_decide_something_are_not_called_useless(study: Study) -> None:
    """The first exit has the largest share, but not all images."""
    (group,) = study.main
    leading = group.leading.record
    block = leading.exits[0].block
    assert f"first exit, after block {block}" in one_exit(group, study)
    shares = (0.6, 0.4, *[0.0] * (len(leading.exits) - 2))
    points = tuple(
        point.model_copy(update={"test": point.test and point.test.model_copy(update={"exit_shares": shares})})
        for point in leading.points
    )
    record = leading.model_copy(update={"points": points})
    runs = [replace(run, record=record) if run.record.run_id == leading.run_id else run for run in study.runs]
    other = Study("photos", runs, study.tidy)
    assert one_exit(other.main[0], other) == ""


def test_no_claim_is_judged_on_own_images(study: Study) -> None:
    assert (study.judgements["verdict"] == "not run").all()
    assert study.judgements["finding"].eq("").all()
    assert "user's own" in unjudged(study)
    assert sum("paper" in sentence for sentence in limits(study)) == 1


def test_failures_call_backbones_and_methods_by_name(study: Study) -> None:
    (terms,) = [block for block in limits_and_failures(study) if isinstance(block, Terms)]
    text = " ".join(sentence for _, sentence in terms.items)
    assert "ViT-Nano without exits" in text
    assert "Truncated backbone (depth 4) was run" in text
    assert "vit_nano" not in text


def test_recall_is_listed_by_class(study: Study) -> None:
    (recall,) = [block.table for block in data(study) if isinstance(block, Shown) and block.table.header[0] == "Class"]
    assert [row[0] for row in recall.rows] == ["intact", "cracked", "dusty", "shaded"]
    assert [row[3] for row in recall.rows][2:] == ["0.0", "0.0"]


def test_own_images_are_named_once(study: Study) -> None:
    text = dict(facts(study.runs))["Data"]
    assert text.lower().count("the user's own images") == 1
    assert "official" not in text

"""The abstract of any set of runs: its numbers are in the tables, and nothing is called ahead without the test that decides."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from random import Random

import pandas as pd
import pytest

from reports.abstract import abstract
from reports.captioned import readable_tables
from reports.findings import details
from reports.sections.claims import claims_table
from reports.study import Study
from reports.tables import interval, percent, signed, times
from reports.text_tables import plain
from reports.tidy_tables import tidy_tables
from reports.words import p_value
from results.spec import PrimaryEndpoint
from results.store.folder import Store
from results.tables.loading import load_runs
from results.tables.run import Run
from tests.conftest import SmokeRun
from tests.results.judge.paper_scale import promoted, right_everywhere

NUMBER = re.compile(r"[−+]?\d+(?:[.,]\d+)*")
COUNTS = re.compile(
    r"\d+(?= (?:runs?|methods?|training seeds?|test images|comparisons?|others?|other settings)\b)|\d+ to(?= \d+ training)"
)


@pytest.fixture(scope="module")
def runs(smoke: SmokeRun) -> list[Run]:
    store = Store(smoke.results)
    return load_runs(store, store.run_ids())[0]


def sets_of_runs(runs: list[Run]) -> Iterator[list[Run]]:
    """The runs as they are, one alone, and random subsets of five seeds in which one method may be right everywhere."""
    yield runs
    yield [run for run in runs if run.method in ("static", "lgvit")]
    for number in range(4):
        rng = Random(number)
        best = rng.choice(["lgvit", "vanilla", ""])
        seeds = promoted([right_everywhere(run) if run.method == best else run for run in runs], rng.choice([1, 2, 5]))
        static = [run for run in seeds if run.is_static]
        yield static + rng.sample([run for run in seeds if run.has_exits], rng.randint(1, len(seeds) - len(static)))


def tabled(study: Study) -> set[str]:
    """Every number in the tables of the report, as it is printed."""
    texts = [plain((shown.caption, shown.table) for shown in readable_tables(study)), str(claims_table(study).rows)]
    texts += [claim.text for claim in study.claims.claims]
    for _, row in study.contrasts.iterrows():
        texts += [signed(row["difference"]), interval(row["low"], row["high"]), p_value(row["p_holm"])]
    for _, row in study.points.iterrows():
        texts += [percent(row["accuracy"]), interval(row["low"], row["high"]), signed(row["drop"])]
        texts += [times(row[f"{name}_speedup"]) for name in ("layer", "mac") if pd.notna(row.get(f"{name}_speedup"))]
    for setting in study.settings:
        for _, row in setting.totals[setting.totals["reached"]].iterrows():
            texts += [percent(row["accuracy"]), interval(row["low"], row["high"]), signed(row["drop"])]
            texts += [times(row["layer_speedup"]), times(row["mac_speedup"])]
    return {number for text in texts for number in NUMBER.findall(text)}


def test_every_number_is_in_a_table_and_every_lead_was_tested(runs: list[Run]) -> None:
    for chosen in sets_of_runs(runs):
        if not any(run.has_exits for run in chosen):
            continue
        tidy = tidy_tables(chosen, [])
        weak = Study("t", chosen, tidy)  # the backbone of `smoke` never predicts some classes
        strong = Study("t", chosen, tidy | {"failures": tidy["failures"].iloc[:0]})
        for study in (weak, strong):
            sentences = abstract(study)
            assert len(sentences) <= 5
            text = " ".join(sentences)
            names = {run.backbone for run in chosen} | {run.dataset for run in chosen} | {run.method for run in chosen}
            for name in sorted(names, key=len, reverse=True):
                text = text.replace(name, "NAME")
            numbers = set(NUMBER.findall(COUNTS.sub("", text)))
            constants = {"1", "95"}  # "at most 1 point", "95 % interval"
            assert len(numbers - constants) <= 6
            assert numbers <= tabled(study) | constants, numbers - tabled(study) - constants
            results = {contrast.result for (_, target), contrast in study.main[0].contrasts.items() if target == 0.5}
            for word, result in (
                ("ahead of", "ahead"),
                ("behind", "behind"),
                ("not shown to differ from", "not shown to differ"),
            ):
                assert (f" {word} " in text) == (study is strong and result in results), text
        significant = strong.contrasts[strong.contrasts["result"] != "not shown to differ"]
        assert (significant["p_holm"] < 0.05).all()


def test_claims_rank_no_methods_where_the_heads_of_the_reference_have_not_converged(
    runs: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    tidy = tidy_tables(runs, [])
    study = Study("t", runs, tidy | {"failures": tidy["failures"].iloc[:0]})
    monkeypatch.setattr("reports.abstract.judged_sentence", lambda _study: ["CLAIMS"])
    for gaps, is_stated in (({}, True), ({study.main[0].reference: 0.01}, False)):
        monkeypatch.setattr("reports.abstract.unconverged", lambda _setting, gaps=gaps: gaps)
        text = " ".join(abstract(study))
        assert ("CLAIMS" in text, "not ranked" in text) == (is_stated, not is_stated)


def test_the_method_of_the_primary_endpoint_is_compared_with_the_others(runs: list[Run]) -> None:
    def declared(run: Run) -> Run:
        primary = PrimaryEndpoint(method="vanilla", against=("lgvit",), macs=0.5)
        spec = run.record.spec.model_copy(update={"primary": primary})
        return replace(run, record=run.record.model_copy(update={"spec": spec}))

    assert {group.reference for group in Study("t", runs, tidy_tables(runs, [])).main} == {"lgvit"}
    chosen = [declared(run) for run in runs]
    (group,) = Study("t", chosen, tidy_tables(chosen, [])).main
    assert group.reference == "vanilla"
    (primary,) = [key for key, contrast in group.contrasts.items() if contrast.is_primary]
    assert primary == ("lgvit", 0.5)


def test_a_primary_endpoint_is_told_where_no_pair_reaches_half_of_the_macs(runs: list[Run]) -> None:
    (group,) = Study("t", runs, tidy_tables(runs, [])).main
    late = {key: replace(contrast, family="primary") for key, contrast in group.contrasts.items() if key[1] == 0.75}
    assert late
    group.__dict__["contrasts"] = late
    text = " ".join(details(group, {run.method: run.method for run in runs}))
    assert "0.75 of the MACs" in text
    assert "at half of the MACs may be missed" not in text


@pytest.mark.parametrize(
    ("seeds", "over"), [(2, "test images, for the models of 2 training seeds alone"), (5, "training seeds")]
)
def test_what_differences_are_tested_over_is_said_apart_from_intervals(runs: list[Run], seeds: int, over: str) -> None:
    """Few seeds give intervals of an accuracy, but no test."""
    chosen = promoted(runs, seeds)
    study = Study("t", chosen, tidy_tables(chosen, []))
    (group,) = study.main
    assert group.over == "training seeds"
    assert group.tested_over.startswith(over)
    captions = " ".join(shown.caption for shown in readable_tables(study))
    assert f"paired tests over {over}" in captions


def test_a_method_with_one_seed_is_not_said_to_have_several(runs: list[Run]) -> None:
    chosen = [run for run in promoted(runs, 5) if run.method != "vanilla" or run.seed == 0]
    study = Study("t", chosen, tidy_tables(chosen, []))
    assert "1 to 5 training seeds" in " ".join(abstract(study))
    (setting,) = study.main
    assert setting.over == "training seeds where there are several, else test images"
    captions = [shown.caption for shown in readable_tables(study)]
    assert any("one seed" in caption for caption in captions)
    alone = [run for run in chosen if run.seed == 0]
    assert Study("t", alone, tidy_tables(alone, [])).main[0].over == "test images"

"""Families of comparisons: what a correction for multiple tests covers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.grid.load import grid_of
from reports.comparison_group import ComparisonGroup
from reports.findings import against_others as sentences
from reports.findings import details
from reports.sections.opening import primary
from reports.study import Study
from reports.tidy_tables import tidy_tables
from results.judge.contrast import Contrast
from results.stats.significance import holm
from results.store.folder import Store
from results.tables.loading import load_runs
from tests.grids import tiny_grid
from tests.made_up_runs import make_finished

METHODS = ["static", "lgvit", "vanilla", "homogeneous-local", "homogeneous-global", "homogeneous-mlp"]
HALF = 0.5


DECLARED = {"method": "lgvit", "against": ["vanilla", "homogeneous-mlp"]}


@pytest.fixture(scope="module", params=[None, DECLARED | {"macs": HALF}, DECLARED | {"macs": 0.75}])
def study(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Random scores of five methods, from a grid without and with a primary endpoint."""
    return made_up(tmp_path_factory.mktemp("family"), METHODS, request.param)


def made_up(folder: Path, methods: Sequence[object], endpoint: dict[str, Any] | None) -> Study:
    """Random scores of methods, from a grid that declares a primary endpoint or none."""
    store = Store(folder / "results")
    grid = grid_of(tiny_grid(methods=methods, primary=endpoint), folder / "grid.yaml")
    make_finished(grid, store)
    runs, problems = load_runs(store, store.run_ids())
    assert problems == []
    return Study("t", runs, tidy_tables(runs, []))


def group_of(study: Study) -> tuple[ComparisonGroup, dict[tuple[str, float], Contrast]]:
    (group,) = study.main
    return group, group.contrasts


def test_holm_covers_the_primary_comparisons_alone_and_the_others_apart(study: Study) -> None:
    _, contrasts = group_of(study)
    declared = study.runs[0].record.spec.primary
    expected = {(label, declared.macs) for label in declared.against} if declared else set()
    assert {key for key, contrast in contrasts.items() if contrast.is_primary} == expected
    for is_primary in (True, False):
        family = [contrast for contrast in contrasts.values() if contrast.is_primary == is_primary]
        assert {contrast.tests for contrast in family} <= {len(family)}
        adjusted = holm(np.array([contrast.estimate.p for contrast in family]))
        assert [contrast.p for contrast in family] == pytest.approx(list(adjusted))


def test_the_report_names_the_primary_comparisons_and_calls_the_others_exploratory(study: Study) -> None:
    group, contrasts = group_of(study)
    declared = study.runs[0].record.spec.primary
    first, *rest = sentences(group, declared.macs if declared else HALF)
    text = details(group, study.display)[0]
    assert ("Primary endpoint" in text, "Exploratory" in text) == (declared is not None, declared is not None)
    if declared is None:
        assert rest == []
        assert "exploratory" not in primary(study) + first + group.tests
        return
    assert "Primary endpoint" in first
    assert "over 2 primary comparisons" in first
    assert ("vanilla" in first, "homogeneous-local" in first) == (True, False)
    assert "Exploratory" in rest[0]
    assert f"over {len(contrasts) - 2} exploratory comparisons" in rest[0]
    assert "2 primary" in group.tests
    assert study.contrasts["primary"].sum() == 2
    assert "exploratory" in primary(study)


@pytest.mark.parametrize("endpoint", [None, DECLARED | {"macs": 0.75}])
def test_variants_of_the_reference_are_a_family_of_their_own_and_texts_say_so(
    endpoint: dict[str, Any] | None, tmp_path: Path
) -> None:
    """Each sentence names the family that corrected its p-values; captions name all families."""
    variant = {"name": "lgvit", "set": {"kd_weight": 0.0}}
    group, contrasts = group_of(made_up(tmp_path, ["static", "lgvit", "vanilla", "homogeneous-mlp", variant], endpoint))
    (label,) = (label for label in group.methods if label.startswith("lgvit") and label != group.reference)
    families: dict[str, list[Contrast]] = {}
    for contrast in contrasts.values():
        families.setdefault(contrast.family, []).append(contrast)
    sizes = {family: len(members) for family, members in families.items()}
    budgets = len({budget for _, budget in contrasts})
    primary_ = {"primary": 2} if endpoint else {}
    assert sizes == primary_ | {"other methods": 2 * budgets - (2 if endpoint else 0), "variants": budgets}
    assert {key[0] for key, contrast in contrasts.items() if contrast.family == "variants"} == {label}
    for members in families.values():
        assert {contrast.tests for contrast in members} == {len(members)}
        adjusted = holm(np.array([contrast.estimate.p for contrast in members]))
        assert [contrast.p for contrast in members] == pytest.approx(list(adjusted))
    *_, of_methods, of_variants = sentences(group, HALF)
    kind = "exploratory comparisons" if endpoint else "comparisons"
    methods = f"{sizes['other methods']} {kind} with other methods"
    variants = f"{sizes['variants']} {kind} with variants of LGViT"
    assert (f"over {methods})" in of_methods, label in of_methods) == (True, False)
    assert (f"over {variants})" in of_variants, "vanilla" in of_variants) == (True, False)
    assert f"{methods} and {variants}, each family by itself" in group.tests
    assert ("2 primary comparisons" in group.tests) == bool(endpoint)

"""The reference results in the repository: complete, small, and in agreement with docs/reference-results.md."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from benchmark.cli import main
from benchmark.grid.load import find_grid, load_grid
from benchmark.stages.graph import run_stages
from results.judge.mechanism_evidence import mechanism_answers
from results.judge.mechanisms import Answer
from results.stats.statistics import over_seeds
from results.store.folder import Store
from results.store.latency import FILE, Latency
from results.store.probes import without_probes
from results.tables.convergence import convergence_table
from results.tables.loading import load_runs
from results.tables.points import points, summary
from results.tables.run import Run
from tests.conftest import ROOT

FOLDER, SCHEMES, CONTROLS, LONGER, SCHEMES_LONGER = (
    ROOT / "results" / name
    for name in (
        "reference",
        "reference-schemes",
        "reference-controls",
        "reference-longer",
        "reference-schemes-longer",
    )
)
MOST_BYTES = {(FOLDER, SCHEMES, CONTROLS): 15 * 10**6, (LONGER, SCHEMES_LONGER): 14 * 10**6}
DIFFERENCES = {  # rows of the page's table of short and longer training: two methods, and the budget at which they are compared
    "LGViT minus `vanilla`, half of the MACs": ("lgvit", "vanilla", 0.5),
    "LGViT minus LPH at every exit, half of the MACs": ("lgvit", "homogeneous-local", 0.5),
    "LGViT minus `class-patch-mean`, half of the MACs": ("lgvit", "class-patch-mean", 0.5),
    "LGViT minus `vanilla`, 0.4 of the MACs": ("lgvit", "vanilla", 0.4),
    "LGViT with cross-entropy alone minus LGViT, 0.4 of the MACs": (
        "lgvit(feature_terms=False, kd_weight=0)",
        "lgvit",
        0.4,
    ),
}
TIMED = (
    "lgvit",
    "vanilla",
    "class-patch-mean",
    "homogeneous-local",
    "homogeneous-local(kernel=0)",
    "homogeneous-global",
)
PLAIN = tuple(f"{method}(feature_terms=False, kd_weight=0)" for method in ("lgvit", "homogeneous-local"))
POINTS = {"0.4 × MACs": 0.4, "0.5 × MACs": 0.5, "0.6 × MACs": 0.6, "0.75 × MACs": 0.75}


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    reference_runs, problems = load_runs(Store(FOLDER), Store(FOLDER).run_ids())
    assert problems == []
    return reference_runs


@pytest.fixture(scope="module")
def table(runs: list[Run]) -> pd.DataFrame:
    return points(runs)


@pytest.mark.parametrize("folder", [FOLDER, SCHEMES, CONTROLS, LONGER, SCHEMES_LONGER])
def test_every_run_of_the_grid_is_recorded(folder: Path) -> None:
    """Compared by name, not by key: later code versions give the stages other keys, and the records stay."""
    expected = {run_stages(run).run_id.rpartition("-")[0] for run in load_grid(find_grid(folder.name)).runs}
    assert {run_id.rpartition("-")[0] for run_id in Store(folder).run_ids()} == expected


@pytest.mark.parametrize("folder", [SCHEMES, SCHEMES_LONGER])
def test_the_exit_schemes_have_the_ranks_that_the_page_shows(folder: Path) -> None:
    store = Store(folder)
    of_schemes, problems = load_runs(store, store.run_ids())
    assert problems == []
    assert without_probes(store, [run.record.run_id for run in of_schemes if run.has_exits]) == []
    page = (ROOT / "docs" / "reference-results.md").read_text(encoding="utf-8").replace("−", "-")
    ranks = [scaled.answer for scaled in mechanism_answers(of_schemes) if scaled.answer.rule == "d"]
    assert [answer.verdict for answer in ranks] == ["open", "open"]
    for answer in ranks:
        (effect,) = answer.effects
        assert f"{effect.mean:.2f} [{effect.low:.2f}, {effect.high:.2f}]" in page


def test_every_run_declares_the_primary_endpoint_of_the_grid_and_has_its_exits_probed(runs: list[Run]) -> None:
    """So that the report can judge by it, and can say whether the heads have converged."""
    (declared,) = {run.primary for run in load_grid(find_grid("reference")).runs}
    assert declared is not None
    exiting = [run for run in runs if not run.is_static]
    assert {run.record.spec.primary for run in exiting} == {declared}
    table = convergence_table(runs)
    assert table is not None
    for run in exiting:
        probed = table[(table["run_id"] == run.record.run_id) & (table["part"] == "head")]
        assert set(probed["block"]) == {exit_.block for exit_ in run.record.exits[:-1]}


def test_the_blocks_are_explained_without_weights(runs: list[Run]) -> None:
    """Also for one run, whose exits are a part of the blocks whose probes with distillation are stored."""
    run_id = next(run.record.run_id for run in runs if run.method == "lgvit")
    explained = CliRunner().invoke(main, ["explain", run_id, "--results", str(FOLDER)], catch_exceptions=False)
    assert explained.exit_code == 0
    assert "probes with distillation" in explained.output


@pytest.mark.parametrize("folders", MOST_BYTES)
def test_it_is_small_and_contains_no_weights(folders: tuple[Path, ...]) -> None:
    every = (path for folder in folders for path in folder.rglob("*"))
    files = [path for path in every if path.is_file() and "figures" not in path.parts]
    assert 0 < sum(path.stat().st_size for path in files) < MOST_BYTES[folders]
    assert not [path for path in files if path.suffix in (".safetensors", ".pt")]
    for path in files:
        if path.suffix in (".json", ".md", ".txt"):
            assert not re.search(r"/(root|home|tmp|work)/", path.read_text(encoding="utf-8")), path


def test_its_tables_equal_its_records(table: pd.DataFrame) -> None:
    committed, made = (
        frame.set_index(["run_id", "point"]).sort_index()
        for frame in (pd.read_parquet(FOLDER / "points.parquet"), table)
    )
    pd.testing.assert_frame_equal(committed, made, check_like=True, check_dtype=False, rtol=1e-9)


def test_the_page_agrees_with_the_records(table: pd.DataFrame) -> None:
    text = (ROOT / "docs" / "reference-results.md").read_text(encoding="utf-8")
    totals = summary(table[(table["backbone"] == "vit_nano_patch4_28") & (table["scheme"].isin(["paper", "none"]))])
    (of_methods,) = (part for part in text.split("\n\n") if part.startswith("| Method |"))
    header, _, *lines = of_methods.splitlines()
    columns = [cell.strip() for cell in header.strip("|").split("|")]
    assert columns == ["Method", *POINTS, "MACs, ≤ 1 point"]
    rows_of = {re.search("`(.*)`", line)[1]: line for line in lines}
    assert set(rows_of) == set(totals["label"]) - {"static"}
    for label, line in rows_of.items():
        _, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        rows = totals[totals["label"] == label]
        for cell, budget in zip(cells, POINTS.values(), strict=False):
            (row,) = rows[(rows["kind"] == "equal-macs") & (rows["target"] == budget)].itertuples()
            expected = f"{100 * row.accuracy:.1f} [{100 * row.low:.1f}, {100 * row.high:.1f}]" if row.reached else "–"
            assert cell == expected, (label, budget)
        (row,) = rows[(rows["kind"] == "accuracy-drop") & (rows["target"] == 0.01)].itertuples()
        assert cells[-1] == f"{row.mac_speedup:.2f}×", label


def test_the_models_without_exits_have_the_accuracies_that_the_page_shows(runs: list[Run]) -> None:
    controls, problems = load_runs(Store(CONTROLS), Store(CONTROLS).run_ids())
    assert problems == []
    backbones = {run.record.run_id for run in runs if run.is_static}
    assert {run.record.run_id for run in controls if run.is_static} <= backbones
    totals = summary(points(controls))
    with_20_epochs = summary(points(load_runs(Store(LONGER), Store(LONGER).run_ids())[0]))
    page = (ROOT / "docs" / "reference-results.md").read_text(encoding="utf-8")
    for label in ("truncated(depth=6)", "next-smaller"):
        (row,) = totals[totals["label"] == label].itertuples()
        accuracy = f"{100 * row.accuracy:.1f} [{100 * row.low:.1f}, {100 * row.high:.1f}]"
        (longer,) = with_20_epochs[with_20_epochs["label"] == label].itertuples()
        shown = f"{100 * longer.accuracy:.1f} [{100 * longer.low:.1f}, {100 * longer.high:.1f}]"
        assert f"| {accuracy} | {shown} | {1 / row.mac_speedup:.2f} |" in page
    seeds = {run.seed for run in controls}
    alike = [run for run in runs if run.seed in seeds and (run.is_static or run.method == "lgvit")]
    at_half = points(alike).query("label == 'lgvit' and kind == 'equal-macs' and target == 0.5")
    (row,) = summary(at_half).itertuples()
    assert f"exits reach {100 * row.accuracy:.1f} [{100 * row.low:.1f}, {100 * row.high:.1f}] at half" in page
    shorter = points(controls).query("label == 'truncated(depth=6)'")
    gain, ends = gain_by_seed(at_half, shorter)
    assert f"that is {gain} points more than the first six blocks {ends}" in one_line("docs/reference-results.md")
    assert f"LGViT {gain} points more {ends}" in one_line("README.md")
    assert f"| {accuracy} |" in (CONTROLS / "table.md").read_text(encoding="utf-8")


def test_the_gain_by_exits_before_block_4_is_the_one_that_the_page_shows(runs: list[Run]) -> None:
    of_schemes, problems = load_runs(Store(SCHEMES), Store(SCHEMES).run_ids())
    assert problems == []
    at_budget = "label == 'lgvit' and kind == 'equal-macs' and target == 0.4"
    schemes, paper = points(of_schemes).query(at_budget), points(runs).query(at_budget)
    gains = {scheme: gain_by_seed(rows, paper) for scheme, rows in schemes.groupby("scheme")}
    page = one_line("docs/reference-results.md")
    gain, ends = gains["blocks 2 4 6 8"]
    assert f"is {gain} points more accurate than with the paper's eight exits after blocks 4 to 11 {ends}" in page
    assert min(float(gains[scheme][0]) for scheme in ("shallow(count=4)", "uniform(count=4)")) >= 0.4
    gain, ends = gains["middle(count=4)"]
    assert f"(+{gain} {ends})" in page


def test_the_gain_by_early_exits_with_longer_training_is_the_one_that_the_page_shows() -> None:
    of_schemes, longer = (load_runs(Store(folder), Store(folder).run_ids())[0] for folder in (SCHEMES_LONGER, LONGER))
    gains = {}
    for budget in (0.4, 0.5):
        at_budget = f"label == 'lgvit' and kind == 'equal-macs' and target == {budget}"
        schemes, paper = points(of_schemes).query(at_budget), points(longer).query(at_budget)
        gains[budget] = {scheme: gain_by_seed(rows, paper) for scheme, rows in schemes.groupby("scheme")}
    page = one_line("docs/reference-results.md")
    for scheme, words in {
        "blocks 2 4 6 8": "with blocks 2, 4, 6 and 8",
        "uniform(count=4)": "with 2, 5, 8 and 11",
        "shallow(count=4)": "with 1 to 4",
        "middle(count=4)": "with 4 to 7",
    }.items():
        assert f"{difference(gains[0.4][scheme])} {words}" in page
    assert f"again at most {max(float(gain) for gain, _ in gains[0.5].values()):.2f}" in page
    early = sorted(float(gain) for scheme, (gain, _) in gains[0.4].items() if scheme != "middle(count=4)")
    assert f"(with 20 epochs {early[0]:.1f} to {early[-1]:.1f})" in one_line("README.md")
    table = convergence_table(of_schemes)
    assert table is not None
    assert bool(table[table["part"] == "head"]["converged"].all())


def test_the_times_are_those_that_the_page_shows() -> None:
    """Of seed 0 of the short training, and of three seeds of the longer one."""
    shown = {
        "8 epochs": {label: speedups(FOLDER, label) for label in TIMED},
        "20 epochs": {label: speedups(LONGER, label) for label in [*TIMED, *PLAIN]},
    }
    for label in [*TIMED, *PLAIN]:
        cells = [f"`{label}`"]
        short, longer = shown["8 epochs"].get(label), shown["20 epochs"][label]
        cells += [f"{short[key][0]:.2f}×" for key in ("macs", 1, 32)] if short else ["–"] * 3
        cells.append(f"{sum(longer['macs']) / 3:.2f}×")
        cells += [f"{sum(v) / 3:.2f}× ({min(v):.2f} to {max(v):.2f})" for v in (longer[1], longer[32])]
        assert f"| {' | '.join(cells)} |" in (ROOT / "docs" / "reference-results.md").read_text(encoding="utf-8")


def speedups(folder: Path, label: str) -> dict[object, list[float]]:
    """The measured speed-ups of a method by batch size, one for each seed that was timed, and those in MACs of batch size 1."""
    found: dict[object, list[float]] = {"macs": [], 1: [], 32: []}
    store = Store(folder)
    for name in store.stages("latency"):
        latency = Latency.model_validate_json((store.stage(name) / FILE).read_bytes())
        if store.done_record(latency.run_id).label == label:
            for timing in latency.timings:
                found[timing.batch_size].append(timing.speedup)
                found["macs"] += [timing.mac_speedup] * (timing.batch_size == 1)
    return found


def test_longer_training_gives_the_numbers_that_the_page_shows(runs: list[Run]) -> None:
    longer, problems = load_runs(Store(LONGER), Store(LONGER).run_ids())
    assert problems == []
    assert {run.seed for run in longer} == {run.seed for run in runs}
    page, readme = one_line("docs/reference-results.md"), one_line("README.md")
    tables = [points(those) for those in (runs, longer)]
    alone = [next(summary(table.query("label == 'static'")).itertuples()) for table in tables]
    shown = [f"{100 * row.accuracy:.1f} [{100 * row.low:.1f}, {100 * row.high:.1f}]" for row in alone]
    assert f"| backbone without exits (%) | {shown[0]} | {shown[1]} |" in page
    at_drop = [summary(table.query("kind == 'accuracy-drop' and target == 0.01")) for table in tables]
    for label, name in {"lgvit": "LGViT", "vanilla": "`vanilla`"}.items():
        (short,), (long,) = (rows.loc[rows["label"] == label, "mac_speedup"] for rows in at_drop)
        assert f"| speed-up in MACs of {name}, at most 1 point lost on val | {short:.2f}× | {long:.2f}× |" in page
    exiting = [100 * rows.loc[rows["label"] != "static", "drop"] for rows in at_drop]
    lost = [f"{drops.min():.1f} to {drops.max():.1f}" for drops in exiting]
    assert f"at most 1 point on val lose {lost[0]} points with 8 epochs and {lost[1]} with 20" in page
    for row, (method, other, budget) in DIFFERENCES.items():
        at_budget = [table[(table["kind"] == "equal-macs") & (table["target"] == budget)] for table in tables]
        of_both = [(rows[rows["label"] == method], rows[rows["label"] == other]) for rows in at_budget]
        cells = [difference(gain_by_seed(*pair)) for pair in of_both]
        assert f"| {row} | {cells[0]} | {cells[1]} |" in page
    gain, ends = gain_by_seed(*(table.query("label == 'static'") for table in reversed(tables)))
    assert f"The backbones are then {gain} points more accurate {ends}" in page
    assert f"they are {gain} points better" in readme
    half = tables[1].query("label == 'lgvit' and kind == 'equal-macs' and target == 0.5")
    ahead, between = gain_by_seed(half, tables[1].query("label == 'truncated(depth=6)'"))
    assert f"With 20 epochs, LGViT's exits are {ahead} points more accurate than the first six blocks {between}" in page
    assert f"{ahead} points {between} with 20 epochs" in readme
    at_its_cost = tables[1].query("label == 'lgvit' and kind == 'equal-macs' and target == 0.6")
    ahead, between = gain_by_seed(at_its_cost, tables[1].query("label == 'next-smaller'"))
    assert (
        f"and {ahead} points more accurate than the next smaller backbone {between} at its cost, 0.6 of the MACs"
        in page
    )
    answers = [{scaled.answer.rule: scaled.answer for scaled in mechanism_answers(those)} for those in (runs, longer)]
    assert [answers[1][rule].verdict for rule in "abc"] == ["open", "not supported", "not supported"]
    mixing = [effect_of(answer["a"]) for answer in answers]
    assert f"| LPH with kernel 3 minus kernel 0, the shallow exits | +{mixing[0]} | +{mixing[1]} |" in page
    assert f"then brings {mixing[1].replace(' [', ' points [')}" in readme
    table = convergence_table(longer)
    assert table is not None
    heads, backbones = table[table["part"] == "head"], table[table["part"] == "backbone"]
    assert bool(heads["converged"].all())
    assert f"the largest gap to a probe is {100 * heads['mean_gap'].max():.2f} points" in page
    assert f"one by one, {(heads['gap'] > 0.005).sum()} of {len(heads)} heads are above the limit of 0.5" in page
    quarter = 100 * backbones["gap"]
    assert f"gained {quarter.min():.1f} to {quarter.max():.1f} points in the last quarter" in page


def effect_of(answer: Answer) -> str:
    """Mean and interval of the first effect that decides an answer, in points."""
    effect = answer.effects[0]
    return f"{100 * effect.mean:.2f} [{100 * effect.low:.2f}, {100 * effect.high:.2f}]"


def difference(gain: tuple[str, str]) -> str:
    """A mean difference with its sign, and its interval."""
    mean, ends = gain
    return f"{'' if mean.startswith('-') else '+'}{mean} {ends}"


def gain_by_seed(first: pd.DataFrame, second: pd.DataFrame) -> tuple[str, str]:
    """Mean and 95 % t interval over the seeds that both have of the accuracy of some rows minus that of others, in points."""
    accuracies = (rows.set_index("seed")["accuracy"] for rows in (first, second))
    differences = (100 * next(accuracies).sub(next(accuracies))).dropna().tolist()
    low, high = over_seeds(differences)
    mean = round(sum(differences) / len(differences), 2) + 0.0  # no "-0.00"
    return f"{mean:.2f}", f"[{low:.2f}, {high:.2f}]"


def one_line(path: str) -> str:
    """A page without line breaks, with hyphens for minus signs."""
    return " ".join((ROOT / path).read_text(encoding="utf-8").replace("−", "-").split())

"""The report of a set of runs: figures, tables and the paper-style PDF, from records and outcomes alone."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from results.store.devices import read_checks
from results.store.folder import Store, StoreError, unwritable

if TYPE_CHECKING:
    from reports.study import Pictures, Study
    from results.record import FailedRecord
    from results.tables.run import Run

FOLDER = Path(__file__).parent
STAMP = "report.json"
FORMATS = ("pdf", "html", "csv", "latex", "markdown", "parquet", "records")
DEFAULT = ("pdf", "csv", "markdown")
FILES = {
    "paper.pdf": "the report, typeset",
    "report.html": "the report as one page for a browser, which needs no network",
    "table.md": "its tables as Markdown",
    "table.tex": "its tables as LaTeX, for booktabs",
    "runs": "its records, small enough to be shared: this folder is a results folder",
}
TABLES = {
    "points": "every operating point of every run",
    "comparisons": "every pair of methods, on the same test images",
    "curves": "every setting of every policy, on val and test",
    "areas": "area under each curve, accuracy at fixed budgets, and what choosing on test would have claimed",
    "iso-accuracy": "speed-up at equal accuracy, with the share of replicates that do not reach it",
    "routing": "each policy between random and perfect routing, and its agreement with the full model",
    "heads": "oracle, overthinking and flips of each run's exits",
    "exits": "accuracy, calibration error and likelihood of every exit on all samples",
    "leaving": "who leaves where: shares, their accuracy, and the final head's on the same samples",
    "failures": "failure signatures: exits that do not learn, unstable speed-ups, heads that do not pay, memory, devices",
    "classes": "depth and accuracy drop of every class",
    "learning-rates": "the learning rates that were tried, with val accuracy, where a grid tried several",
}


def report_files(out: Path) -> list[tuple[Path, str]]:
    """The report's files with what they are."""
    files = FILES | {f"{name}.{ending}": what for ending in ("csv", "parquet") for name, what in TABLES.items()}
    found = [(out / name, what) for name, what in files.items() if (out / name).exists()]
    figures = len(list((out / "figures").glob("*.pdf")))
    return [*found, (out / "figures", f"{figures} figures as PDF, SVG and PNG")] if figures else found


def is_current(out: Path, store: Store, run_ids: list[str], formats: Sequence[str] = DEFAULT) -> bool:
    """Whether the report in ``out`` was made of exactly these records by exactly this code, in these formats."""
    try:
        return json.loads((out / STAMP).read_text(encoding="utf-8")) == _stamp(store, run_ids, formats)
    except (OSError, ValueError):
        return False


def pass_for_current(out: Path, store: Store, run_ids: list[str], formats: Sequence[str] = DEFAULT) -> None:
    """Stamp a report as that of these records, whatever it shows: for measuring what goes on around a finished report."""
    (out / STAMP).write_text(json.dumps(_stamp(store, run_ids, formats), indent=1), encoding="utf-8")


def build_report(
    store: Store,
    run_ids: list[str],
    *,
    title: str,
    out: Path,
    pictures: Pictures | None = None,
    formats: Sequence[str] = DEFAULT,
    say: Callable[[str], None] = lambda _: None,
) -> list[str]:
    """Write the report of the finished ones among ``run_ids`` into ``out``, which appears whole or not at all.

    Args:
        store: the results folder, or several as one.
        run_ids: in the order of the tables.
        title: of the grid, or of what else these runs are.
        out: the report's folder.
        pictures: test images for the atlas; without them it lists sample ids.
        formats: some of `FORMATS`.
        say: is told what begins, and how far reading is.

    Returns:
        a sentence for every record that is missing, failed or damaged, and so left out.

    Raises:
        StoreError: ``out`` cannot be written, or holds something that is not a report; or no run is whole.
    """
    from results.judge.failures import failed_records
    from results.store.sharing import share
    from results.tables.loading import load_runs

    check_replaceable(out, store, formats)
    runs, problems = load_runs(store, run_ids, say)
    if not runs:
        raise StoreError("\n".join(["none of the runs can be reported", *problems]))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".unfinished-") as name:
            folder = Path(name) / "report"
            folder.mkdir()
            told = [store.without_root(problem) for problem in problems]  # a report says nothing of its machine
            _write(folder, runs, told, failed_records(store, run_ids), title, pictures, tuple(formats), say)
            if "records" in formats:
                say("records")
                share(store, run_ids, folder)
            pass_for_current(folder, store, run_ids, formats)
            if out.exists():
                shutil.rmtree(out)
            folder.rename(out)
    except OSError as error:
        raise unwritable(out, error) from error
    return problems


def check_replaceable(out: Path, store: Store, formats: Sequence[str] = DEFAULT) -> None:
    """
    Raises:
        StoreError: writing a report there would take the place of something else, of the records that it is made from, or of
            records that were shared there and would be in it no more.
    """
    if out.exists() and not (out / STAMP).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise StoreError(
            f"{out} is not empty and holds no report; name another folder with --out: a report replaces it whole"
        )
    inside = [root for root in store.roots if root.resolve().is_relative_to(out.resolve())]
    if inside:
        raise StoreError(
            f"a report in {out} would take the place of the records in {inside[0]}; name another folder with --out"
        )
    if "records" not in formats and (out / "runs").is_dir():
        raise StoreError(
            f"{out} holds shared records, which this report would take away; name another folder with --out, or share them "
            "again with report --format records"
        )


def _write(
    folder: Path,
    runs: list[Run],
    problems: list[str],
    failed: list[FailedRecord],
    title: str,
    pictures: Pictures | None,
    formats: tuple[str, ...],
    say: Callable[[str], None],
) -> None:
    from reports.exports import write_csv, write_parquet, write_readable
    from reports.study import Study

    say("tables")
    tables = _tidy_tables(runs, failed)
    metrics = {
        name: table for name, table in tables.items() if name not in ("points", "comparisons", "curves", "failures")
    }
    if "csv" in formats:
        write_csv(folder, tables)
    if "parquet" in formats:
        write_parquet(folder, tables)
    study = Study(title, runs, tables["points"], tables["comparisons"], metrics, tables["failures"], problems, pictures)
    write_readable(folder, _tables(study), formats)
    if "html" in formats:
        from reports.web.page import write_page

        say("the page")
        write_page(folder / "report.html", study)
    if "pdf" in formats and study.settings:
        from reports.outline import content
        from reports.typeset import typeset

        say("figures and the PDF")
        (folder / "figures").mkdir()
        typeset(folder, content(study, folder / "figures"))


def _tidy_tables(runs: list[Run], failed: list[FailedRecord]) -> dict[str, pd.DataFrame]:
    """Those of `TABLES` that there is something for, by name."""
    from results.judge.failures import failures
    from results.tables import metrics
    from results.tables.iso_accuracy import iso_table
    from results.tables.points import comparisons, points
    from results.tables.tuning import learning_rates

    table = points(runs)
    curves = [run.curves.assign(run_id=run.record.run_id, method=run.method, seed=run.seed) for run in runs]
    tables = {
        "points": table, "comparisons": comparisons(runs), "curves": pd.concat(curves, ignore_index=True),
        "areas": metrics.area_table(runs), "iso-accuracy": iso_table(runs), "routing": metrics.routing_table(runs),
        "heads": metrics.head_table(runs), "exits": metrics.exit_table(runs), "leaving": metrics.leaving_table(runs),
        "failures": failures(runs, failed, table), "classes": metrics.class_table(runs),
    }  # fmt: skip
    return tables | ({"learning-rates": learning_rates(runs)} if any(run.tried for run in runs) else {})


def _tables(study: Study) -> list[tuple[str, Any]]:
    """Every row of every setting, under every policy: what `table.txt` and `table.md` show."""
    from reports.study import of_setting
    from reports.tables import budget_table, cost_columns, drop_table, learning_rate_table, timing
    from results.tables.points import summary

    shown = []
    for setting in study.settings:
        runs = of_setting(study.runs, tuple(setting.where.values()))
        rows = study.table[study.table["run_id"].isin([run.record.run_id for run in runs])]
        pairs = study.comparisons
        for column, value in setting.where.items():
            pairs = pairs[pairs[column] == value]
        totals = summary(rows)
        over = "t interval over training seeds" if (totals["seeds"] > 1).any() else "bootstrap over test images"
        shown += [
            (
                f"Operating points, {setting.name}. Each is the cheapest threshold within the drop on val, looked "
                "up on test. Drop: "
                "against the backbone without exits, same seed (negative: a gain). Layers: depth over mean exit block. MACs: "
                f"backbone without exits over mean MACs, every evaluated head counted. {timing(rows)}Brackets: 95 % {over}.",
                drop_table(totals),
            ),
            (
                f"Test accuracy (%) at equal MACs, {setting.name}, as a share of the backbone without exits. "
                f"Brackets: 95 % {over}. "
                "Bold: ahead of every other method beyond the detectable difference; without bold nothing is ranked.",
                budget_table(totals, pairs),
            ),
            (
                f"Cost of leaving after each block, in million MACs, {setting.name}: stem, blocks and every head "
                "up to there. The last column: parameters of all exit heads.",
                cost_columns(runs),
            ),
        ]
        if any(run.tried for run in runs):
            shown.append(
                (
                    f"Learning rates tried, {setting.name}, and val accuracy (%), mean over all exits. Bold: the "
                    "best, which all other numbers are of; the others count nowhere.",
                    learning_rate_table(runs),
                )
            )
    return shown


def _stamp(store: Store, run_ids: list[str], formats: Sequence[str]) -> dict[str, Any]:
    """What a report depends on: the records and the code that shows them."""
    code = hashlib.sha256()
    for path in sorted(
        [
            *FOLDER.rglob("*.py"),
            *FOLDER.glob("*.typ"),
            *FOLDER.glob("*.yaml"),
            *FOLDER.glob("web/page.*"),
            *(FOLDER.parent / "results").glob("*.py"),
        ]
    ):
        code.update(path.read_bytes())
    records = {}
    for run_id in run_ids:
        path = store.run(run_id) / "record.json"
        records[run_id] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
    devices = {name: check.finished.isoformat() for name, check in read_checks(store, []).items()}
    return {
        "code": code.hexdigest(), "records": records, "latencies": store.stages("latency"), "devices": devices,
        "formats": sorted(formats),
    }  # fmt: skip

"""The report of a set of runs: figures, tables and the paper-style PDF, from records and outcomes alone."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from results.devices import read_checks
from results.store import Store, StoreError, unwritable

if TYPE_CHECKING:
    from reports.study import Pictures, Study
    from results.record import RunRecord
    from results.table import Run

FOLDER = Path(__file__).parent
STAMP = "report.json"
FILES = {
    "paper.pdf": "the report, typeset",
    "table.md": "its tables as Markdown",
    "points.csv": "every operating point of every run",
    "comparisons.csv": "every pair of methods, on the same test images",
    "curves.csv": "every setting of every policy, on val and test",
    "areas.csv": "area under each curve, accuracy at fixed budgets, and what choosing on test would have claimed",
    "iso-accuracy.csv": "speed-up at equal accuracy, with the share of replicates that do not reach it",
    "routing.csv": "each policy between random and perfect routing, and its agreement with the full model",
    "heads.csv": "oracle, overthinking and flips of each run's exits",
    "exits.csv": "accuracy, calibration error and likelihood of every exit on all samples",
    "leaving.csv": "who leaves where: shares, their accuracy, and the final head's on the same samples",
    "failures.csv": "failure signatures: exits that do not learn, unstable speed-ups, heads that do not pay, memory, devices",
    "classes.csv": "depth and accuracy drop of every class",
    "learning-rates.csv": "the learning rates that were tried, with val accuracy, where a grid tried several",
}


def report_files(out: Path) -> list[tuple[Path, str]]:
    """The report's files with what they are."""
    named = [(out / name, what) for name, what in FILES.items() if (out / name).is_file()]
    return [*named, (out / "figures", f"{len(list((out / 'figures').glob('*.pdf')))} figures as PDF")]


def is_current(out: Path, store: Store, run_ids: list[str]) -> bool:
    """Whether the report in ``out`` was made of exactly these records by exactly this code."""
    try:
        return json.loads((out / STAMP).read_text(encoding="utf-8")) == _stamp(store, run_ids)
    except (OSError, ValueError):
        return False


def pass_for_current(out: Path, store: Store, run_ids: list[str]) -> None:
    """Stamp a report as that of these records, whatever it shows: for measuring what goes on around a finished report."""
    (out / STAMP).write_text(json.dumps(_stamp(store, run_ids), indent=1), encoding="utf-8")


def build_report(
    store: Store, run_ids: list[str], *, title: str, out: Path, pictures: Pictures | None = None
) -> list[str]:
    """Write the report of the finished ones among ``run_ids`` into ``out``, which appears whole or not at all.

    Args:
        store: the results folder.
        run_ids: in the order of the tables.
        title: of the grid, or of what else these runs are.
        out: the report's folder.
        pictures: test images for the atlas; without them it lists sample ids.

    Returns:
        a sentence for every record that is missing, failed or damaged, and so left out.

    Raises:
        StoreError: ``out`` cannot be written, or holds something that is not a report.
    """
    from results.failures import failed_records
    from results.table import load_runs

    check_replaceable(out)
    runs, problems = load_runs(store, run_ids)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".unfinished-") as name:
            folder = Path(name) / "report"
            (folder / "figures").mkdir(parents=True)
            told = [
                problem.replace(f"{store.root}/", "") for problem in problems
            ]  # a report says nothing of its machine
            _write(folder, runs, told, failed_records(store, run_ids), title, pictures)
            pass_for_current(folder, store, run_ids)
            if out.exists():
                shutil.rmtree(out)
            folder.rename(out)
    except OSError as error:
        raise unwritable(out, error) from error
    return problems


def check_replaceable(out: Path) -> None:
    """
    Raises:
        StoreError: writing a report there would take the place of something else.
    """
    if out.exists() and not (out / STAMP).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise StoreError(
            f"{out} is not empty and holds no report; name another folder with --out: a report replaces it whole"
        )


def _write(
    folder: Path, runs: list[Run], problems: list[str], failed: list[RunRecord], title: str, pictures: Pictures | None
) -> None:
    from reports.outline import content
    from reports.study import Study
    from reports.tables import markdown, plain
    from reports.typeset import typeset
    from results import metrics
    from results.failures import failures
    from results.iso_table import iso_table
    from results.table import comparisons, points
    from results.tuning import learning_rates

    table, pairs = points(runs), comparisons(runs)
    found = failures(runs, failed)
    found.to_csv(folder / "failures.csv", index=False)
    table.to_csv(folder / "points.csv", index=False)
    pairs.to_csv(folder / "comparisons.csv", index=False)
    curves = [run.curves.assign(run_id=run.record.run_id, method=run.method, seed=run.seed) for run in runs]
    (pd.concat(curves, ignore_index=True) if curves else pd.DataFrame()).to_csv(folder / "curves.csv", index=False)

    tables = {
        "areas": metrics.area_table, "routing": metrics.routing_table, "heads": metrics.head_table, "exits": metrics.exit_table,
        "leaving": metrics.leaving_table, "classes": metrics.class_table, "iso-accuracy": iso_table,
    }  # fmt: skip
    if any(run.tried for run in runs):
        tables["learning-rates"] = learning_rates
    made = {name: make(runs) for name, make in tables.items()}
    for name, made_table in made.items():
        made_table.to_csv(folder / f"{name}.csv", index=False)

    study = Study(title, runs, table, pairs, made, found, problems, pictures)
    text = _tables(study)
    (folder / "table.txt").write_text(plain(text), encoding="utf-8")
    (folder / "table.md").write_text(markdown(text), encoding="utf-8")
    if study.settings:
        typeset(folder, content(study, folder / "figures"))


def _tables(study: Study) -> list[tuple[str, Any]]:
    """Every row of every setting, under every policy: what `table.txt` and `table.md` show."""
    from reports.study import of_setting
    from reports.tables import budget_table, cost_columns, drop_table, learning_rate_table
    from results.table import summary

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
                f"backbone without exits over mean MACs, every evaluated head counted. {_timing(rows)}Brackets: 95 % {over}.",
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


def _timing(rows: pd.DataFrame) -> str:
    """What the column Time is, where there is one."""
    devices = [device for device in rows["time_device"].dropna().unique() if device] if "time_device" in rows else []
    return f"Time: measured one image at a time on {' and '.join(devices)}. " if devices else ""


def _stamp(store: Store, run_ids: list[str]) -> dict[str, Any]:
    """What a report depends on: the records and the code that shows them."""
    code = hashlib.sha256()
    for path in sorted(
        [
            *FOLDER.rglob("*.py"),
            *FOLDER.glob("*.typ"),
            *FOLDER.glob("*.yaml"),
            *(FOLDER.parent / "results").glob("*.py"),
        ]
    ):
        code.update(path.read_bytes())
    records = {}
    for run_id in run_ids:
        path = store.run(run_id) / "record.json"
        records[run_id] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
    devices = {name: check.finished for name, check in read_checks(store, []).items()}
    return {"code": code.hexdigest(), "records": records, "latencies": store.stages("latency"), "devices": devices}

"""The report of a set of runs: figures, tables and the paper-style PDF, from records and outcomes alone."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

from results.devices import read_checks
from results.store import Store, StoreError, unwritable

FOLDER = Path(__file__).parent
STAMP = "report.json"
PAGE_ROWS = 60
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


def build_report(store: Store, run_ids: list[str], *, title: str, out: Path) -> list[str]:
    """Write the report of the finished ones among ``run_ids`` into ``out``, which appears whole or not at all.

    Returns:
        a sentence for every record that is missing, failed or damaged, and so left out.

    Raises:
        StoreError: ``out`` cannot be written, or holds something that is not a report.
    """
    from results.failures import failed_records, failures
    from results.table import load_runs

    check_replaceable(out)
    runs, problems = load_runs(store, run_ids)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".unfinished-") as name:
            folder = Path(name) / "report"
            (folder / "figures").mkdir(parents=True)
            _write(folder, runs, problems, title)
            failures(runs, failed_records(store, run_ids)).to_csv(folder / "failures.csv", index=False)
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


def _write(folder: Path, runs: list[Any], problems: list[str], title: str) -> None:
    from reports.tables import markdown, plain
    from results import metrics
    from results.iso_table import iso_table
    from results.table import SETTING, comparisons, points
    from results.tuning import learning_rates

    table, pairs = points(runs), comparisons(runs)
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
    for name, make in tables.items():
        make(runs).to_csv(folder / f"{name}.csv", index=False)

    settings = dict.fromkeys(run.setting for run in runs if run.has_exits)
    several = len({recipes for *_, recipes in settings}) > 1
    sections = []
    for number, setting in enumerate(settings, start=1):
        where = dict(zip(SETTING, setting, strict=True))
        chosen = _of_setting(runs, where)
        rows = table[table["run_id"].isin([run.record.run_id for run in chosen])]
        mine = pairs
        for column, value in where.items():
            mine = mine[mine[column] == value]
        name = f"{where['backbone']}, {where['dataset']}, exits {where['scheme']}"
        name += f", recipes {where['recipes']}" if several else ""
        sections.append(_section(folder, number, name, chosen, rows, mine))
    text = [(caption, shown) for section in sections for caption, shown in section["tables"]]
    (folder / "table.txt").write_text(plain(text), encoding="utf-8")
    (folder / "table.md").write_text(markdown(text), encoding="utf-8")
    if sections:
        _typeset(folder, _content(title, runs, sections, problems))


def _of_setting(runs: list[Any], where: dict[str, str]) -> list[Any]:
    """Runs of a setting, and the models without exits whose backbone was fine-tuned alike."""
    exiting = [run for run in runs if run.has_exits and run.setting == tuple(where.values())]
    finetuned = {str(_finetuning(run)) for run in exiting}
    beside = [run for run in runs if not run.has_exits and str(_finetuning(run)) in finetuned]
    return sorted(beside, key=lambda run: not run.is_static) + exiting


def _finetuning(run: Any) -> tuple[Any, ...]:
    """What a fine-tuned backbone depends on: runs that agree stand on the same one."""
    return run.backbone, run.dataset, run.seed, run.record.spec["train"]["recipes"]["finetune"]


def _section(
    folder: Path, number: int, setting: str, runs: list[Any], table: pd.DataFrame, pairs: pd.DataFrame
) -> dict[str, Any]:
    """Tables, sentences and figures of one setting."""
    from reports.figures.exits import exit_accuracy, exit_distribution
    from reports.figures.speed_accuracy import speed_accuracy
    from reports.findings import abstract, details, is_paper_scale
    from reports.style import is_wide, save_pdf
    from reports.tables import budget_table, cost_columns, drop_table, learning_rate_table
    from results.table import summary, under_own_policy

    totals, drawn = summary(table), under_own_policy(runs)
    figures = {"speed-accuracy": speed_accuracy(drawn), "exit-accuracy": exit_accuracy(drawn)}
    distribution = exit_distribution(drawn, "equal-macs", 0.5)
    if distribution is not None:
        figures["exit-distribution"] = distribution
    names = {}
    for name, figure in figures.items():
        names[name] = f"figures/{number}-{name}.pdf"
        save_pdf(figure, folder / names[name])
    over = "t interval over training seeds" if (totals["seeds"] > 1).any() else "bootstrap over test images"
    tables = [
        (
            f"Operating points, {setting}. Each is the cheapest threshold within the drop on val, looked up on test. Drop: "
            "against the backbone without exits, same seed (negative: a gain). Layers: depth over mean exit block. MACs: "
            f"backbone without exits over mean MACs, every evaluated head counted. {_timing(runs)}Brackets: 95 % {over}.",
            drop_table(totals),
        ),
        (
            f"Test accuracy (%) at equal MACs, {setting}, as a share of the backbone without exits. Brackets: 95 % {over}. "
            "Bold: ahead of every other method beyond the detectable difference; without bold nothing is ranked.",
            budget_table(totals, pairs),
        ),
        (
            f"Cost of leaving after each block, in million MACs, {setting}: stem, blocks and every head up to there. The "
            "last column: parameters of all exit heads.",
            cost_columns(runs),
        ),
    ]
    if any(run.tried for run in runs):
        tables.append(
            (
                f"Learning rates tried, {setting}, and val accuracy (%), mean over all exits. Bold: the best, which all other "
                "numbers are of; the others count nowhere.",
                learning_rate_table(runs),
            )
        )
    test_images = runs[0].record.data.sizes["test"]
    sentences = abstract(totals, pairs, test_images, not all(is_paper_scale(run) for run in runs))
    detectable = pairs[(pairs["kind"] == "equal-macs") & (pairs["target"] == 0.5)]["detectable"]
    return {
        "setting": setting,
        "tables": tables,
        "figures": names,
        "wide": [name for name, figure in figures.items() if is_wide(figure)],
        "abstract": sentences,
        "details": details(runs, pairs),
        "detectable": None if detectable.empty else f"{100 * detectable.max():.1f}",
    }


def _timing(runs: list[Any]) -> str:
    """What the column Time is, where there is one."""
    from results.table import points

    table = points([run for run in runs if run.latencies])
    devices = [] if table.empty else [device for device in table["time_device"].unique() if device]
    return f"Time: measured one image at a time on {' and '.join(devices)}. " if devices else ""


def _content(title: str, runs: list[Any], sections: list[dict[str, Any]], problems: list[str]) -> dict[str, Any]:
    """Everything that the template shows, as plain data."""
    from reports.findings import is_paper_scale, limits
    from reports.setup import facts, provenance_rows

    for section in sections:
        section["tables"] = [part for caption, table in section["tables"] for part in _parts(caption, table)]
    return {
        "title": title,
        "date": max(run.record.provenance["finished"] for run in runs)[:10],
        "runs": len(runs),
        "demonstration": not any(is_paper_scale(run) for run in runs),
        "abstract": sections[0]["abstract"],
        "more": [section["setting"] for section in sections[1:]],
        "facts": facts(runs),
        "sections": sections,
        "limits": limits(runs),
        "problems": problems,
        "provenance": provenance_rows(runs),
    }


def _parts(caption: str, table: Any) -> list[dict[str, Any]]:
    """A table as plain data; in several parts, each with whole groups of rows, if it is longer than a page."""
    rows = [
        [{"text": cell, "bold": (r, c) in table.bold} for c, cell in enumerate(row)] for r, row in enumerate(table.rows)
    ]
    parts: list[list[Any]] = [[]]
    for _, grouped in groupby(rows, key=lambda row: row[0]["text"]):
        group = list(grouped)
        if len(parts[-1]) + len(group) > PAGE_ROWS and parts[-1]:
            parts.append([])
        parts[-1] += group
    captions = [caption, *["(Continued.)"] * (len(parts) - 1)]
    return [{"caption": c, "header": table.header, "rows": part} for c, part in zip(captions, parts, strict=True)]


def _typeset(folder: Path, content: dict[str, Any]) -> None:
    import typst

    with tempfile.TemporaryDirectory(dir=folder, prefix=".typst-") as name:
        work = Path(name)
        for source in ("paper.typ", "references.yaml"):
            shutil.copy(FOLDER / source, work / source)
        shutil.copytree(folder / "figures", work / "figures")
        (work / "content.json").write_text(json.dumps(content), encoding="utf-8")
        source = str(work / "paper.typ")
        try:
            pdf = typst.compile(source, root=str(work), ignore_system_fonts=True)
        except typst.TypstError as error:
            if "internal error" not in str(error):
                raise
            # Typst's accessibility tags fail on some pages with many floats (typst#8487): better untagged than none.
            pdf = typst.compile(source, root=str(work), ignore_system_fonts=True, pdf_tags=False)
        assert isinstance(pdf, bytes)
        (folder / "paper.pdf").write_bytes(pdf)


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

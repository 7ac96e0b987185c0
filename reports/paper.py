"""Builds the report of a set of runs: tables, figures, the PDF and the page, from records and their tables alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from reports.captioned import readable_tables
from reports.exports import latex, write_csv, write_parquet, write_readable
from reports.outline import content
from reports.report_folder import DEFAULT, SUMMARY, check_replaceable, write_stamp
from reports.sections.main_table import paper_layout
from reports.study import Pictures, Study
from reports.summary_text import summary_text
from reports.tidy_tables import CONTENTS, CONTRASTS, tidy_tables
from reports.typeset import typeset
from reports.web.page import write_page
from results.judge.failures import failed_records
from results.record import FailedRecord
from results.store.files import UNFINISHED, StoreError, sweep, unfinished, unwritable
from results.store.folder import Store
from results.store.sharing import share
from results.store.tiers import SCORES, WEIGHTS, share_scores, share_weights
from results.tables.loading import load_runs
from results.tables.run import Run

FILES = {
    "paper.pdf": "the report, typeset",
    "report.html": "the report as one page for a browser, which needs no network",
    "table.txt": "its tables as text, 80 columns wide",
    "table.md": "its tables as Markdown",
    "table.tex": "its tables as LaTeX, for booktabs",
    "paper-table.tex": "the results in the layout of the LGViT paper's table, as LaTeX",
    "runs": "its records, small enough to be shared: this folder is a results folder",
    "scores": "the logits of every exit in half precision",
    "stages": "weights, scores and measured times",
} | {f"{name}.{ending}": contents for ending in ("csv", "parquet") for name, contents in CONTENTS.items()}
"""Files that a report can contain, in addition to its figures."""


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
    """Write the report of the finished runs among ``run_ids`` into ``out``, which appears whole or not at all.

    Args:
        store: the results folder, or several as one.
        run_ids: in the order of the tables.
        title: of the grid, or whatever else describes the runs.
        out: the folder of the report.
        pictures: test images for the atlas; without them it lists sample ids.
        formats: some of `reports.report_folder.FORMATS`; with ``records`` also ``scores`` and ``weights``, the tiers of
            `results.store.tiers`.
        say: called with what begins, and with the progress of reading.

    Returns:
        a sentence for every record that is missing, failed or damaged, and therefore left out.

    Raises:
        StoreError: ``out`` cannot be written or holds something that is not a report, or no run can be reported.
    """
    check_replaceable(out, store, formats)
    runs, problems = load_runs(store, run_ids, say)
    if not runs:
        raise StoreError("\n".join(["none of the runs can be reported", *problems]))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        sweep(out.parent.glob(f"{UNFINISHED}*"))
        with _temporary(out) as folder:
            portable = [store.without_root(problem) for problem in problems]  # a report names no path of its machine
            _write(folder, runs, portable, failed_records(store, run_ids), title, pictures, tuple(formats), say)
            if "records" in formats:
                say("records")
                share(store, run_ids, folder)
            if SCORES in formats:
                problems += share_scores(store, run_ids, folder)
            if WEIGHTS in formats:
                problems += share_weights(store, run_ids, folder)
            write_stamp(folder, store, run_ids, formats, FILES)
            if out.exists():
                shutil.rmtree(out)
            folder.rename(out)
    except OSError as error:
        raise unwritable(out, error) from error
    return problems


@contextmanager
def _temporary(out: Path) -> Iterator[Path]:
    """A folder beside ``out``; what a killed process leaves of it is removed by the next report there."""
    folder = unfinished(out)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
    say("tables")
    study = Study(title, runs, tidy_tables(runs, failed), problems, pictures)
    study.tidy[CONTRASTS] = study.contrasts
    if "csv" in formats:
        write_csv(folder, study.tidy)
    if "parquet" in formats:
        write_parquet(folder, study.tidy)
    write_readable(folder, readable_tables(study), formats)
    (folder / SUMMARY).write_text(summary_text(study), encoding="utf-8")
    if "latex" in formats and study.settings:
        (folder / "paper-table.tex").write_text(latex([paper_layout(study)]), encoding="utf-8")
    if "html" in formats:
        say("the page")
        write_page(folder / "report.html", study)
    if "pdf" in formats and study.settings:
        say("figures and the PDF")
        (folder / "figures").mkdir()
        typeset(folder, content(study, folder / "figures"))

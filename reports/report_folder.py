"""The folder of a report: which files it holds, whether it is current, and whether a new report may replace it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from results.store.devices import read_checks
from results.store.folder import Store, StoreError

FOLDER = Path(__file__).parent
STAMP = "report.json"
"""File that lists the inputs of the report (``inputs``), and its files with descriptions (``files``)."""
SUMMARY = "summary.txt"
"""What `run` and `report` print of a report."""
FORMATS = ("pdf", "html", "csv", "latex", "markdown", "parquet", "records")
DEFAULT = ("pdf", "csv", "markdown")
PARTS = ("stages", "runs", "progress", "logs", "devices", "submissions")
"""Folders of a results folder, in which no report is written."""
CODE = ("*.py", "*.typ", "*.yaml", "page.*")


def report_files(out: Path) -> list[tuple[Path, str]]:
    """The files of a report with their contents in words."""
    stamp = _read_stamp(out)
    files = [(out / name, contents) for name, contents in stamp.get("files", []) if (out / name).exists()]
    figures = len(list((out / "figures").glob("*.pdf")))
    return [*files, (out / "figures", f"{figures} figures as PDF, SVG and PNG")] if figures else files


def is_current(out: Path, store: Store, run_ids: list[str], formats: Sequence[str] = DEFAULT) -> bool:
    """Whether the report was made from exactly these records by exactly this code, in these formats."""
    return _read_stamp(out).get("inputs") == _inputs(store, run_ids, formats)


def write_stamp(
    out: Path, store: Store, run_ids: list[str], formats: Sequence[str], files: Mapping[str, str] | None = None
) -> None:
    """Mark a report as made from these records, and list its files (name to contents)."""
    stamp = {"inputs": _inputs(store, run_ids, formats), "files": list((files or {}).items())}
    (out / STAMP).write_text(json.dumps(stamp, indent=1), encoding="utf-8")


def check_replaceable(out: Path, store: Store, formats: Sequence[str] = DEFAULT) -> None:
    """
    Raises:
        StoreError: the folder cannot be written, or a report in it would replace other files or records.
    """
    above = next(folder for folder in out.parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        why = "is not writable" if above.is_dir() else "is no folder"
        raise StoreError(f"{out} cannot be written: {above} {why}; name another folder with --out")
    if out.exists() and not (out / STAMP).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise StoreError(f"{out} is not empty and not a report, and would be replaced; name another folder with --out")
    for root in store.roots:
        part = next((part for part in PARTS if out.resolve().is_relative_to((root / part).resolve())), None)
        if part:
            raise StoreError(f"{out} lies in {root / part}, which holds results; name another folder with --out")
    for folder in (out.resolve(), *out.resolve().parents):
        if folder.name in PARTS and all((folder.parent / part).is_dir() for part in ("runs", "stages")):
            raise StoreError(f"{out} lies in {folder}, which holds results; name another folder with --out")
    inside = [root for root in store.roots if root.resolve().is_relative_to(out.resolve())]
    if inside:
        raise StoreError(f"a report in {out} would replace the records in {inside[0]}; name another folder with --out")
    if "records" not in formats and (out / "runs").is_dir():
        raise StoreError(
            f"{out} contains shared records, which this report would remove; name another folder with --out, or write "
            "them again with report --format records"
        )


def _read_stamp(out: Path) -> dict[str, Any]:
    try:
        stamp = json.loads((out / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def code_files() -> list[Path]:
    """The files of reports/ and results/, in all their folders, that determine what a report shows."""
    folders = (FOLDER, FOLDER.parent / "results")
    data = {folder / name for folder in folders for name in ("out", "reference", "runs", "stages")}
    paths = {path for folder in folders for pattern in CODE for path in folder.rglob(pattern)}
    return sorted(path for path in paths if not data & set(path.parents))


def _inputs(store: Store, run_ids: list[str], formats: Sequence[str]) -> dict[str, Any]:
    """Everything on which a report depends: records, latencies, device checks, code and formats."""
    code = hashlib.sha256()
    for path in code_files():
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

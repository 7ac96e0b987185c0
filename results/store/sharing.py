"""Copies of runs for a repository, without per-exit confidences, weights and scores.

The columns `score`, `confidence` and `nll` take 90 % of the space of a classification.
A report without them lacks only calibration.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from results.record import DoneRecord
from results.store.devices import read_checks, write_check
from results.store.folder import Store, StoreError
from results.store.latency import FILE, Latency
from results.store.probes import FILE as PROBES
from results.store.probes import KIND, Probes
from results.store.representations import KINDS, file_of, read_stage
from results.store.run_files import read_run_file, tables_of

if TYPE_CHECKING:
    from pyarrow import Table

LEFT_OUT = {"outcomes": ("score",), "answers": ("confidence", "nll")}
"""Columns by table."""
NARROW = ("exit", "prediction", "label")


def share(store: Store, run_ids: Sequence[str], target: Path) -> None:
    """Copy runs to another results folder, with their times, what `explain` measured, and the checks of devices.

    Args:
        store: the results folder to copy from.
        run_ids: the runs to copy. Missing and damaged runs are skipped; reports name them.
        target: the results folder to copy to, which does not contain these runs.

    Raises:
        StoreError: the copy cannot be written.
    """
    copy = Store(target)
    for run_id in run_ids:
        try:
            record = store.record(run_id)
            tables = _tables(store, record) if record.status == "done" else {}
        except (StoreError, OSError, ValueError):  # pyarrow's errors are ValueErrors
            continue
        with copy.write_run(record) as folder:
            for name, table in tables.items():
                _write(table, folder / f"{name}.parquet")
    _copy_latencies(store, copy)
    _copy_explanations(store, copy)
    for check in read_checks(store, []).values():
        write_check(copy, check)


def _tables(store: Store, record: DoneRecord) -> dict[str, Table]:
    from pyarrow import BufferReader
    from pyarrow.parquet import read_table

    tables = {
        name: read_table(BufferReader(read_run_file(store.table(record.run_id, f"{name}.parquet"), record)))
        for name in tables_of(record)
    }
    return {
        name: table.select([column for column in table.column_names if column not in LEFT_OUT.get(name, ())])
        for name, table in tables.items()
    }


def _write(table: Table, path: Path) -> None:
    """Write a table sorted by sample id. This halves the compressed size, because most predictions for a sample are equal.

    Sorted sample ids are delta-encoded to a negligible size.
    """
    from pyarrow import ArrowInvalid
    from pyarrow.parquet import write_table

    encodings = {}
    if "sample_id" in table.column_names:
        table = table.take(np.argsort(table.column("sample_id").to_numpy(), kind="stable"))
        encodings["sample_id"] = "DELTA_BINARY_PACKED"
    for index, name in enumerate(table.column_names):
        if name in NARROW:
            with suppress(ArrowInvalid):  # more than 256 classes
                table = table.set_column(index, name, table.column(index).cast("uint8"))
    write_table(
        table.replace_schema_metadata(), path, compression="zstd", compression_level=19,
        use_dictionary=[name for name in table.column_names if name not in encodings], column_encoding=encodings or None,
    )  # fmt: skip


def _copy_latencies(store: Store, copy: Store) -> None:
    """Copy the measured times of the copied runs."""
    run_ids = set(copy.run_ids())

    def belongs(name: str) -> bool:
        content = store.artifact(name, FILE).read_bytes()
        return Latency.model_validate_json(content).run_id in run_ids

    _copy_stages(store, copy, "latency", FILE, belongs)


def _copy_explanations(store: Store, copy: Store) -> None:
    """Copy the probes and the measures of representations of the backbones of the copied runs."""
    records = []
    for run_id in copy.run_ids():
        with suppress(StoreError):
            records.append(copy.done_record(run_id))

    def has_probed(name: str) -> bool:
        probes = Probes.model_validate_json(store.artifact(name, PROBES).read_bytes())
        return any(probes.fits(record) for record in records)

    def has_measured(name: str) -> bool:
        return any(read_stage(store, name).fits(record) for record in records)

    _copy_stages(store, copy, KIND, PROBES, has_probed)
    for kind in KINDS:
        _copy_stages(store, copy, kind, file_of(kind), has_measured)


def _copy_stages(store: Store, copy: Store, kind: str, file: str, belongs: Callable[[str], bool]) -> None:
    """Copy the stages of a kind that belong to the copied runs, by name; damaged ones are skipped."""
    for name in store.stages(kind):
        try:
            content = store.plain_file(store.artifact(name, file)).read_bytes()
            if not belongs(name):
                continue
            fields, provenance = store.manifest(name)["fields"], store.provenance(name)
        except (StoreError, OSError, ValueError, KeyError, TypeError):
            continue
        with copy.write_stage(name, fields, provenance) as folder:
            (folder / file).write_bytes(content)

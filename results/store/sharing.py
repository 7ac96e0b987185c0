"""A copy of runs that is small enough for a repository: all that tables are made of but what every exit's confidence was.

Weights and scores are left behind, and so are `score`, `confidence` and `nll`, real numbers a sample and exit that take nine
tenths of the room. Without them calibration alone cannot be told; the rest of a report comes out the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from results.store.devices import read_checks, write_check
from results.store.folder import TABLES, Store, StoreError
from results.store.latency import FILE, Latency

if TYPE_CHECKING:
    from pyarrow import Table

LEFT_OUT = ("score", "confidence", "nll")
NARROW = ("exit", "prediction", "label")


def share(store: Store, run_ids: Sequence[str], target: Path) -> None:
    """Copy runs into another results folder, with the times measured on them and the checks of devices.

    Args:
        store: where they are.
        run_ids: those that are missing or damaged are passed over: a report names them.
        target: the folder of the copy, without these runs.

    Raises:
        StoreError: the copy cannot be written.
    """
    copy = Store(target)
    for run_id in run_ids:
        try:
            record = store.record(run_id)
            tables = _tables(store, run_id) if record.status == "done" else {}
        except (StoreError, OSError, ValueError):  # pyarrow's errors are ValueErrors
            continue
        with copy.write_run(record) as folder:
            for name, table in tables.items():
                _write(table, folder / f"{name}.parquet")
    _copy_latencies(store, copy)
    for check in read_checks(store, []).values():
        write_check(copy, check)


def _tables(store: Store, run_id: str) -> dict[str, Table]:
    from pyarrow.parquet import read_table

    found = {name: read_table(store.table(run_id, f"{name}.parquet")) for name in TABLES}
    return {name: table.select([c for c in table.column_names if c not in LEFT_OUT]) for name, table in found.items()}


def _write(table: Table, path: Path) -> None:
    """A sample's rows together, as it mostly answers alike under every setting: half the room, once compressed. Its id is then
    a step from the last one: as a difference it takes next to none."""
    from pyarrow import ArrowInvalid
    from pyarrow.parquet import write_table

    encodings = {}
    if "sample_id" in table.column_names:
        table = table.take(np.argsort(table.column("sample_id").to_numpy(), kind="stable"))
        encodings["sample_id"] = "DELTA_BINARY_PACKED"
    for index, name in enumerate(table.column_names):
        if name in NARROW:
            with suppress(ArrowInvalid):  # more classes than fit
                table = table.set_column(index, name, table.column(index).cast("uint8"))
    write_table(
        table.replace_schema_metadata(), path, compression="zstd", compression_level=19,
        use_dictionary=[name for name in table.column_names if name not in encodings], column_encoding=encodings or None,
    )  # fmt: skip


def _copy_latencies(store: Store, copy: Store) -> None:
    """Those of the runs that were copied."""
    wanted = set(copy.run_ids())
    for name in store.stages("latency"):
        try:
            content = store.own(store.artifact(name, FILE)).read_bytes()
            if Latency.model_validate_json(content).run_id not in wanted:
                continue
            fields, provenance = store.manifest(name)["fields"], store.provenance(name)
        except (StoreError, OSError, ValueError, KeyError, TypeError):
            continue
        with copy.write_stage(name, fields, provenance) as folder:
            (folder / FILE).write_bytes(content)

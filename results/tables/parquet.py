"""Reads the Parquet tables beside a record."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pandas as pd
from pyarrow import ArrowInvalid, BufferReader
from pyarrow.parquet import ParquetFile

from results.record import DoneRecord
from results.store.folder import StoreError
from results.store.run_files import read_run_file

MAX_ROWS = 50_000_000  # of a table
MAX_TABLE_BYTES = 2**32  # size of a table in memory, as stated in the file
SMALL = {"sample_id": "int32", "exit": "int16", "prediction": "int16", "label": "int16", "class": "int16"}


def read_table(
    path: Path, record: DoneRecord, categorical: Sequence[str] = (), max_rows: int = MAX_ROWS
) -> pd.DataFrame:
    """A table beside a record. Integers get small types, because a report can have a thousand tables in memory.

    Args:
        path: path of the Parquet file.
        record: the record, which has the file's hash.
        categorical: text columns with few distinct values.
        max_rows: largest number of rows that is read, because the file may come from a stranger.

    Raises:
        StoreError: the table is missing, too large or invalid, or was changed since the record was written.
    """
    content = read_run_file(path, record)
    try:
        with ParquetFile(BufferReader(content), read_dictionary=list(categorical)) as file:
            size = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
            if file.metadata.num_rows > max_rows or size > MAX_TABLE_BYTES:
                rows = f"{file.metadata.num_rows:,} rows of {size:,} bytes"
                raise ValueError(f"it has {rows}; at most {max_rows:,} rows fit the record")
            table = file.read(use_threads=False)
        for index, name in enumerate(table.column_names):
            if name in SMALL:
                with suppress(ArrowInvalid):  # a value is too large, or the column does not have integers
                    table = table.set_column(index, name, table.column(index).cast(SMALL[name]))
        return table.to_pandas(split_blocks=True, use_threads=False)
    except (OSError, ValueError, KeyError) as error:  # pyarrow's errors are ValueErrors; KeyError: no such column
        raise StoreError(f"{path}: cannot be read ({error})") from error

"""Files that a command writes to a path given by the user. Other files are not replaced."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from results.store.files import StoreError, write_file
from results.text import for_spreadsheet


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV to a path given by the user.

    A table with the same columns is replaced. A device or a pipe is written to.

    Raises:
        StoreError: the path is a folder or another file, or cannot be written.
    """
    text = without_formulas(table).to_csv(index=False)
    header = text.partition("\n")[0]
    write_output(path, text, lambda earlier: _has_header(earlier, header), "a table")


def write_output(path: Path, text: str, is_earlier: Callable[[Path], bool], kind: str) -> None:
    """Write a file to a path given by the user. A device or a pipe is written to.

    Args:
        path: of the file; missing folders are created.
        text: its content.
        is_earlier: whether an existing file is an earlier output of the command, which is replaced.
        kind: of the file, with its article, for the message.

    Raises:
        StoreError: the path is a folder or another file, or cannot be written.
    """
    target = path.resolve()
    if target.is_dir():
        raise StoreError(f"--out: {path} is a folder; set a file")
    if target.exists() and not target.is_file():
        _write_special(target, text.encode())
        return
    if target.is_file() and target.stat().st_size and not is_earlier(target):
        raise StoreError(f"--out: {path} exists and is not {kind} of this command; use another file")
    write_file(target, text.encode())


def _write_special(path: Path, content: bytes) -> None:
    """Write into a device or a pipe. A pipe that no program reads is an error: the usual opening would wait for one for ever.

    Raises:
        StoreError: it cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        os.set_blocking(descriptor, True)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    except OSError as error:
        reason = "no program reads from this pipe" if error.errno == errno.ENXIO else error.strerror
        raise StoreError(f"--out: cannot write {path}: {reason}") from error


def without_formulas(table: pd.DataFrame) -> pd.DataFrame:
    """The table with text that spreadsheets do not interpret as formulas."""
    texts = [str(name) for name in table if not pd.api.types.is_numeric_dtype(table[name])]
    changed = {
        name: table[name].map(lambda value: for_spreadsheet(value) if isinstance(value, str) else value)
        for name in texts
    }
    return table.assign(**changed)


def _has_header(path: Path, header: str) -> bool:
    with path.open("rb") as file:
        return file.read(len(header.encode()) + 1).rstrip(b"\r\n") == header.encode()

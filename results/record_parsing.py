"""Parsing of record files, which may come from strangers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from results.record import SCHEMA, RunRecord
from results.sealed import unsealed
from results.text import UNSAFE, printable

_RECORD: TypeAdapter[RunRecord] = TypeAdapter(Annotated[RunRecord, Field(discriminator="status")])


def parse_record(content: bytes) -> RunRecord:
    """The record in the content of a file.

    Raises:
        SchemaError: the record has another schema.
        ValueError: the content is not a record, does not match its checksum, or contains characters of `UNSAFE` other than
            newlines.
    """
    record = _RECORD.validate_python(record_fields(content))
    text = content.decode()
    if "\\" in text or UNSAFE.search(text.replace("\n", "")):  # most records have no escapes: a quick check suffices
        refuse_control_characters(record.model_dump(exclude={"cause"}))
    return record


def refuse_control_characters(content: Any) -> None:
    """Check all texts in nested data.

    Raises:
        ValueError: a text contains characters of `UNSAFE` other than newlines.
    """
    for value in _texts(content):
        if UNSAFE.search(value.replace("\n", "")):
            raise ValueError(f"{printable(value[:60])!r} contains control characters")


def record_fields(content: bytes) -> dict[str, Any]:
    """The fields of a record, not yet validated.

    Raises:
        SchemaError: the record has another schema.
        ValueError: the content is not a JSON object, or does not match its checksum.
    """
    fields = unsealed(content)
    if fields.get("schema_version") != SCHEMA:
        raise SchemaError(fields.get("schema_version"))
    return fields


class SchemaError(ValueError):
    """Another version of this suite wrote the record."""

    def __init__(self, schema: object) -> None:
        super().__init__(
            f"another version of this suite wrote it (schema {str(schema)[:20]!r}, this version reads {SCHEMA})"
        )


def _texts(content: Any) -> Iterator[str]:
    """All texts in nested data, keys included."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict):
        for key, value in content.items():
            yield str(key)
            yield from _texts(value)
    elif isinstance(content, list | tuple):
        for value in content:
            yield from _texts(value)

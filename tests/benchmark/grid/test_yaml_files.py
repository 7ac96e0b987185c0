"""YAML files are read strictly, by the core schema; every problem is one sentence."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.errors import UserError
from benchmark.grid.yaml_files import MAX_BYTES, MAX_DEPTH, TextLoader, ValueLoader, read_mapping, read_value


@pytest.mark.parametrize(("text", "value"), [
    ("010", 10), ("-3", -3), ("1e-3", 0.001), (".5", 0.5), ("2.", 2.0), ("true", True), ("null", None), ("~", None),
    ("", None), ("yes", "yes"), ("on", "on"), ("2001-13-45", "2001-13-45"), ("12:00:00", "12:00:00"), ("0b_", "0b_"),
    ("0x_", "0x_"), ("0x10", "0x10"), ("1_000", "1_000"), ("'1'", "1"), ("[1, a]", [1, "a"]), ("{a: 1}", {"a": 1}),
])  # fmt: skip
def test_values_follow_the_core_schema(text: str, value: Any) -> None:
    assert read_value(text) == value
    assert type(read_value(text)) is type(value)


def test_an_invalid_value_is_one_sentence() -> None:
    with pytest.raises(ValueError, match="not a valid value"):
        read_value("{")


def write(folder: Path, text: str) -> Path:
    path = folder / "file.yaml"
    path.write_text(text, encoding="utf-8")
    return path


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30))


@pytest.mark.parametrize("text", [
    "a: 1\na: 2", BOMB, "a: !!int abc", "a: !!python/name:os.system", "a: !x 1", f"a: {'9' * 5000}", "a: [",
    "a: " + "[" * 3000 + "]" * 3000, "a: " + "{b: " * 3000, "a: \x00", "? [1]\n: 2", "[]", "a", "",
], ids=range(14))  # fmt: skip
def test_a_damaged_file_is_one_sentence(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UserError) as error:
        read_mapping(path, ValueLoader, "a mapping with keys")
    (message,) = error.value.messages
    assert message.startswith(str(path))
    assert len(message) < 600
    assert "sys." not in message  # Python's advice to raise its limit of digits


def test_limits(tmp_path: Path) -> None:
    deep = "a: " + "[" * (MAX_DEPTH - 2) + "]" * (MAX_DEPTH - 2)
    assert read_mapping(write(tmp_path, deep), ValueLoader, "")
    with pytest.raises(UserError, match=f"{MAX_BYTES:,}"):
        read_mapping(write(tmp_path, "a: " + "x" * MAX_BYTES), ValueLoader, "")


def test_text_stays_text(tmp_path: Path) -> None:
    path = write(tmp_path, "time: 12:00:00\nnodes: 010\nsbatch: {mail-type: END}\nempty:")
    keys = {"time": "12:00:00", "nodes": "010", "sbatch": {"mail-type": "END"}, "empty": ""}
    assert read_mapping(path, TextLoader, "") == keys


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab:&*!{}[]|>-?'\"#%@\n 019.e~_", max_size=60))
def test_any_text_is_a_value_or_one_error_sentence(text: str) -> None:
    with suppress(ValueError):
        read_value(text)

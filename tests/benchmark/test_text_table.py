"""Tables that fit the terminal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from benchmark.text_table import left_out, text_table, without_constants

COLUMNS = {
    "run": ["0a", "1b"],
    "method": ["lgvit", "homogeneous-local"],
    "exits": ["paper", "paper"],
    "MACs": ["1.5x", "12x"],
}


def test_columns_are_aligned() -> None:
    assert text_table(COLUMNS, 80, right=["MACs"]) == [
        "run  method             exits  MACs",
        "0a   lgvit              paper  1.5x",
        "1b   homogeneous-local  paper   12x",
    ]


def test_optional_columns_leave_in_their_order_until_the_table_fits() -> None:
    assert text_table(COLUMNS, 30, optional=["exits", "method"])[0] == "run  method             MACs"
    assert text_table(COLUMNS, 12, optional=["exits", "method"])[0] == "run  MACs"
    assert left_out(COLUMNS, 80, ["exits", "method"]) == []
    assert left_out(COLUMNS, 30, ["exits", "method"]) == ["exits"]


def test_what_all_rows_share_is_said_once() -> None:
    left, constant = without_constants(COLUMNS, ["method", "exits"])
    assert list(left) == ["run", "method", "MACs"]
    assert constant == "exits paper"
    assert without_constants({"a": []}, ["a"]) == ({"a": []}, "")


@given(st.integers(1, 60), st.lists(st.text("ab c", max_size=9), min_size=1, max_size=5))
def test_no_cell_is_broken_or_lost(width: int, cells: list[str]) -> None:
    lines = text_table({"x": cells, "y": cells}, width, optional=["y"])
    assert len(lines) == len(cells) + 1
    assert all(cell.rstrip() in line for cell, line in zip(cells, lines[1:], strict=True))
    assert all(len(line) <= width for line in lines) or not lines[0].endswith("y")

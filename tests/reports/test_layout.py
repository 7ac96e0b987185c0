"""What long names and long tables do to figures and pages: nothing is cut off."""

from __future__ import annotations

from itertools import groupby

import matplotlib as mpl
import pytest

from reports.blocks import PAGE_ROWS, parts
from reports.style import RC, add_legend, is_wide, new_figure
from reports.tables import Table


@pytest.mark.parametrize(("count", "length", "wide"), [
    (4, 12, False), (9, 20, False), (9, 48, True), (12, 30, True), (24, 50, True),
])  # fmt: skip
def test_a_legend_stays_inside_its_figure(count: int, length: int, wide: bool) -> None:
    names = [f"{i:02d}{'e' * (length - 2)}" for i in range(count)]  # a letter of average width
    with mpl.rc_context(RC):
        figure = new_figure(2.0, names)
        axes = figure.subplots()
        for name in names:
            axes.plot([0, 1], [0, 1], label=name)
        add_legend(axes, loc="lower right")
        figure.canvas.draw()
    (legend,) = figure.legends or [axes.get_legend()]
    box, frame = legend.get_window_extent(), figure.bbox
    assert is_wide(figure) is wide
    assert frame.x0 <= box.x0
    assert box.x1 <= frame.x1
    assert frame.y0 <= box.y0


def test_a_table_longer_than_a_page_is_parted_between_its_groups() -> None:
    rows = tuple((f"method {i // 4}", str(i)) for i in range(4 * 40))
    pages = parts("All.", Table(("Method", "Point"), rows, frozenset({(70, 1)})))
    assert [part["caption"] for part in pages] == ["All.", "(Continued.)", "(Continued.)"]
    assert all(len(part["rows"]) <= PAGE_ROWS for part in pages)
    found = [[cell["text"] for cell in row] for part in pages for row in part["rows"]]
    assert found == [list(row) for row in rows]
    assert [row[1]["text"] for part in pages for row in part["rows"] if row[1]["bold"]] == ["70"]
    first = [name for part in pages for name, _ in groupby(row[0]["text"] for row in part["rows"])]
    assert len(first) == len(set(first))  # no method is in two parts

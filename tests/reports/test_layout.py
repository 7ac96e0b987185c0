"""Figures and pages with many methods, long names and long tables: nothing is cut off, covered or lost."""

from __future__ import annotations

from itertools import groupby, pairwise

import matplotlib as mpl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from methods import METHODS
from reports.blocks import PAGE_ROWS, Section, Shown, Text, as_data, parts
from reports.figures.line_labels import spread_apart
from reports.figures.panels import ONE_PANEL, legend_below, panel_figure, spread
from reports.figures.teaser import teaser
from reports.numbering import number_floats, ref
from reports.sections.realised import counted_three_ways
from reports.study import Study
from reports.style import RC, is_wide, looks
from reports.tables import Table
from reports.tidy_tables import tidy_tables
from results.store.folder import Store
from results.tables.loading import load_runs
from tests.conftest import ROOT
from tests.reports.registered import registered


@given(st.integers(0, 200), st.booleans())
def test_every_method_is_in_a_panel_and_the_reference_in_each(count: int, there: bool) -> None:
    names = [f"method {i}" for i in range(count)]
    panels = spread(names, names[0] if there and names else "elsewhere")
    assert all(len(panel) <= ONE_PANEL for panel in panels)
    assert set().union(*panels) == set(names)
    if len(panels) > 1:
        others = [name for panel in panels for name in panel if not there or name != names[0]]
        assert others == names[1:] if there else others == names
        assert all((names[0] in panel) for panel in panels) is there


@pytest.mark.parametrize(("count", "length"), [(1, 6), (4, 12), (6, 48), (9, 20), (24, 50), (60, 30)])
def test_legends_stay_inside_the_figure_and_cover_no_axes(count: int, length: int) -> None:
    names = [" ".join([f"{i:02d}", *["eeee"] * (length // 5)]) for i in range(count)]
    panels = spread(names, names[0])
    figure, cells = panel_figure(panels, 1.8)
    with mpl.rc_context(RC):
        for axes, shown in zip(cells, panels, strict=True):
            for name in [*shown, "static"]:
                axes.plot([0, 1], [0, 1], label=name)
            axes.set_xlabel("mean MACs")
            legend_below(axes, columns=min(len(panels), 3))
        figure.draw_without_rendering()
    assert is_wide(figure) is (len(panels) > 1)
    boxes = [axes.get_legend().get_window_extent() for axes in cells]  # type: ignore[union-attr]
    for box in boxes:
        assert figure.bbox.x0 <= box.x0
        assert box.x1 <= figure.bbox.x1 + 1
        assert figure.bbox.y0 <= box.y0
        assert not any(box.overlaps(axes.get_window_extent()) for axes in cells)
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])


def test_long_names_beside_the_bars_of_the_first_figure_cut_nothing_off() -> None:
    store = Store(ROOT / "results" / "reference")
    of_seed = [
        run_id
        for run_id in store.run_ids()
        if "-s0-" in run_id and run_id.startswith(("lgvit", "static", "homogeneous-local"))
    ]
    runs, _ = load_runs(store, of_seed)
    study = Study("t", runs, tidy_tables(runs, []))
    assert max(len(name) for name in study.display.values()) > 40
    speeds = counted_three_ways(study.main[0], study.points)
    figure = teaser(study, study.main[0], speeds)
    with mpl.rc_context(RC):
        figure.draw_without_rendering()
    for axes in figure.axes:
        box = axes.get_tightbbox()
        assert box is not None
        assert figure.bbox.x0 - 1 <= box.x0
        assert box.x1 <= figure.bbox.x1 + 1
    left, right = (axes.get_window_extent() for axes in figure.axes)
    assert right.width > left.width / 2  # the names leave room for the bars


def test_every_registered_method_has_a_look_of_its_own_that_never_changes() -> None:
    methods = {name: registered(name) for name in METHODS}
    alone = {name: looks({name: method})[name] for name, method in methods.items()}
    assert len(set(alone.values())) == len(METHODS)
    assert looks({**methods, "a": None, "b(c=1)": None}).items() >= alone.items()


@given(st.sets(st.text("abc(=)_1", min_size=1), max_size=30))
def test_variants_are_labelled_in_any_order(names: set[str]) -> None:
    lgvit = registered("lgvit")
    chosen = looks({"lgvit": lgvit, **dict.fromkeys(sorted(names))})
    assert len(set(chosen.values())) == len(names) + 1
    assert chosen == looks({**dict.fromkeys(sorted(names, reverse=True)), "lgvit": lgvit})


def test_a_table_longer_than_a_page_is_split_between_groups() -> None:
    rows = tuple((f"method {i // 4}", str(i)) for i in range(4 * 40))
    pages = parts("All.", Table(("Method", "Point"), rows, frozenset({(70, 1)})))
    assert [page["caption"] for page in pages] == ["All.", "All, part 2 of 3.", "All, part 3 of 3."]
    assert all(len(page["rows"]) <= PAGE_ROWS for page in pages)
    rows_of_pages = [[cell["text"] for cell in row] for page in pages for row in page["rows"]]
    assert rows_of_pages == [list(row) for row in rows]
    assert [row[1]["text"] for page in pages for row in page["rows"] if row[1]["bold"]] == ["70"]
    first = [name for page in pages for name, _ in groupby(row[0]["text"] for row in page["rows"])]
    assert len(first) == len(set(first))  # no method is in two parts


@given(st.lists(st.sampled_from(["text", "narrow", "wide"]), max_size=20))
def test_floats_keep_their_order_and_none_is_lost(kinds: list[str]) -> None:
    table = Table(("A",), (("1",),))
    blocks = [
        Text(str(i)) if kind == "text" else Shown(str(i), table, kind == "narrow") for i, kind in enumerate(kinds)
    ]
    (section,) = as_data([Section("s", tuple(blocks))], figures=None)  # type: ignore[arg-type]
    floats = [data["parts"] for data in section["blocks"] if data["kind"] == "float"]
    assert sorted(int(one["caption"]) for row in floats for one in row) == [
        i for i, kind in enumerate(kinds) if kind != "text"
    ]
    assert all(len(row) == 1 or (len(row) == 2 and not any(one["wide"] for one in row)) for row in floats)
    for wide in (True, False):
        numbers = [int(one["caption"]) for row in floats for one in row if one["wide"] is wide]
        assert numbers == sorted(numbers)


@given(st.lists(st.tuples(st.floats(-5, 15), st.floats(0.1, 0.9)), min_size=1, max_size=10))
def test_names_of_lines_do_not_overlap_and_keep_their_order(boxes: list[tuple[float, float]]) -> None:
    positions, heights = [list(values) for values in zip(*boxes, strict=True)]
    centres = spread_apart(positions, heights, 0.0, 10.0)
    order = sorted(range(len(boxes)), key=lambda i: centres[i])
    assert [positions[i] for i in order] == sorted(positions)
    for one, other in pairwise(order):
        assert centres[other] - centres[one] >= (heights[one] + heights[other]) / 2 - 1e-9
    assert all(centre - height / 2 >= -1e-9 for centre, height in zip(centres, heights, strict=True))
    assert all(centre + height / 2 <= 10 + 1e-9 for centre, height in zip(centres, heights, strict=True))


def test_names_with_room_stay_where_they_belong() -> None:
    assert spread_apart([7.0, 1.0, 4.0], [0.5, 0.5, 0.5], 0.0, 10.0) == pytest.approx([7, 1, 4])


def test_floats_are_numbered_in_their_order_and_cited_by_number() -> None:
    table, figure = ({"kind": kind, "name": kind, "caption": f"see {ref('figure')}"} for kind in ("table", "figure"))
    text = {"kind": "text", "text": f"{ref('table')}, {ref('missing')}"}
    section = {"title": "t", "blocks": [text, {"kind": "float", "parts": [table, figure]}]}
    teaser = {"kind": "figure", "name": "teaser"}
    content = number_floats({"teaser": teaser, "claims": [], "sections": [section], "appendix": []})
    cited, float_ = content["sections"][0]["blocks"]
    assert cited["text"] == "Table 1, the files of the report"
    assert [part["number"] for part in float_["parts"]] == ["Table 1", "Figure 2"]
    assert {part["caption"] for part in float_["parts"]} == {"see Figure 2"}

"""A run is named by its id, by the beginning of the id, or by its short id."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.errors import UserError
from benchmark.run_reference import find_run, short_id

RUNS = ["lgvit-vit_nano-paper-s0-10c85181", "lgvit-vit_nano-paper-s1-fadcf5d8", "vanilla-vit_nano-paper-s0-c358c46c"]


@pytest.mark.parametrize(("reference", "position"), [
    (RUNS[0], 0), ("vanilla", 2), ("lgvit-vit_nano-paper-s1", 1), ("fadcf5d8", 1), ("fadc", 1), ("c3", 2),
])  # fmt: skip
def test_ids_beginnings_and_short_ids(reference: str, position: int) -> None:
    assert find_run(reference, RUNS, "results") == RUNS[position]


def test_an_ambiguous_beginning_lists_the_candidates() -> None:
    with pytest.raises(UserError) as error:
        find_run("lgvit", RUNS, "results")
    assert RUNS[0] in str(error.value)
    assert RUNS[1] in str(error.value)
    assert RUNS[2] not in str(error.value)


@pytest.mark.parametrize("reference", ["lgvitt-vit_nano-paper-s0-10c85181", "", "-", "ffff"])
def test_an_unknown_run_names_those_that_are_there(reference: str) -> None:
    with pytest.raises(UserError) as error:
        find_run(reference, RUNS, "the results folder")
    assert all(part in str(error.value) for part in (repr(reference), "the results folder", *RUNS))


def test_an_empty_folder_is_named_and_a_full_one_not_listed_whole() -> None:
    with pytest.raises(UserError, match="no run in here"):
        find_run("lgvit", [], "here")
    with pytest.raises(UserError) as error:
        find_run("x", [f"run-{number:08x}" for number in range(1000)], "here")
    assert len(str(error.value)) < 400


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.from_regex(r"[a-c]{1,3}-[0-9a-f]{8}", fullmatch=True), min_size=1, max_size=8, unique=True), st.data()
)
def test_a_whole_id_always_wins(run_ids: list[str], data: st.DataObject) -> None:
    run_id = data.draw(st.sampled_from(run_ids))
    assert find_run(run_id, run_ids, "here") == run_id
    if sum(short_id(other) == short_id(run_id) for other in run_ids) == 1:
        assert find_run(short_id(run_id), run_ids, "here") == run_id

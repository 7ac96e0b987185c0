"""Exit schemes follow their documented rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from methods.placement import PUBLISHED, SCHEMES, place_exits


def test_four_exits_on_twelve_blocks() -> None:
    placed = {scheme: place_exits(scheme, 12, 4) for scheme in SCHEMES if scheme not in ("paper", PUBLISHED)}
    assert placed == {
        "shallow": (1, 2, 3, 4),
        "middle": (4, 5, 6, 7),
        "deep": (8, 9, 10, 11),
        "uniform": (2, 5, 8, 11),
    }


def test_exits_of_the_paper() -> None:
    assert place_exits("paper", 12) == (4, 5, 6, 7, 8, 9, 10, 11)
    assert place_exits("paper", 24) == (4, 7, 10, 13, 16, 19, 22, 23)
    with pytest.raises(ValueError, match="18"):
        place_exits("paper", 18)
    with pytest.raises(ValueError, match=r"8 .*4"):
        place_exits("paper", 12, 4)


@given(st.sampled_from(sorted(SCHEMES.keys() - {"paper", PUBLISHED})), st.integers(2, 60), st.data())
def test_exits_are_distinct_ascending_and_before_the_last_block(scheme: str, depth: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, depth - 1))
    blocks = place_exits(scheme, depth, count)
    assert len(blocks) == count
    assert list(blocks) == sorted(set(blocks))
    assert blocks[0] >= 1
    assert blocks[-1] < depth


@given(st.sampled_from(sorted(SCHEMES.keys() - {"paper", PUBLISHED})), st.integers(2, 60))
def test_more_exits_than_blocks_is_an_error(scheme: str, depth: int) -> None:
    with pytest.raises(ValueError, match=str(depth)):
        place_exits(scheme, depth, depth)

from __future__ import annotations

import pandas as pd
import pytest

from results.tables.points import timed_seeds


@pytest.mark.parametrize(
    ("devices", "named"),
    [
        (["a CPU", "", ""], "seed 0"),
        (["a CPU", None, "a CPU"], "seeds 0, 2"),
        (["a CPU", "a CPU", "a CPU"], ""),
        (["", None, ""], ""),
    ],
)
def test_seeds_are_named_where_not_all_were_timed(devices: list[str | None], named: str) -> None:
    assert timed_seeds(pd.DataFrame({"seed": [0, 1, 2], "time_device": devices})) == named

"""Tables as text: nothing is lost where a table is wider than the terminal."""

from __future__ import annotations

from reports.tables import Table
from reports.text_tables import NAME, plain

WIDE = Table(
    ("Method", "Point", *(f"Column {c}" for c in range(6))),
    tuple(
        ("a method with a name of many words", f"≤ {r} points", *(f"value {r}.{c}" for c in range(6))) for r in range(3)
    ),
    frozenset({(1, 2)}),
    keys=2,
)


def test_a_wide_table_continues_below_with_its_keys() -> None:
    text = plain([("A caption.", WIDE)], 60)
    assert max(map(len, text.splitlines())) <= 60
    assert text.count("≤ 2 points") > 1
    for row in WIDE.rows:
        for cell in row[2:]:
            assert text.count(cell) == 1
    assert "value 1.0*" in text
    names = [line for line in text.splitlines() if line.startswith("a method")]
    assert all(len(line.split("  ")[0]) <= NAME for line in names)


def test_words_that_do_not_fit_beside_the_keys_continue_below() -> None:
    statements = [" ".join(f"word{r}.{n}" for n in range(20)) for r in range(3)]
    table = Table(
        ("Rule", "Statement", "Answer"), tuple((f"({r})", s, "open") for r, s in enumerate(statements)), words=True
    )
    text = plain([("A caption.", table)], 60)
    assert max(map(len, text.splitlines())) <= 60
    assert text.split().count("open") == 3
    for statement in statements:
        assert statement in " ".join(text.split())
    assert "\n(1)   word1.0 " in text


def test_a_table_that_fits_is_in_one_part() -> None:
    text = plain([("A caption.", WIDE)], 200)
    assert text.count("≤ 2 points") == 1
    assert "a method with a name of many words" in text

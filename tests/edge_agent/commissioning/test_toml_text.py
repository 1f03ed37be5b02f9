"""What is written is read back as the same values."""

import tomllib
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.commissioning.toml_text import write_toml

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
PLAIN = st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
SMALL = st.dictionaries(TEXTS, PLAIN | st.lists(PLAIN, max_size=3), max_size=4)
TABLES = st.dictionaries(TEXTS, PLAIN | SMALL | st.lists(SMALL, min_size=1, max_size=3), max_size=4)


@given(TABLES)
def test_tables_come_back_as_they_were(values: dict[str, Any]) -> None:
    assert tomllib.loads(write_toml(values)) == values


@given(TABLES)
def test_inline_lists_of_tables_come_back_as_they_were(values: dict[str, Any]) -> None:
    assert tomllib.loads(write_toml(values, inline=values)) == values


def test_nested_lists_of_tables_stand_under_headings() -> None:
    text = write_toml({"buses": [{"id": "a", "meters": [{"id": "m", "points": [{"name": "p"}]}]}]}, inline=["points"])
    assert text.splitlines() == [
        "[[buses]]",
        'id = "a"',
        "",
        "[[buses.meters]]",
        'id = "m"',
        "points = [",
        '  {name = "p"},',
        "]",
    ]


def test_decimals_are_written_in_full() -> None:
    assert write_toml({"scale": Decimal("1E+3"), "step": Decimal("0.001")}) == "scale = 1000\nstep = 0.001\n"

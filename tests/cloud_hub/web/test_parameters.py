from datetime import UTC, datetime

import pytest

from cloud_hub.errors import Invalid
from cloud_hub.web.parameters import parse_instant, parse_whole

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize("text", ["2026-01-31T12:00:00Z", "2026-01-31T14:00:00+02:00", "2026-01-31T12:00:00.000Z"])
def test_instants_are_answered_in_utc(text: str) -> None:
    instant = parse_instant({"from": text}, "from")
    assert instant == NOON
    assert instant.tzinfo is UTC


@pytest.mark.parametrize("text", ["2026-01-31T12:00:00", "2026-01-31", "soon", "", "2026-01-31T12:00:00 02:00"])
def test_an_instant_without_offset_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(Invalid, match=r"from is .* offset from UTC, such as 2026"):
        parse_instant({"from": text}, "from")


def test_an_instant_before_the_calendar_is_refused() -> None:
    with pytest.raises(Invalid, match="outside the calendar"):
        parse_instant({"from": "0001-01-01T00:00:00+14:00"}, "from")


def test_a_missing_instant_is_named_or_defaulted() -> None:
    with pytest.raises(Invalid, match="to is missing"):
        parse_instant({}, "to")
    assert parse_instant({}, "to", NOON) == NOON


@pytest.mark.parametrize("text", ["9", "101", "-50", "ten"])
def test_whole_numbers_keep_their_bounds(text: str) -> None:
    with pytest.raises(Invalid, match="from 10 to 100"):
        parse_whole({"n": text}, "n", default=50, lowest=10, highest=100)

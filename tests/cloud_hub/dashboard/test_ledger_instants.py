from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from cloud_hub.dashboard.ledger_instants import ShownTwice, parse_local, parse_number
from cloud_hub.errors import Invalid

BERLIN = ZoneInfo("Europe/Berlin")


def test_a_time_is_read_by_the_sites_clock() -> None:
    assert parse_local("2026-01-31T13:00", BERLIN, "It") == datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert parse_local("2026-01-31T13:00", ZoneInfo("Asia/Kathmandu"), "It") == datetime(2026, 1, 31, 7, 15, tzinfo=UTC)


def test_a_time_that_the_clock_showed_twice_asks_which() -> None:
    with pytest.raises(ShownTwice, match="choose which of the two"):
        parse_local("2025-10-26T02:30", BERLIN, "It")
    assert parse_local("2025-10-26T02:30", BERLIN, "It", "first") == datetime(2025, 10, 26, 0, 30, tzinfo=UTC)
    assert parse_local("2025-10-26T02:30", BERLIN, "It", "second") == datetime(2025, 10, 26, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param("2026-03-29T02:30", "jumped over", id="in-the-hole-of-spring"),
        pytest.param("", "It is empty", id="empty"),
        pytest.param("noon", "It is 'noon'", id="words"),
        pytest.param("2026-01-31T12:00Z", "of the site's clock", id="with-offset"),
    ],
)
def test_a_time_that_is_none_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(Invalid, match=sentence):
        parse_local(text, BERLIN, "It")


@pytest.mark.parametrize("text", ["", "1,5", "1.5 kWh", "NaN", "Infinity"])
def test_a_number_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="The amount is"):
        parse_number(text, "The amount")

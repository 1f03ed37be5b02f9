from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from cloud_hub.dashboard import energy_wording
from cloud_hub.energy.model import Cause, FindingKind, IntervalQuality, Method

KWH = energy_wording.scale_of("Wh")
CUBIC_METRES = energy_wording.scale_of("m3")


def test_every_word_of_the_ledger_is_told_in_plain_words() -> None:
    assert set(energy_wording.CAUSES) == {cause for cause in Cause if cause}
    assert set(energy_wording.QUALITIES) == set(IntervalQuality)
    assert set(energy_wording.METHODS) == set(Method)
    assert set(energy_wording.FINDINGS) == set(FindingKind)


def test_no_two_causes_or_events_are_told_alike() -> None:
    for words in (energy_wording.CAUSES, energy_wording.FINDINGS):
        assert len(set(words.values())) == len(words)


@pytest.mark.parametrize(
    ("micro", "text"),
    [
        (0, "0.00 kWh"),
        (1_234_560_000, "1.23 kWh"),
        (123_456_000_000, "123.5 kWh"),
        (12_345_678_000_000, "12,346 kWh"),
        (-1_500_000_000, "−1.50 kWh"),  # noqa: RUF001 -- the sign that pages show
        (None, "–"),  # noqa: RUF001 -- the dash that pages show
    ],
)
def test_energy_is_shown_in_kilowatt_hours_with_fitting_digits(micro: int | None, text: str) -> None:
    assert energy_wording.format_amount(micro, KWH) == text


def test_an_exact_amount_keeps_every_digit() -> None:
    assert energy_wording.format_exact(545_454_546, KWH) == "0.545454546"
    assert energy_wording.format_exact(1_500_000_000, KWH) == "1.500"
    assert energy_wording.format_exact(2_000_001, CUBIC_METRES) == "2.000001"


def test_only_what_is_whole_is_called_a_hundred_percent() -> None:
    assert energy_wording.format_per_mille(1000) == "100\xa0%"
    assert energy_wording.format_per_mille(999) == "99.9\xa0%"


def test_causes_are_listed_in_words() -> None:
    bits = int(Cause.GAP | Cause.EXCHANGE)
    assert energy_wording.describe_causes(bits) == ("readings too far apart", "the meter was exchanged")
    assert energy_wording.describe_causes(0) == ()


def test_an_instant_names_its_offset_where_the_zone_has_no_name_for_it() -> None:
    instant = datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert energy_wording.format_clock(instant, ZoneInfo("Europe/Berlin")) == "31 Jan 2026, 13:00 CET"
    assert energy_wording.format_clock(instant, ZoneInfo("Asia/Kathmandu")) == "31 Jan 2026, 17:45 UTC+05:45"


def test_money_and_changes_keep_their_sign() -> None:
    assert energy_wording.format_money("EUR", Decimal("1234.5")) == "1,234.50 EUR"
    assert energy_wording.format_change(125) == "+12.5\xa0%"
    assert energy_wording.format_change(-30) == "−3\xa0%"  # noqa: RUF001 -- the sign that pages show

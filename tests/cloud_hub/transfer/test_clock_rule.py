"""A zone's changes of the clock are packed as Green Button packs them."""

from zoneinfo import ZoneInfo

import pytest

from cloud_hub.transfer.clock_rule import NO_RULE, ClockRule, clock_rule


@pytest.mark.parametrize(
    ("zone", "standard_s", "summer_s", "start", "end"),
    [
        # The two rules that stand in every Green Button file of North America.
        ("America/Los_Angeles", -28_800, 3_600, 0x360E2000, 0xB40E2000),
        # Last Sunday of March at 02:00, last Sunday of October at 03:00.
        ("Europe/Berlin", 3_600, 3_600, 0x3E0E2000, 0xAE0E3000),
        # First Sunday of October at 02:00, first Sunday of April at 02:00, by half an hour.
        ("Australia/Lord_Howe", 37_800, 1_800, 0xA40E2000, 0x440E2000),
        ("Asia/Kathmandu", 20_700, 0, NO_RULE, NO_RULE),
        ("Asia/Kolkata", 19_800, 0, NO_RULE, NO_RULE),
    ],
)
def test_a_rule_says_month_weekday_and_hour(zone: str, standard_s: int, summer_s: int, start: int, end: int) -> None:
    assert clock_rule(ZoneInfo(zone), [2026, 2027]) == ClockRule(standard_s, summer_s, start, end)


def test_a_clock_that_follows_no_rule_is_told_as_having_none() -> None:
    # Morocco leaves summer time for Ramadan, which moves by the moon.
    assert clock_rule(ZoneInfo("Africa/Casablanca"), [2026, 2027]).start_rule == NO_RULE

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from cloud_hub.dashboard.wording import (
    describe_zone,
    find_zone,
    format_age,
    format_local,
    format_measure,
    format_period,
    label_point,
)

SUMMER = datetime(2026, 7, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (231.2, "V", "231.2 V"),
        (0.0, "A", "0 A"),
        (-1_234.5, "W", "-1,234.5 W"),
        (12_345.0, "W", "12.35 kW"),
        (1_234_567.0, "Wh", "1,234.57 kWh"),
        (21.5, "degC", "21.5 °C"),
        (0.98, "", "0.98"),
        (50.0, "Hz", "50 Hz"),
        (1_000_000.0, "", "1,000,000"),
    ],
)
def test_values_read_as_people_write_them(value: float, unit: str, text: str) -> None:
    assert " ".join(format_measure(value, unit)).strip() == text


@pytest.mark.parametrize(
    ("age_s", "text"),
    [
        (0.4, "0 s ago"),
        (90, "90 s ago"),
        (150, "2 min ago"),
        (10_000, "3 h ago"),
        (400_000, "5 d ago"),
        (-1, "now"),
        (-90, "90 s ahead of the hub's clock"),
    ],
)
def test_ages_name_their_size(age_s: float, text: str) -> None:
    assert format_age(age_s) == text


def test_periods_keep_fractions_of_a_second() -> None:
    assert [format_period(p) for p in (0.5, 60, 1800)] == ["0.5 s", "60 s", "30 min"]


def test_times_name_their_zone() -> None:
    assert format_local(SUMMER, ZoneInfo("Europe/Berlin")) == "2026-07-01 14:00:00 CEST"
    assert describe_zone(ZoneInfo("America/St_Johns"), SUMMER) == "America/St_Johns (UTC-02:30)"


def test_an_unknown_zone_is_shown_as_the_utc_that_it_is() -> None:
    assert describe_zone(find_zone("Mars/Olympus"), SUMMER) == "UTC"
    assert describe_zone(find_zone("../etc/passwd"), SUMMER) == "UTC"


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("voltage_l1_n", "Voltage L1-N"),
        ("voltage_l1_l2", "Voltage L1-L2"),
        ("active_power_total", "Active power total"),
        ("energy_active_import_t1", "Energy active import T1"),
    ],
)
def test_point_names_become_labels(name: str, label: str) -> None:
    assert label_point(name) == label

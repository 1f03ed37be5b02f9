from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from ledger_rows import MISSING, NOW, WH, add_day, add_metered, add_organisation, add_plain_site
from sqlalchemy.orm import Session
from tariff_rows import assign, flat

from cloud_hub.analysis.limits import SeveralClocks
from cloud_hub.analysis.model import Figure, Flow, Scope
from cloud_hub.analysis.results import HoursShare, Money, Profile
from cloud_hub.analysis.scopes import find_meter, find_organisation, find_site
from cloud_hub.analysis.service import read_heat_map, read_profile
from cloud_hub.calendar.hours import parse_operating_hours
from cloud_hub.registry.models import Site
from cloud_hub.tariffs.site_hours import put_hours

MONDAY = date(2026, 6, 1)
SPRING, AUTUMN = date(2026, 3, 29), date(2026, 10, 25)
EVERY_NIGHT = {day: ["00:00-06:00"] for day in ("monday", "tuesday", "saturday", "sunday")}


def open_at(session: Session, site: Site, weekly: dict[str, list[str]], **more: Any) -> None:
    put_hours(session, site, parse_operating_hours({"weekly": weekly, **more}), who="test")


def profile(session: Session, scope: Scope, first: date, last: date | None = None, **more: Any) -> Profile:
    return read_profile(session, scope, first, last or first, now=NOW, **more)


def shares(found: Profile) -> tuple[HoursShare, HoursShare]:
    assert found.inside is not None
    assert found.outside is not None
    return found.inside, found.outside


def test_energy_is_split_at_opening_and_closing_within_an_interval(session: Session) -> None:
    site, controller = add_plain_site(session)
    _, point = add_metered(session, controller, "main")
    add_day(session, point, site, MONDAY, [WH + n for n in range(48)])
    open_at(session, site, {"monday": ["08:10-18:00"]})
    found = profile(session, find_site(session, "north"), MONDAY)
    inside, outside = shares(found)
    # Opens ten minutes into the interval of 08:00, whose last two thirds are inside.
    expected = (WH + 16) * 2 // 3 + sum(WH + n for n in range(17, 36))
    assert inside.figure.amount_micro == expected
    assert outside.figure.amount_micro == (found.total.amount_micro or 0) - expected
    assert (inside.duration_ms, outside.duration_ms) == (590 * 60_000, 850 * 60_000)
    assert found.has_hours


@pytest.mark.parametrize(("day", "hours_inside"), [(SPRING, 5), (MONDAY, 6), (AUTUMN, 7)])
def test_a_schedule_on_a_clock_change_day_is_by_the_wall_clock(session: Session, day: date, hours_inside: int) -> None:
    site, controller = add_plain_site(session)
    _, point = add_metered(session, controller, "main")
    add_day(session, point, site, day, WH)
    open_at(session, site, EVERY_NIGHT)
    inside, outside = shares(profile(session, find_site(session, "north"), day))
    assert inside.figure.amount_micro == hours_inside * 2 * WH
    assert inside.duration_ms == hours_inside * 3_600_000
    assert outside.figure.amount_micro == 18 * 2 * WH


def test_a_closure_wins_over_the_pattern(session: Session) -> None:
    site, controller = add_plain_site(session)
    _, point = add_metered(session, controller, "main")
    add_day(session, point, site, MONDAY, WH)
    open_at(session, site, {"monday": ["00:00-24:00"]}, closures=[{"first": "2026-06-01", "last": "2026-06-02"}])
    inside, outside = shares(profile(session, find_site(session, "north"), MONDAY))
    assert (inside.figure.amount_micro, outside.figure.amount_micro) == (None, 48 * WH)


def test_missing_energy_is_missing_where_it_would_have_been(session: Session) -> None:
    site, controller = add_plain_site(session)
    _, point = add_metered(session, controller, "main")
    add_day(session, point, site, MONDAY, [MISSING] * 12 + [WH] * 36)
    open_at(session, site, EVERY_NIGHT)
    inside, outside = shares(profile(session, find_site(session, "north"), MONDAY))
    assert (inside.figure.amount_micro, inside.figure.completeness) == (None, 0)
    assert (outside.figure.amount_micro, outside.figure.completeness) == (36 * WH, 1000)


def test_cost_inside_and_outside_add_up_to_that_of_the_energy(session: Session) -> None:
    site, controller = add_plain_site(session)
    _, point = add_metered(session, controller, "main")
    add_day(session, point, site, MONDAY, [333 * WH + n for n in range(48)])
    open_at(session, site, {"monday": ["08:10-18:00"]})
    bands = [
        {"name": "day", "price_per_kwh": "0.31", "when": {"spans": ["06:00-22:00"]}},
        {"name": "night", "price_per_kwh": "0.17"},
    ]
    assign(session, site, {"kind": "time_of_use", "name": "Energy", "bands": bands})
    inside, outside = shares(profile(session, find_site(session, "north"), MONDAY))
    amounts = [Decimal(333 * WH + n) / 10**9 for n in range(48)]
    exact = sum(amount * (Decimal("0.31") if 12 <= n < 44 else Decimal("0.17")) for n, amount in enumerate(amounts))
    assert [money.currency for money in (*inside.cost, *outside.cost)] == ["EUR", "EUR"]
    assert (inside.cost[0].amount + outside.cost[0].amount).quantize(Decimal("1E-15")) == exact
    expected = Decimal("0.31") * (amounts[16] * 2 / 3 + sum(amounts[17:36]))
    assert abs(inside.cost[0].amount - expected) < Decimal("1E-20")


def test_without_hours_nobody_can_say_what_is_inside(session: Session) -> None:
    site, controller = add_plain_site(session)
    _, point = add_metered(session, controller, "main")
    add_day(session, point, site, MONDAY, WH)
    found = profile(session, find_site(session, "north"), MONDAY)
    assert (found.has_hours, found.inside, found.outside) == (False, None, None)
    assert found.peak is not None
    assert found.peak.power_micro_per_h == 2 * WH
    assert found.base_load is not None
    assert found.base_load.power_micro_per_h == 2 * WH
    assert found.load_factor == Decimal("1.0000")


def test_a_meter_is_judged_by_the_hours_of_its_site(session: Session) -> None:
    site, controller = add_plain_site(session)
    meter, point = add_metered(session, controller, "heater")
    add_day(session, point, site, MONDAY, WH)
    open_at(session, site, EVERY_NIGHT)
    inside, _ = shares(profile(session, find_meter(session, meter.id), MONDAY))
    assert inside.figure.amount_micro == 12 * WH


def test_sites_on_several_clocks_share_hours_and_currencies_but_no_peak(session: Session) -> None:
    organisation = add_organisation(session, "group")
    for slug, zone, currency in (("east", "Asia/Kathmandu", "NPR"), ("west", "America/Los_Angeles", "USD")):
        site, controller = add_plain_site(session, slug, time_zone=zone, organisation=organisation)
        _, point = add_metered(session, controller, "main")
        add_day(session, point, site, MONDAY, 1000 * WH)
        open_at(session, site, EVERY_NIGHT)
        assign(session, site, flat("0.5"), currency=currency)
    scope = find_organisation(session, "group")
    found = profile(session, scope, MONDAY)
    inside, outside = shares(found)
    assert inside.figure.amount_micro == 2 * 12 * 1000 * WH
    assert inside.cost == (Money("NPR", Decimal(6)), Money("USD", Decimal(6)))
    assert outside.cost == (Money("NPR", Decimal(18)), Money("USD", Decimal(18)))
    assert (found.peak, found.base_load, found.load_factor, found.shapes) == (None, None, None, ())
    with pytest.raises(SeveralClocks, match="ask for one of its sites"):
        read_heat_map(session, scope, MONDAY, MONDAY, now=NOW)


def test_the_peak_of_sites_on_one_clock_is_that_of_their_sum(session: Session) -> None:
    organisation = add_organisation(session, "group")
    for slug, slots in (("east", [9 * WH] + [WH] * 47), ("west", [WH, 5 * WH, 6 * WH] + [WH] * 45)):
        site, controller = add_plain_site(session, slug, organisation=organisation)
        _, point = add_metered(session, controller, "main")
        add_day(session, point, site, MONDAY, slots)
    found = profile(session, find_organisation(session, "group"), MONDAY)
    assert found.peak is not None
    assert found.peak.power_micro_per_h == 2 * 10 * WH
    assert found.total.meters == 2


def test_another_flow_has_a_profile_of_its_own(session: Session) -> None:
    site, controller = add_plain_site(session)
    _, point = add_metered(session, controller, "roof", direction="export")
    add_day(session, point, site, MONDAY, WH)
    scope = find_site(session, "north")
    assert profile(session, scope, MONDAY, flow=Flow.EXPORT).total.amount_micro == 48 * WH
    assert profile(session, scope, MONDAY).total == Figure()


def test_a_heat_map_of_a_site_has_a_row_per_local_day(session: Session) -> None:
    site, controller = add_plain_site(session, time_zone="America/Los_Angeles")
    _, point = add_metered(session, controller, "main")
    for n, amount in enumerate([1, 2, 3]):
        add_day(session, point, site, MONDAY + timedelta(days=n), amount * WH)
    heat = read_heat_map(session, find_site(session, "north"), MONDAY, MONDAY + timedelta(days=3), now=NOW)
    assert [row[0] for row in heat.power_micro_per_h] == [2 * WH, 4 * WH, 6 * WH, None]
    assert heat.qualities[3] == ("missing",) * 48
    assert heat.days[3] == MONDAY + timedelta(days=3)

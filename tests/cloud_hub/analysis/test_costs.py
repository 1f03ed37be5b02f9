from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from ledger_rows import (
    MISSING,
    NOW,
    WH,
    add_day,
    add_days,
    add_metered,
    add_organisation,
    add_plain_site,
    add_register,
)
from sqlalchemy.orm import Session
from tariff_rows import assign, flat

from cloud_hub.analysis.costs import read_cost
from cloud_hub.analysis.model import Scope
from cloud_hub.analysis.results import Cost, Money
from cloud_hub.analysis.scopes import find_meter, find_organisation, find_site
from cloud_hub.calendar.days import ms_of_instant
from cloud_hub.errors import Invalid
from cloud_hub.registry.models import MeterRole

MONDAY = date(2026, 6, 1)
STANDING = {"kind": "standing", "name": "Standing", "price_per_day": "0.50"}
TAX = {"kind": "tax", "name": "VAT", "percent": "19"}
KWH = 1000 * WH


def cost(session: Session, scope: Scope, first: date = MONDAY, last: date = MONDAY) -> Cost:
    return read_cost(session, scope, first, last, now=NOW)


def test_a_month_of_a_site_is_billed_with_all_its_lines(session: Session) -> None:
    site, controller = add_plain_site(session)
    _, point = add_metered(session, controller, "main", role=MeterRole.GRID)
    add_days(session, point, site, date(2026, 3, 1), 31, slot=KWH)
    demand = {"kind": "demand", "name": "Demand", "price_per_kw": "7"}
    assign(session, site, flat("0.30"), STANDING, demand, TAX)
    found = cost(session, find_site(session, "north"), date(2026, 3, 1), date(2026, 3, 31))
    (bill,) = (site_cost.bill for site_cost in found.sites)
    lines = {line.component: line for line in bill.lines}
    assert lines["Energy"].quantity == 31 * 48 - 2  # one hour less in spring
    assert lines["Energy"].amount == Decimal("445.80")
    assert lines["Demand"].amount == Decimal("14.00")
    assert lines["Standing"].amount == Decimal("15.50")
    assert bill.net == Decimal("475.30")
    assert found.totals == (Money("EUR", Decimal("565.61")),)
    assert (bill.completeness, found.imported.completeness, found.has_all_components) == (1000, 1000, True)


def test_every_line_leads_back_to_its_half_hours(session: Session) -> None:
    site, controller = add_plain_site(session)
    _, point = add_metered(session, controller, "main")
    add_day(session, point, site, MONDAY, [KWH + n for n in range(48)])
    bands = [
        {"name": "day", "price_per_kwh": "0.31", "when": {"spans": ["06:00-22:00"]}},
        {"name": "night", "price_per_kwh": "0.17"},
    ]
    assign(session, site, {"kind": "time_of_use", "name": "Energy", "bands": bands})
    (priced,) = cost(session, find_site(session, "north")).sites
    by_name = {line.name: line for line in priced.bill.lines}
    day = by_name["Energy: day"]
    starts = priced.grid.bounds_ms[list(day.intervals)].tolist()
    assert starts[0] == ms_of_instant(datetime(2026, 6, 1, 4, tzinfo=UTC))
    assert len(starts) == 32
    assert day.exact == sum(Decimal(KWH + n) for n in day.intervals) * Decimal("0.31") / 10**9


def test_what_is_missing_shows_in_the_bill(session: Session) -> None:
    site, controller = add_plain_site(session)
    _, point = add_metered(session, controller, "main")
    add_day(session, point, site, MONDAY, [MISSING] * 12 + [KWH] * 36)
    assign(session, site, flat("1"))
    found = cost(session, find_site(session, "north"))
    assert found.totals == (Money("EUR", Decimal(36)),)
    assert (found.sites[0].bill.completeness, found.imported.completeness) == (750, 750)


def test_a_month_that_is_not_over_is_not_complete(session: Session) -> None:
    site, controller = add_plain_site(session)
    _, point = add_metered(session, controller, "main")
    add_day(session, point, site, NOW.date() - timedelta(days=1), KWH)
    assign(session, site, flat("1"), STANDING)
    found = cost(session, find_site(session, "north"), NOW.date() - timedelta(days=1), NOW.date() + timedelta(days=8))
    # One day is known, one hour of the next was due, the rest is still to come.
    assert found.sites[0].bill.completeness == 100
    assert found.totals == (Money("EUR", Decimal("53.00")),)


def test_export_is_credited_on_lines_of_its_own(session: Session) -> None:
    site, controller = add_plain_site(session)
    meter, point = add_metered(session, controller, "main", role=MeterRole.GRID)
    add_day(session, point, site, MONDAY, KWH)
    add_day(session, add_register(session, meter, direction="export"), site, MONDAY, 2 * KWH)
    assign(session, site, flat("0.30"), flat("0.08", name="Feed-in", flow="export"))
    found = cost(session, find_site(session, "north"))
    assert {line.component: line.amount for line in found.sites[0].bill.lines} == {
        "Energy": Decimal("14.40"),
        "Feed-in": Decimal("-7.68"),
    }
    assert found.exported.amount_micro == 96 * KWH


def test_a_meter_costs_its_energy_and_no_standing_charge(session: Session) -> None:
    site, controller = add_plain_site(session)
    main, main_point = add_metered(session, controller, "main", role=MeterRole.GRID)
    heater, point = add_metered(session, controller, "heater", parent=main)
    add_day(session, main_point, site, MONDAY, 9 * KWH)
    add_day(session, point, site, MONDAY, KWH)
    demand = {"kind": "demand", "name": "Demand", "price_per_kw": "7"}
    minimum = {"kind": "minimum", "name": "Minimum", "amount_per_month": "10000"}
    assign(session, site, flat("0.25"), STANDING, demand, minimum, TAX)
    found = cost(session, find_meter(session, heater.id))
    assert found.totals == (Money("EUR", Decimal("14.28")),)
    assert not found.has_all_components
    assert {line.kind for line in found.sites[0].bill.lines} == {"flat", "tax"}


def test_a_ratchet_looks_back_over_the_months_before(session: Session) -> None:
    site, controller = add_plain_site(session)
    _, point = add_metered(session, controller, "main")
    add_day(session, point, site, date(2026, 2, 10), [50 * KWH] + [KWH] * 47)
    add_days(session, point, site, MONDAY, 30, slot=KWH)
    ratchet = {"kind": "demand", "name": "Demand", "price_per_kw": "1", "ratchet_share": "0.8", "ratchet_months": 6}
    assign(session, site, ratchet)
    found = cost(session, find_site(session, "north"), MONDAY, date(2026, 6, 30))
    assert found.totals == (Money("EUR", Decimal("80.00")),)


def test_an_organisation_sums_each_currency_by_itself(session: Session) -> None:
    organisation = add_organisation(session, "group")
    for slug, zone, currency in (("a", "Europe/Berlin", "EUR"), ("b", "Europe/Paris", "EUR"), ("c", "UTC", "USD")):
        site, controller = add_plain_site(session, slug, time_zone=zone, organisation=organisation)
        _, point = add_metered(session, controller, "main")
        add_day(session, point, site, MONDAY, KWH)
        assign(session, site, flat("1"), currency=currency)
    found = cost(session, find_organisation(session, "group"))
    assert found.totals == (Money("EUR", Decimal(96)), Money("USD", Decimal(48)))
    assert [site_cost.part.slug for site_cost in found.sites] == ["a", "b", "c"]


def test_without_a_tariff_there_is_no_total(session: Session) -> None:
    site, controller = add_plain_site(session)
    _, point = add_metered(session, controller, "main")
    add_day(session, point, site, MONDAY, KWH)
    found = cost(session, find_site(session, "north"))
    assert found.totals == ()
    assert len(found.sites[0].bill.unpriced) == 48


def test_water_has_no_price_here(session: Session) -> None:
    _, controller = add_plain_site(session)
    add_metered(session, controller, "water", quantity="volume", unit="m3")
    with pytest.raises(Invalid, match="volume in m3 has no prices or factors: ask for active_energy"):
        cost(session, find_site(session, "north"))


def test_a_register_that_runs_both_ways_is_named_as_unpriced(session: Session) -> None:
    site, controller = add_plain_site(session)
    _, point = add_metered(session, controller, "main", direction="net")
    add_day(session, point, site, MONDAY, KWH)
    assign(session, site, flat("1"))
    (note,) = cost(session, find_site(session, "north")).notes
    assert "is not priced" in note

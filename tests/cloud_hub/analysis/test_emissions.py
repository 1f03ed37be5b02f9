from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from ledger_rows import NOW, WH, add_day, add_metered, add_organisation, add_plain_site, add_register
from sqlalchemy.orm import Session
from tariff_rows import END, START, add_factors

from cloud_hub.analysis.emissions import read_emissions
from cloud_hub.analysis.scopes import find_organisation, find_site
from cloud_hub.registry.models import MeterRole
from cloud_hub.tariffs.emission_series import Basis, UnknownEmissionSeries

MONDAY = date(2026, 6, 1)
KWH = 1000 * WH


def test_emissions_stand_side_by_side_and_export_is_never_netted(session: Session) -> None:
    site, controller = add_plain_site(session)
    meter, point = add_metered(session, controller, "main", role=MeterRole.GRID)
    add_day(session, point, site, MONDAY, KWH)
    add_day(session, add_register(session, meter, direction="export"), site, MONDAY, 3 * KWH)
    noon = datetime(2026, 6, 1, 10, tzinfo=UTC)
    location = add_factors(session, "grid", (START, noon, "400.5"), (noon, END, "200"))
    market = add_factors(session, "contract", (START, noon, "10"), basis=Basis.MARKET)
    found = read_emissions(session, find_site(session, "north"), MONDAY, MONDAY, now=NOW)
    by_slug = {each.series.slug: each for each in found.by_series}
    assert by_slug["grid"].emitted_g == 24 * Decimal("400.5") + 24 * 200
    assert by_slug["grid"].avoided_g == 3 * by_slug["grid"].emitted_g
    assert (by_slug["grid"].without_factor_ms, by_slug["contract"].without_factor_ms) == (0, 12 * 3_600_000)
    assert by_slug["contract"].emitted_g == 240
    one = read_emissions(session, find_site(session, "north"), MONDAY, MONDAY, now=NOW, series_ids=[market.id])
    assert [each.series.id for each in one.by_series] == [market.id] != [location.id]


def test_an_unknown_series_of_factors_is_refused(session: Session) -> None:
    add_plain_site(session)
    with pytest.raises(UnknownEmissionSeries, match="there is no series of emission factors 7"):
        read_emissions(session, find_site(session, "north"), MONDAY, MONDAY, now=NOW, series_ids=[7])


def test_sites_on_several_clocks_meet_the_factor_of_each_instant(session: Session) -> None:
    organisation = add_organisation(session, "group")
    for slug, zone in (("east", "Asia/Kathmandu"), ("west", "America/Los_Angeles")):
        site, controller = add_plain_site(session, slug, time_zone=zone, organisation=organisation)
        _, point = add_metered(session, controller, "main")
        add_day(session, point, site, MONDAY, KWH)
    noon = datetime(2026, 6, 1, 12, tzinfo=UTC)
    add_factors(session, "grid", (START, noon, "100"), (noon, END, "1"), organisation_id=organisation.id)
    found = read_emissions(session, find_organisation(session, "group"), MONDAY, MONDAY, now=NOW)
    # Kathmandu's day begins at 18:15 the day before, that of Los Angeles at 07:00: the factor changes inside a half hour.
    east = Decimal("35.5") * 100 + Decimal("12.5")
    west = 10 * 100 + 38
    assert found.by_series[0].emitted_g == east + west

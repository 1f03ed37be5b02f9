"""What a site is charged, when, by versions and assignments; hours and prices by time."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from threading import Thread

import pytest
from browsing import counted_queries
from hub_factories import add_site
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session
from tariff_factories import flat, tariff, utc

from cloud_hub.audit.models import AuditEvent
from cloud_hub.calendar.days import ms_of_instant
from cloud_hub.calendar.hours import OperatingHours, parse_operating_hours
from cloud_hub.db import create_sessions
from cloud_hub.errors import Conflict, Invalid
from cloud_hub.organisations.models import Organisation
from cloud_hub.registry.models import Site
from cloud_hub.tariffs import emission_series, prices, service, site_hours
from cloud_hub.tariffs.bill import PricePeriod
from cloud_hub.tariffs.document import parse_tariff
from cloud_hub.tariffs.emission_series import Basis, FactorsAre
from cloud_hub.tariffs.models import Tariff, TariffVersion
from cloud_hub.tariffs.spans import Span

WHO = "ann@example.org"
YEAR = (utc(2026, 1, 1), utc(2027, 1, 1))


def add_tariff(session: Session, slug: str = "day-night", *, organisation_id: int = 1) -> Tariff:
    return service.create_tariff(
        session, organisation_id=organisation_id, slug=slug, name=slug, currency="GBP", who=WHO
    )


def add_version(
    session: Session, tariff_id: int, price: str, start: datetime, until: datetime | None = None
) -> TariffVersion:
    return service.add_version(session, tariff_id, tariff(flat(price)), valid_from=start, valid_until=until, who=WHO)


def assign(session: Session, site: Site, tariff_id: int | None, start: datetime) -> int:
    return service.assign_tariff(session, site, tariff_id, valid_from=start, who=WHO).id


def charged(
    session: Session, site: Site, start: datetime = YEAR[0], end: datetime = YEAR[1]
) -> list[tuple[object, ...]]:
    """Return (price, from, until) of each period."""
    return [_plain(period) for period in service.map_price_periods(session, [site.id], start, end)[site.id]]


def _plain(period: PricePeriod) -> tuple[object, ...]:
    component = period.document.components[0]
    assert component.kind == "flat"
    ends = [None if at is None else datetime.fromtimestamp(at / 1000, UTC) for at in (period.from_ms, period.until_ms)]
    return str(component.price_per_kwh), *ends


def test_versions_follow_each_other_and_end_where_they_say(session: Session) -> None:
    site, kept = add_site(session), add_tariff(session)
    for price, start, until in (
        ("0.1", utc(2025, 1, 1), None),
        ("0.2", utc(2026, 3, 1), utc(2026, 5, 1)),
        ("0.3", utc(2026, 6, 1), None),
    ):
        add_version(session, kept.id, price, start, until)
    assign(session, site, kept.id, utc(2026, 2, 1))
    assert charged(session, site) == [
        ("0.1", utc(2026, 2, 1), utc(2026, 3, 1)),
        ("0.2", utc(2026, 3, 1), utc(2026, 5, 1)),
        ("0.3", utc(2026, 6, 1), None),
    ]
    assert [price for price, *_ in charged(session, site, utc(2026, 4, 1), utc(2026, 6, 1))] == ["0.2"]
    assert charged(session, site, utc(2026, 1, 1), utc(2026, 2, 1)) == []


def test_a_site_changes_its_tariff_and_may_have_none(session: Session) -> None:
    site, old, new = add_site(session), add_tariff(session, "old"), add_tariff(session, "new")
    add_version(session, old.id, "0.1", utc(2020, 1, 1))
    add_version(session, new.id, "0.2", utc(2020, 1, 1))
    assign(session, site, new.id, utc(2026, 9, 1))
    assign(session, site, old.id, utc(2026, 2, 1))
    assign(session, site, None, utc(2026, 8, 1))
    assert charged(session, site) == [
        ("0.1", utc(2026, 2, 1), utc(2026, 8, 1)),
        ("0.2", utc(2026, 9, 1), None),
    ]


def test_a_correction_keeps_what_it_corrects(session: Session) -> None:
    site, kept = add_site(session), add_tariff(session)
    wrong = add_version(session, kept.id, "0.1", utc(2026, 1, 1))
    right = add_version(session, kept.id, "0.2", utc(2026, 1, 1))
    first = assign(session, site, kept.id, utc(2026, 1, 1))
    assert [price for price, *_ in charged(session, site)] == ["0.2"]
    rows = session.scalars(select(TariffVersion).order_by(TariffVersion.id)).all()
    assert [(row.id, row.withdrawn_by) for row in rows] == [(wrong.id, WHO), (right.id, None)]
    assert [price for price, *_ in charged(session, site)] == ["0.2"]
    again = assign(session, site, kept.id, utc(2026, 1, 1))
    assert [row.id for row in service.list_assignments(session, site.id)] == [again]
    assert first != again


def test_what_is_taken_back_no_longer_holds(session: Session) -> None:
    site, kept = add_site(session), add_tariff(session)
    add_version(session, kept.id, "0.1", utc(2026, 1, 1))
    later = add_version(session, kept.id, "0.2", utc(2026, 6, 1))
    held = assign(session, site, kept.id, utc(2026, 1, 1))
    service.withdraw_version(session, kept.id, later.id, who=WHO)
    assert charged(session, site) == [("0.1", utc(2026, 1, 1), None)]
    with pytest.raises(service.UnknownRecord, match=f"has no version {later.id} that holds"):
        service.withdraw_version(session, kept.id, later.id, who=WHO)
    service.withdraw_assignment(session, site, held, who=WHO)
    assert charged(session, site) == []


def test_every_change_leaves_its_trace(session: Session) -> None:
    site, kept = add_site(session), add_tariff(session)
    version = add_version(session, kept.id, "0.1", utc(2026, 1, 1))
    assign(session, site, kept.id, utc(2026, 1, 1))
    service.withdraw_version(session, kept.id, version.id, who=WHO)
    site_hours.put_hours(session, site, OperatingHours(), who=WHO)
    events = session.scalars(select(AuditEvent).order_by(AuditEvent.id)).all()
    assert {event.who for event in events} == {WHO}
    assert [(event.action, event.subject) for event in events] == [
        ("tariff_created", f"tariff:{kept.id}"),
        ("tariff_version_added", f"tariff:{kept.id}"),
        ("tariff_assigned", f"site:{site.id}"),
        ("tariff_version_withdrawn", f"tariff:{kept.id}"),
        ("operating_hours_put", f"site:{site.id}"),
    ]


def test_a_document_comes_back_from_the_database_as_it_was(session: Session) -> None:
    document = tariff(
        flat("0.10"), flat("-0.000000000001", name="Tiny"), {"kind": "tax", "name": "VAT", "percent": "20"}
    )
    version = service.add_version(session, add_tariff(session).id, document, valid_from=utc(2026, 1, 1), who=WHO)
    session.commit()
    session.refresh(version)
    assert parse_tariff(version.document) == document
    assert version.document["components"][0]["price_per_kwh"] == "0.10"


def test_what_does_not_fit_is_refused(session: Session) -> None:
    site, kept = add_site(session), add_tariff(session)
    with pytest.raises(Conflict, match="there is a tariff 'day-night' already"):
        add_tariff(session)
    with pytest.raises(Invalid, match="is in GBP, the version in EUR"):
        service.add_version(session, kept.id, tariff(currency="EUR"), valid_from=utc(2026, 1, 1), who=WHO)
    with pytest.raises(Invalid, match="valid_until is not after valid_from"):
        add_version(session, kept.id, "1", utc(2026, 1, 1), utc(2026, 1, 1))
    session.add(Organisation(id=7, slug="other", name="Other"))
    session.flush()
    foreign = add_tariff(session, organisation_id=7)
    with pytest.raises(Conflict, match="belongs to another organisation"):
        assign(session, site, foreign.id, utc(2026, 1, 1))


def test_two_who_correct_the_same_version_leave_one(session: Session, engine: Engine) -> None:
    kept = add_tariff(session)
    session.commit()

    def correct(price: str) -> None:
        with create_sessions(engine)() as own:
            add_version(own, kept.id, price, utc(2026, 1, 1))
            own.commit()

    threads = [Thread(target=correct, args=(f"0.{n}",)) for n in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(service.list_versions(session, kept.id)) == 1
    assert len(session.scalars(select(TariffVersion)).all()) == 4


def test_hours_hold_from_their_day_on(session: Session) -> None:
    site = add_site(session)
    old, new = (parse_operating_hours({"weekly": {"monday": [span]}}) for span in ("08:00-12:00", "09:00-12:00"))
    site_hours.put_hours(session, site, new, first_day=date(2026, 3, 1), who=WHO)
    site_hours.put_hours(session, site, new, who=WHO)
    site_hours.put_hours(session, site, old, who=WHO)
    found = site_hours.map_hours(session, [site.id, site.id + 1])
    assert [(each.first_day, each.hours) for each in found[site.id]] == [(None, old), (date(2026, 3, 1), new)]
    assert found[site.id + 1] == []


def test_books_of_many_sites_are_read_with_few_queries(session: Session, engine: Engine) -> None:
    kept = add_tariff(session)
    add_version(session, kept.id, "0.1", utc(2026, 1, 1))
    sites = [add_site(session, f"site-{n}") for n in range(20)]
    for site in sites:
        assign(session, site, kept.id, utc(2026, 1, 1))
        site_hours.put_hours(session, site, OperatingHours(), who=WHO)
    session.commit()
    ids = [site.id for site in sites]
    with counted_queries(engine) as statements:
        assert all(len(found) == 1 for found in service.map_price_periods(session, ids, *YEAR).values())
        assert all(len(found) == 1 for found in site_hours.map_hours(session, ids).values())
    assert len(statements) <= 5


def half_hours(start: datetime, *values: str) -> list[Span]:
    step = timedelta(minutes=30)
    return [Span(start + n * step, start + (n + 1) * step, Decimal(value)) for n, value in enumerate(values)]


def put(session: Session, series_id: int, spans: list[Span], hours: float = 2) -> None:
    start = spans[0].from_at
    prices.put_prices(session, series_id, spans, start=start, end=start + timedelta(hours=hours), who=WHO)


def test_prices_replace_those_of_their_range(session: Session) -> None:
    series = prices.create_price_series(session, organisation_id=1, slug="spot", name="Spot", currency="GBP", who=WHO)
    put(session, series.id, half_hours(utc(2026, 1, 1), "0.1", "-0.05", "0.3", "0.4"))
    put(session, series.id, half_hours(utc(2026, 1, 1, 0, 30), "0.25"), hours=1)
    found = prices.read_prices(session, [series.id], *YEAR)[series.id]
    assert list(found.values) == [Decimal("0.1"), Decimal("0.25"), Decimal("0.4")]
    assert found.from_ms.tolist() == [ms_of_instant(utc(2026, 1, 1, *at)) for at in ((0, 0), (0, 30), (1, 30))]
    assert list(prices.read_prices(session, [series.id], *YEAR)[series.id].until_ms - found.from_ms) == [1_800_000] * 3


def test_prices_that_contradict_each_other_are_refused(session: Session) -> None:
    series = prices.create_price_series(session, organisation_id=1, slug="spot", name="Spot", currency="GBP", who=WHO)
    start = utc(2026, 1, 1)
    with pytest.raises(Invalid, match=r"two values hold at 2026-01-01T00:00:00"):
        put(session, series.id, half_hours(start, "0.1") * 2)
    with pytest.raises(Invalid, match="ends before it begins"):
        put(session, series.id, [Span(start, start, Decimal(1))])
    put(session, series.id, [Span(start, start + timedelta(hours=2), Decimal(1))])
    with pytest.raises(Conflict, match="is stored already and reaches over an end of what was sent"):
        put(session, series.id, half_hours(start, "0.1"), hours=0.5)


def test_a_tariff_refers_to_a_series_that_is_there_in_its_currency(session: Session) -> None:
    kept = add_tariff(session)
    document = tariff({"kind": "series", "name": "Energy", "series": "spot"})
    with pytest.raises(Invalid, match="there is no price series 'spot' for the tariff to refer to: create it first"):
        service.add_version(session, kept.id, document, valid_from=utc(2026, 1, 1), who=WHO)
    series = prices.create_price_series(session, organisation_id=1, slug="spot", name="Spot", currency="EUR", who=WHO)
    with pytest.raises(Invalid, match="'spot' is in EUR, the tariff in GBP"):
        service.add_version(session, kept.id, document, valid_from=utc(2026, 1, 1), who=WHO)
    series.currency = "GBP"
    service.add_version(session, kept.id, document, valid_from=utc(2026, 1, 1), who=WHO)
    put(session, series.id, half_hours(utc(2026, 1, 1), "0.1"))
    found = prices.read_price_series(session, 1, [document], *YEAR)
    assert [list(steps.values) for steps in found.values()] == [[Decimal("0.1")]]
    assert list(found) == ["spot"]


def test_factors_are_kept_with_all_that_says_what_they_are(session: Session) -> None:
    factors = FactorsAre(name="GB 2026", region="GB", publisher="DESNZ", year=2026, basis=Basis.LOCATION)
    series = emission_series.create_emission_series(
        session, organisation_id=1, slug="gb-2026", factors=factors, who=WHO
    )
    with pytest.raises(Conflict, match="'gb-2026' already"):
        emission_series.create_emission_series(session, organisation_id=1, slug="gb-2026", factors=factors, who=WHO)
    spans = [Span(*YEAR, Decimal("177.5"))]
    emission_series.put_factors(session, series.id, spans, start=YEAR[0], end=YEAR[1], who=WHO)
    session.commit()
    found = emission_series.read_factors(session, [series.id], utc(2026, 5, 1), utc(2026, 6, 1))
    assert list(found[series.id].values) == [Decimal("177.5")]
    kept = emission_series.get_emission_series(session, series.id)
    assert (kept.basis, kept.kind, kept.life_cycle, kept.year) == ("location", "average", False, 2026)

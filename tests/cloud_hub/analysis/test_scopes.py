from datetime import UTC, date, datetime

import pytest
from ledger_rows import (
    NOW,
    WH,
    add_day,
    add_days,
    add_metered,
    add_organisation,
    add_plain_site,
    add_record,
    add_register,
)
from sqlalchemy.orm import Session

from cloud_hub.analysis.limits import SeveralClocks
from cloud_hub.analysis.model import Figure, Flow, Measure, Scope, Step
from cloud_hub.analysis.results import Series
from cloud_hub.analysis.scopes import (
    UnknownGroup,
    UnknownOrganisation,
    find_group,
    find_meter,
    find_organisation,
    find_site,
)
from cloud_hub.analysis.service import read_series
from cloud_hub.errors import Invalid
from cloud_hub.registry.models import MeterGroup, MeterGroupMember, MeterRole

DAY = date(2026, 6, 1)


def series(session: Session, scope: Scope, first: date = DAY, last: date = DAY, step: Step = Step.DAY) -> Series:
    return read_series(session, scope, first, last, step, now=NOW)


def total(session: Session, scope: Scope, first: date = DAY, last: date = DAY) -> Figure:
    return series(session, scope, first, last).totals[Flow.IMPORT]


def test_a_register_whose_direction_was_corrected_changes_sides_at_that_instant(session: Session) -> None:
    site, controller = add_plain_site(session)
    meter, _ = add_metered(session, controller, "main", unit="varh", quantity="reactive_energy")
    point = add_register(session, meter, direction="export", valid_until=datetime(2026, 6, 1, 10, tzinfo=UTC))
    add_record(session, point, direction="import", valid_from=datetime(2026, 6, 1, 10, tzinfo=UTC))
    add_day(session, point, site, DAY, 10 * WH)
    answer = series(session, find_site(session, "north", "active_energy"))
    assert answer.totals[Flow.EXPORT].amount_micro == 24 * 10 * WH
    assert answer.totals[Flow.IMPORT].amount_micro == 24 * 10 * WH


def test_quantities_are_never_mixed(session: Session) -> None:
    site, controller = add_plain_site(session)
    _, power = add_metered(session, controller, "main")
    _, water = add_metered(session, controller, "water", role=MeterRole.WATER, quantity="volume", unit="m3")
    heat_meter, heat = add_metered(session, controller, "heat", quantity="thermal_energy")
    circuit = add_register(session, heat_meter, quantity="volume", unit="m3")
    for point, amount in ((power, 10), (water, 2), (heat, 30), (circuit, 500)):
        add_day(session, point, site, DAY, amount)
    scope = find_site(session, "north")
    assert [measure.quantity for measure in scope.measures] == ["active_energy", "thermal_energy", "volume"]
    assert scope.measure == Measure("active_energy", "Wh")
    totals = {
        quantity: total(session, find_site(session, "north", quantity)).amount_micro
        for quantity in ("active_energy", "thermal_energy", "volume")
    }
    assert totals == {"active_energy": 480, "thermal_energy": 48 * 30, "volume": 96}
    assert total(session, find_meter(session, heat_meter.id, "volume")).amount_micro == 48 * 500


def test_a_quantity_that_is_not_counted_is_refused_with_those_that_are(session: Session) -> None:
    _, controller = add_plain_site(session)
    add_metered(session, controller, "main")
    with pytest.raises(Invalid, match="counts no volume: ask for one of active_energy"):
        find_site(session, "north", "volume")
    with pytest.raises(Invalid, match="quantity is 'ennui', which no register counts"):
        find_site(session, "north", "ennui")


def test_a_site_without_registers_has_nothing_to_tell(session: Session) -> None:
    add_plain_site(session)
    answer = series(session, find_site(session, "north"))
    assert (answer.totals, answer.flows, answer.residual, len(answer.buckets)) == ({}, {}, None, 1)


def test_an_organisation_adds_up_the_local_days_of_its_sites(session: Session) -> None:
    organisation = add_organisation(session, "group")
    expected = 0
    for n, zone in enumerate(["Pacific/Auckland", "America/Los_Angeles", "Asia/Kathmandu"]):
        site, controller = add_plain_site(session, f"site-{n}", time_zone=zone, organisation=organisation)
        _, point = add_metered(session, controller, "main")
        # Auckland's clock goes back on that day, at 03:00.
        expected += (n + 1) * add_days(session, point, site, date(2026, 4, 5), 1, slot=(n + 1) * WH) * WH
        add_days(session, point, site, date(2026, 4, 6), 1, slot=1000 * WH)
    scope = find_organisation(session, "group")
    answer = series(session, scope, date(2026, 4, 5), date(2026, 4, 5))
    assert answer.totals[Flow.IMPORT].amount_micro == expected == (50 + 2 * 48 + 3 * 48) * WH
    assert answer.totals[Flow.IMPORT].meters == 3
    assert answer.buckets[0].start is None
    with pytest.raises(SeveralClocks, match="step=day or longer"):
        series(session, scope, step=Step.INTERVAL)


def test_an_organisation_on_one_clock_has_intervals(session: Session) -> None:
    organisation = add_organisation(session, "group", interval_s=900)
    for slug in ("east", "west"):
        site, controller = add_plain_site(session, slug, organisation=organisation)
        _, point = add_metered(session, controller, "main")
        add_day(session, point, site, DAY, 3 * WH, interval_s=900)
    answer = series(session, find_organisation(session, "group"), step=Step.INTERVAL)
    assert [figure.amount_micro for figure in answer.flows[Flow.IMPORT]] == [6 * WH] * 96


def test_a_group_counts_members_of_several_sites_once(session: Session) -> None:
    group = MeterGroup(slug="heaters", name="Heaters")
    session.add(group)
    session.flush()
    for slug in ("east", "west"):
        site, controller = add_plain_site(session, slug)
        main, main_point = add_metered(session, controller, "main", role=MeterRole.GRID)
        heater, heater_point = add_metered(session, controller, "heater", parent=main)
        below, below_point = add_metered(session, controller, "coil", parent=heater)
        for point, amount in ((main_point, 100), (heater_point, 10), (below_point, 1)):
            add_day(session, point, site, DAY, amount)
        session.add_all([MeterGroupMember(group_id=group.id, meter_id=each.id) for each in (heater, below)])
    session.flush()
    assert total(session, find_group(session, group.id)).amount_micro == 2 * 480


def test_what_is_not_there_is_said_so(session: Session) -> None:
    with pytest.raises(UnknownOrganisation, match="there is no organisation 'nobody'"):
        find_organisation(session, "nobody")
    with pytest.raises(UnknownGroup, match="there is no group 7"):
        find_group(session, 7)

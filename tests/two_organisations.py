"""Two organisations beside each other that have everything there is, under the same names but for a mark of their own."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from browsing import EMAIL, PASSWORD
from hub_factories import START, add_controller, add_layout, add_meter, add_point, add_scans, add_stream
from sqlalchemy import text
from sqlalchemy.orm import Session
from transfer_factories import add_ledger_day

from cloud_hub.ledger.models import LedgerEdit, LedgerFinding, MeterExchange, RegisterRecord, SuspectSpan
from cloud_hub.organisations.models import Organisation
from cloud_hub.registry.models import MeterGroup, MeterGroupMember, Site
from cloud_hub.tariffs.models import (
    EmissionFactor,
    EmissionSeries,
    PriceSeries,
    Tariff,
    TariffAssignment,
    TariffPrice,
    TariffVersion,
)
from cloud_hub.users.service import create_admin

SITE = "north"
"""The slug of a site in each of them."""
DAY = date(2026, 1, 31)
MIDNIGHT = datetime(2026, 1, 31, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Owner:
    """An organisation, and the names of one thing of each kind that it has."""

    mark: str
    """Its slug, which stands in the name of all that is its."""
    names: dict[str, Any]
    """By the kinds that requests name."""


def add_owner(session: Session, mark: str) -> Owner:
    """Add an organisation below the operator's, with one thing of each kind."""
    organisation = Organisation(slug=mark, name=f"{mark} Ltd", parent_id=1)
    session.add(organisation)
    session.flush()
    site = Site(slug=SITE, name=f"{mark} hut", time_zone="UTC", organisation_id=organisation.id)
    session.add(site)
    session.flush()
    controller = add_controller(session, site, f"{mark}-1")
    add_stream(session, controller, announced_next=7)
    meter = add_meter(session, controller, label=f"{mark} meter", period_s=1800)
    counter = add_point(session, meter, f"{mark}_total", quantity="active_energy", unit="Wh", kind="counter")
    add_layout(session, meter, [counter])
    add_scans(session, meter, [counter], [[1000.0], [1100.0]], start=MIDNIGHT)
    add_ledger_day(session, counter, DAY, zone="UTC")
    group = MeterGroup(organisation_id=organisation.id, slug=mark, name=f"{mark} group")
    session.add(group)
    session.flush()
    session.add(MeterGroupMember(group_id=group.id, meter_id=meter.id))
    names = {
        "organisation": mark,
        "site": f"{mark}:{SITE}",
        "controller": controller.id,
        "meter": meter.id,
        "point": counter.id,
        "group": group.id,
        **_add_judgements(session, mark, meter.id, counter.id),
        **_add_prices(session, mark, organisation.id, site.id),
    }
    session.flush()
    return Owner(mark, names)


def add_person(session: Session, owner: Owner) -> None:
    """Let the one who logs in (`browsing.log_in`) be an administrator of that organisation, and of no other."""
    create_admin(session, EMAIL, PASSWORD)
    session.flush()
    session.execute(
        text("UPDATE memberships SET organisation_id = (SELECT id FROM organisations WHERE slug = :slug)"),
        {"slug": owner.mark},
    )


def _add_judgements(session: Session, mark: str, meter_id: int, point_id: int) -> dict[str, Any]:
    later = MIDNIGHT + timedelta(hours=1)
    register = RegisterRecord(
        point_id=point_id, unit="Wh", direction="import", is_total=True, recorded_by=mark, scale=Decimal(1)
    )
    exchange = MeterExchange(
        point_id=point_id, at=later, closing=Decimal(1), opening=Decimal(0), recorded_by=mark, why=mark
    )
    edit = LedgerEdit(
        point_id=point_id, from_at=MIDNIGHT, to_at=later, amount_micro=1, made_by=mark, why=f"{mark} says so"
    )
    span = SuspectSpan(meter_id=meter_id, from_at=START, to_at=START, reason=f"{mark} clock", readings=1)
    finding = LedgerFinding(point_id=point_id, kind="gap", from_at=MIDNIGHT, to_at=later, detail={"of": mark})
    session.add_all([register, exchange, edit, span, finding])
    session.flush()
    return {"exchange": exchange.id, "edit": edit.id, "suspect_span": span.id}


def _add_prices(session: Session, mark: str, organisation_id: int, site_id: int) -> dict[str, Any]:
    shared = {"organisation_id": organisation_id, "slug": mark, "name": f"{mark} prices"}
    tariff, prices = Tariff(currency="GBP", **shared), PriceSeries(currency="GBP", **shared)
    factors = EmissionSeries(
        region=mark, publisher=mark, basis="location", kind="average", life_cycle=False, with_losses=False, **shared
    )
    session.add_all([tariff, prices, factors])
    session.flush()
    document = {"currency": "GBP", "components": [{"kind": "series", "name": f"{mark} energy", "series": mark}]}
    version = TariffVersion(tariff_id=tariff.id, valid_from=MIDNIGHT, document=document, recorded_by=mark)
    assignment = TariffAssignment(site_id=site_id, tariff_id=tariff.id, valid_from=MIDNIGHT, recorded_by=mark)
    held = {"from_at": MIDNIGHT, "until_at": MIDNIGHT + timedelta(days=1), "value": Decimal("0.5")}
    price, factor = TariffPrice(series_id=prices.id, **held), EmissionFactor(series_id=factors.id, **held)
    session.add_all([version, assignment, price, factor])
    session.flush()
    return {
        "tariff": tariff.id,
        "tariff_version": version.id,
        "tariff_assignment": assignment.id,
        "price_series": prices.id,
        "emission_series": factors.id,
    }

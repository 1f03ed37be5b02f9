"""Operating hours of sites, by the local date from which they hold. Callers commit."""

from collections.abc import Collection
from datetime import date

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud_hub.audit.service import record
from cloud_hub.calendar.hours import HoursFrom, OperatingHours, parse_operating_hours
from cloud_hub.registry.models import Site
from cloud_hub.tariffs.models import SiteHours
from cloud_hub.tariffs.service import lock_site, withdraw
from cloud_hub.web.documents import to_json

_SINCE_EVER = date.min


def put_hours(
    session: Session, site: Site, hours: OperatingHours, *, first_day: date | None = None, who: str, why: str = ""
) -> SiteHours:
    """Let a site have these hours from a local date on (None: since ever), until the next record's.

    One from the same date is withdrawn: this one corrects it.
    """
    lock_site(session, site)
    day = first_day or _SINCE_EVER
    corrected = next((each for each in list_hours(session, site.id) if each.first_day == day), None)
    if corrected is not None:
        withdraw(session, corrected, who)
    kept = SiteHours(site_id=site.id, first_day=day, document=to_json(hours), recorded_by=who, why=why)
    session.add(kept)
    session.flush()
    detail = {
        "hours": kept.id,
        "first_day": None if first_day is None else first_day.isoformat(),
        "corrects": None if corrected is None else corrected.id,
        "why": why,
    }
    subject = f"site:{site.id}"
    record(session, site.organisation_id, who=who, action="operating_hours_put", subject=subject, detail=detail)
    return kept


def list_hours(session: Session, site_id: int) -> list[SiteHours]:
    """List a site's records of hours that are not withdrawn, oldest first."""
    query = select(SiteHours).where(SiteHours.site_id == site_id, SiteHours.withdrawn_at.is_(None))
    return list(session.scalars(query.order_by(SiteHours.first_day)))


def map_hours(session: Session, site_ids: Collection[int]) -> dict[int, list[HoursFrom]]:
    """Return the hours of each of these sites in order of their first days; empty where nobody has said; one query."""
    query = select(SiteHours).where(SiteHours.site_id.in_(site_ids), SiteHours.withdrawn_at.is_(None))
    found: dict[int, list[HoursFrom]] = {site_id: [] for site_id in site_ids}
    for kept in session.scalars(query.order_by(SiteHours.first_day)):
        found[kept.site_id].append(HoursFrom(first_day_of(kept), parse_operating_hours(kept.document)))
    return found


def first_day_of(kept: SiteHours) -> date | None:
    """Return from when a record holds; None: since ever."""
    return None if kept.first_day == _SINCE_EVER else kept.first_day

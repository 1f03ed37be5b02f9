"""Tariffs, their versions, and which site has which. Callers commit; every change leaves its trace in the audit."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cloud_hub.audit.service import record
from cloud_hub.calendar.days import ms_of_instant
from cloud_hub.errors import Conflict, Invalid, NotFound
from cloud_hub.registry.models import Site
from cloud_hub.tariffs.bill import PricePeriod
from cloud_hub.tariffs.document import TariffDocument, parse_tariff
from cloud_hub.tariffs.models import SiteHours, Tariff, TariffAssignment, TariffVersion
from cloud_hub.tariffs.prices import check_series
from cloud_hub.web.documents import to_json

Record = TypeVar("Record", TariffVersion, TariffAssignment, SiteHours)


class UnknownTariff(NotFound):
    """No tariff has that id."""


class UnknownRecord(NotFound):
    """No version or assignment that holds has that id."""


def create_tariff(session: Session, *, organisation_id: int, slug: str, name: str, currency: str, who: str) -> Tariff:
    """Add a tariff without a version yet.

    Raises: Conflict when the organisation has one of that slug.
    """
    known = select(Tariff.id).where(Tariff.organisation_id == organisation_id, Tariff.slug == slug)
    if session.scalars(known).one_or_none() is not None:
        raise Conflict(f"there is a tariff {slug!r} already: add a version to it, or choose another slug")
    tariff = Tariff(organisation_id=organisation_id, slug=slug, name=name, currency=currency)
    session.add(tariff)
    session.flush()
    detail = {"slug": slug, "name": name, "currency": currency}
    record(session, organisation_id, who=who, action="tariff_created", subject=f"tariff:{tariff.id}", detail=detail)
    return tariff


def get_tariff(session: Session, tariff_id: int) -> Tariff:
    """Return the tariff with that id.

    Raises: UnknownTariff.
    """
    tariff = session.get(Tariff, tariff_id)
    if tariff is None:
        raise UnknownTariff(f"there is no tariff {tariff_id}")
    return tariff


def add_version(
    session: Session,
    tariff_id: int,
    document: TariffDocument,
    *,
    valid_from: datetime,
    valid_until: datetime | None = None,
    who: str,
    why: str = "",
) -> TariffVersion:
    """Let a tariff charge this from an instant on, until the next version or `valid_until`.

    A version from the same instant is withdrawn: this one corrects it.
    Raises: UnknownTariff, Invalid when the currency or a price series does not fit, or the period is empty.
    """
    tariff = _lock_tariff(session, tariff_id)
    if document.currency != tariff.currency:
        raise Invalid(
            f"tariff {tariff.slug!r} is in {tariff.currency}, the version in {document.currency}: make another tariff for another currency"
        )
    if valid_until is not None and valid_until <= valid_from:
        raise Invalid("valid_until is not after valid_from: leave it out when the next version ends this one")
    check_series(session, tariff, document)
    corrected = next((each for each in list_versions(session, tariff_id) if each.valid_from == valid_from), None)
    if corrected is not None:
        withdraw(session, corrected, who)
    version = TariffVersion(
        tariff_id=tariff_id,
        valid_from=valid_from,
        valid_until=valid_until,
        document=to_json(document),
        recorded_by=who,
        why=why,
    )
    session.add(version)
    session.flush()
    detail = {
        "version": version.id,
        "valid_from": valid_from.isoformat(),
        "corrects": None if corrected is None else corrected.id,
        "why": why,
    }
    _trace(session, tariff, who, "tariff_version_added", detail)
    return version


def withdraw_version(session: Session, tariff_id: int, version_id: int, *, who: str) -> None:
    """Take a version back; the one before it holds on.

    Raises: UnknownTariff, UnknownRecord.
    """
    tariff = _lock_tariff(session, tariff_id)
    found = next((each for each in list_versions(session, tariff_id) if each.id == version_id), None)
    if found is None:
        raise UnknownRecord(f"tariff {tariff_id} has no version {version_id} that holds")
    withdraw(session, found, who)
    _trace(session, tariff, who, "tariff_version_withdrawn", {"version": version_id})


def list_versions(session: Session, tariff_id: int) -> list[TariffVersion]:
    """List a tariff's versions that are not withdrawn, oldest first."""
    return _versions(session, [tariff_id])[tariff_id]


def assign_tariff(
    session: Session, site: Site, tariff_id: int | None, *, valid_from: datetime, who: str, why: str = ""
) -> TariffAssignment:
    """Give a site a tariff, or None, from an instant on; one from the same instant is withdrawn.

    Raises: UnknownTariff, Conflict for a tariff of another organisation.
    """
    if tariff_id is not None and get_tariff(session, tariff_id).organisation_id != site.organisation_id:
        raise Conflict(f"tariff {tariff_id} belongs to another organisation than site {site.slug!r}")
    lock_site(session, site)
    corrected = next((each for each in list_assignments(session, site.id) if each.valid_from == valid_from), None)
    if corrected is not None:
        withdraw(session, corrected, who)
    assignment = TariffAssignment(site_id=site.id, tariff_id=tariff_id, valid_from=valid_from, recorded_by=who, why=why)
    session.add(assignment)
    session.flush()
    detail = {"assignment": assignment.id, "tariff": tariff_id, "valid_from": valid_from.isoformat(), "why": why}
    _trace(session, site, who, "tariff_assigned", detail)
    return assignment


def withdraw_assignment(session: Session, site: Site, assignment_id: int, *, who: str) -> None:
    """Take an assignment back; the one before it holds on.

    Raises: UnknownRecord.
    """
    lock_site(session, site)
    found = next((each for each in list_assignments(session, site.id) if each.id == assignment_id), None)
    if found is None:
        raise UnknownRecord(f"site {site.slug!r} has no assignment {assignment_id} that holds")
    withdraw(session, found, who)
    _trace(session, site, who, "tariff_assignment_withdrawn", {"assignment": assignment_id})


def list_assignments(session: Session, site_id: int) -> list[TariffAssignment]:
    """List a site's assignments that are not withdrawn, oldest first."""
    return _assignments(session, [site_id])[site_id]


def map_price_periods(
    session: Session, site_ids: Collection[int], start: datetime, end: datetime
) -> dict[int, list[PricePeriod]]:
    """Return what each of these sites is charged in `[start, end)`, in order of time, disjoint; two queries."""
    assignments = _assignments(session, site_ids)
    tariff_ids = {each.tariff_id for rows in assignments.values() for each in rows if each.tariff_id is not None}
    versions = _versions(session, tariff_ids)
    slugs = {
        row.id: row.slug for row in session.execute(select(Tariff.id, Tariff.slug).where(Tariff.id.in_(tariff_ids)))
    }
    return {site_id: _periods(assignments[site_id], versions, slugs, start, end) for site_id in site_ids}


def lock_site(session: Session, site: Site) -> None:
    """Let nobody else change what is recorded of a site; meters may be added meanwhile."""
    session.execute(select(Site.id).where(Site.id == site.id).with_for_update(key_share=True))


def withdraw(session: Session, found: Record, who: str) -> None:
    """Mark a record as one that no longer holds."""
    found.withdrawn_at, found.withdrawn_by = session.scalar(select(func.now())), who
    session.flush()


def _periods(
    assignments: Sequence[TariffAssignment],
    versions: dict[int, list[TariffVersion]],
    slugs: dict[int, str],
    start: datetime,
    end: datetime,
) -> list[PricePeriod]:
    periods = []
    for place, assignment in enumerate(assignments):
        until = assignments[place + 1].valid_from if place + 1 < len(assignments) else None
        if assignment.tariff_id is None:
            continue
        of_tariff = versions[assignment.tariff_id]
        for number, version in enumerate(of_tariff):
            following = of_tariff[number + 1].valid_from if number + 1 < len(of_tariff) else None
            first = max(assignment.valid_from, version.valid_from)
            last = min((at for at in (until, following, version.valid_until) if at is not None), default=None)
            if first < end and (last is None or (last > start and last > first)):
                periods.append(_period(version, slugs[assignment.tariff_id], first, last))
    return periods


def _period(version: TariffVersion, slug: str, first: datetime, last: datetime | None) -> PricePeriod:
    until_ms = None if last is None else ms_of_instant(last)
    return PricePeriod(parse_tariff(version.document), ms_of_instant(first), until_ms, slug, version.id)


def _lock_tariff(session: Session, tariff_id: int) -> Tariff:
    get_tariff(session, tariff_id)
    return session.scalars(select(Tariff).where(Tariff.id == tariff_id).with_for_update(key_share=True)).one()


def _versions(session: Session, tariff_ids: Collection[int]) -> dict[int, list[TariffVersion]]:
    query = (
        select(TariffVersion)
        .where(TariffVersion.tariff_id.in_(tariff_ids), TariffVersion.withdrawn_at.is_(None))
        .order_by(TariffVersion.valid_from)
    )
    found: dict[int, list[TariffVersion]] = defaultdict(list)
    for version in session.scalars(query):
        found[version.tariff_id].append(version)
    return found


def _assignments(session: Session, site_ids: Collection[int]) -> dict[int, list[TariffAssignment]]:
    query = (
        select(TariffAssignment)
        .where(TariffAssignment.site_id.in_(site_ids), TariffAssignment.withdrawn_at.is_(None))
        .order_by(TariffAssignment.valid_from)
    )
    found: dict[int, list[TariffAssignment]] = defaultdict(list)
    for assignment in session.scalars(query):
        found[assignment.site_id].append(assignment)
    return found


def _trace(session: Session, owner: Tariff | Site, who: str, action: str, detail: Mapping[str, object]) -> None:
    kind = "tariff" if isinstance(owner, Tariff) else "site"
    record(session, owner.organisation_id, who=who, action=action, subject=f"{kind}:{owner.id}", detail=detail)

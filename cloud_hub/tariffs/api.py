"""Tariffs, their versions, a site's tariff and operating hours as JSON."""

from http import HTTPStatus

from cloud_hub.access import routes
from cloud_hub.access.permissions import Permission
from cloud_hub.access.routes import current_actor
from cloud_hub.registry.queries import get_site
from cloud_hub.tariffs import service, site_hours
from cloud_hub.tariffs.answers import hours_out, tariff_out
from cloud_hub.tariffs.catalogue import choose_owner, find_owner, list_owned
from cloud_hub.tariffs.models import Tariff
from cloud_hub.tariffs.schemas import (
    AssignmentIn,
    AssignmentOut,
    AssignmentsOut,
    CurrencyQuery,
    HoursIn,
    HoursListOut,
    HoursOut,
    TariffIn,
    TariffOut,
    TariffWithVersionsOut,
    VersionIn,
    VersionOut,
)
from cloud_hub.web.database import request_session
from cloud_hub.web.pagination import PageOut, encode_cursor

api = routes.api("tariffs_api", tag="Tariffs")


@api.get("/tariffs", permission=Permission.TARIFFS_READ, query=CurrencyQuery, answer=PageOut[TariffOut])
def list_tariffs(query: CurrencyQuery) -> PageOut[TariffOut]:
    """List tariffs by id."""
    page = list_owned(
        request_session(),
        Tariff,
        query.window,
        organisation=query.organisation,
        slug=query.slug,
        currency=query.currency,
    )
    items = [tariff_out(one.item, one.organisation) for one in page.items]
    return PageOut(items=items, next_cursor=encode_cursor(page.next_key))


@api.post(
    "/tariffs",
    permission=Permission.TARIFFS_WRITE,
    body=TariffIn,
    answer=TariffWithVersionsOut,
    status=HTTPStatus.CREATED,
    is_idempotent=True,
    problems=(HTTPStatus.CONFLICT,),
)
def create_tariff(body: TariffIn) -> TariffWithVersionsOut:
    """Create a tariff, without a version yet."""
    session = request_session()
    tariff = service.create_tariff(
        session,
        organisation_id=choose_owner(session, current_actor(), body.organisation),
        slug=body.slug,
        name=body.name,
        currency=body.currency,
        who=current_actor().label,
    )
    shown = tariff_out(tariff, find_owner(session, tariff.organisation_id))
    session.commit()
    return TariffWithVersionsOut(**shown.model_dump(), versions=[])


@api.get("/tariffs/<id:tariff_id>", permission=Permission.TARIFFS_READ, answer=TariffWithVersionsOut)
def get_tariff(tariff_id: int) -> TariffWithVersionsOut:
    """Return a tariff with its versions."""
    session = request_session()
    tariff = service.get_tariff(session, tariff_id)
    shown = tariff_out(tariff, find_owner(session, tariff.organisation_id))
    versions = [VersionOut.model_validate(version) for version in service.list_versions(session, tariff_id)]
    return TariffWithVersionsOut(**shown.model_dump(), versions=versions)


@api.post(
    "/tariffs/<id:tariff_id>/versions",
    permission=Permission.TARIFFS_WRITE,
    body=VersionIn,
    answer=VersionOut,
    status=HTTPStatus.CREATED,
    is_idempotent=True,
)
def add_version(tariff_id: int, body: VersionIn) -> VersionOut:
    """Let a tariff charge something from an instant on."""
    session = request_session()
    version = service.add_version(
        session,
        tariff_id,
        body.tariff,
        valid_from=body.valid_from,
        valid_until=body.valid_until,
        who=current_actor().label,
        why=body.why,
    )
    session.commit()
    return VersionOut.model_validate(version)


@api.delete(
    "/tariffs/<id:tariff_id>/versions/<id:version_id>",
    permission=Permission.TARIFFS_WRITE,
    names={"version_id": "tariff_version"},
    status=HTTPStatus.NO_CONTENT,
)
def withdraw_version(tariff_id: int, version_id: int) -> None:
    """Take a version back."""
    session = request_session()
    service.withdraw_version(session, tariff_id, version_id, who=current_actor().label)
    session.commit()


@api.get("/sites/<site>/tariffs", permission=Permission.TARIFFS_READ, answer=AssignmentsOut)
def list_assignments(site: str) -> AssignmentsOut:
    """List which tariff a site has from when on."""
    session = request_session()
    rows = service.list_assignments(session, get_site(session, site).id)
    return AssignmentsOut(items=[AssignmentOut.model_validate(row) for row in rows])


@api.post(
    "/sites/<site>/tariffs",
    permission=Permission.TARIFFS_WRITE,
    body=AssignmentIn,
    answer=AssignmentOut,
    status=HTTPStatus.CREATED,
    is_idempotent=True,
    problems=(HTTPStatus.CONFLICT,),
)
def assign_tariff(site: str, body: AssignmentIn) -> AssignmentOut:
    """Give a site a tariff from an instant on."""
    session = request_session()
    found = get_site(session, site)
    assignment = service.assign_tariff(
        session, found, body.tariff_id, valid_from=body.valid_from, who=current_actor().label, why=body.why
    )
    session.commit()
    return AssignmentOut.model_validate(assignment)


@api.delete(
    "/sites/<site>/tariffs/<id:assignment_id>",
    permission=Permission.TARIFFS_WRITE,
    names={"assignment_id": "tariff_assignment"},
    status=HTTPStatus.NO_CONTENT,
)
def withdraw_assignment(site: str, assignment_id: int) -> None:
    """Take an assignment back."""
    session = request_session()
    service.withdraw_assignment(session, get_site(session, site), assignment_id, who=current_actor().label)
    session.commit()


@api.get("/sites/<site>/operating-hours", permission=Permission.TARIFFS_READ, answer=HoursListOut)
def list_hours(site: str) -> HoursListOut:
    """List a site's operating hours, by the day from which they hold."""
    session = request_session()
    rows = site_hours.list_hours(session, get_site(session, site).id)
    return HoursListOut(items=[hours_out(row) for row in rows])


@api.put("/sites/<site>/operating-hours", permission=Permission.TARIFFS_WRITE, body=HoursIn, answer=HoursOut)
def put_hours(site: str, body: HoursIn) -> HoursOut:
    """Let a site have these hours from a local date on."""
    session = request_session()
    found = get_site(session, site)
    kept = site_hours.put_hours(
        session, found, body.hours, first_day=body.first_day, who=current_actor().label, why=body.why
    )
    session.commit()
    return hours_out(kept)

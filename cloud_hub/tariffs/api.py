"""Tariffs, price series, a site's tariff and operating hours, emission factors as JSON."""

from flask import Blueprint, Response, request

from cloud_hub.registry.queries import get_site
from cloud_hub.tariffs import emission_series, prices, service, site_hours
from cloud_hub.tariffs.answers import answer_created, answer_gone, answer_steps, read_body, wanted_range
from cloud_hub.tariffs.emission_series import FactorsAre
from cloud_hub.tariffs.models import SiteHours, Tariff
from cloud_hub.tariffs.schemas import (
    AssignmentIn,
    AssignmentOut,
    AssignmentsOut,
    EmissionSeriesIn,
    EmissionSeriesOut,
    HoursIn,
    HoursListOut,
    HoursOut,
    PriceSeriesIn,
    PriceSeriesOut,
    SpansIn,
    StoredOut,
    TariffIn,
    TariffOut,
    TariffWithVersionsOut,
    VersionIn,
    VersionOut,
)
from cloud_hub.users.access import current_user
from cloud_hub.web.database import request_session
from cloud_hub.web.json import answer_json
from cloud_hub.web.pagination import PageOut, encode_cursor, parse_window

api = Blueprint("tariffs_api", __name__, url_prefix="/api/v1")


@api.get("/tariffs")
def list_tariffs() -> Response:
    """List tariffs by id."""
    page = service.list_tariffs(request_session(), parse_window(request.args))
    items = [TariffOut.model_validate(tariff) for tariff in page.items]
    return answer_json(PageOut[TariffOut](items=items, next_cursor=encode_cursor(page.next_key)))


@api.post("/tariffs")
def create_tariff() -> Response:
    """Create a tariff, without a version yet."""
    body = read_body(TariffIn)
    session = request_session()
    tariff = service.create_tariff(
        session,
        organisation_id=service.get_organisation_id(session, body.organisation),
        slug=body.slug,
        name=body.name,
        currency=body.currency,
        who=current_user().email,
    )
    session.commit()
    return answer_created(_tariff_out(tariff, []))


@api.get("/tariffs/<id:tariff_id>")
def get_tariff(tariff_id: int) -> Response:
    """Return a tariff with its versions."""
    session = request_session()
    tariff = service.get_tariff(session, tariff_id)
    versions = [VersionOut.model_validate(version) for version in service.list_versions(session, tariff_id)]
    return answer_json(_tariff_out(tariff, versions))


@api.post("/tariffs/<id:tariff_id>/versions")
def add_version(tariff_id: int) -> Response:
    """Let a tariff charge something from an instant on."""
    body = read_body(VersionIn)
    session = request_session()
    version = service.add_version(
        session,
        tariff_id,
        body.tariff,
        valid_from=body.valid_from,
        valid_until=body.valid_until,
        who=current_user().email,
        why=body.why,
    )
    session.commit()
    return answer_created(VersionOut.model_validate(version))


@api.delete("/tariffs/<id:tariff_id>/versions/<id:version_id>")
def withdraw_version(tariff_id: int, version_id: int) -> Response:
    """Take a version back."""
    session = request_session()
    service.withdraw_version(session, tariff_id, version_id, who=current_user().email)
    session.commit()
    return answer_gone()


@api.get("/sites/<slug>/tariffs")
def list_assignments(slug: str) -> Response:
    """List which tariff a site has from when on."""
    session = request_session()
    rows = service.list_assignments(session, get_site(session, slug).id)
    return answer_json(AssignmentsOut(items=[AssignmentOut.model_validate(row) for row in rows]))


@api.post("/sites/<slug>/tariffs")
def assign_tariff(slug: str) -> Response:
    """Give a site a tariff from an instant on."""
    body = read_body(AssignmentIn)
    session = request_session()
    site = get_site(session, slug)
    assignment = service.assign_tariff(
        session, site, body.tariff_id, valid_from=body.valid_from, who=current_user().email, why=body.why
    )
    session.commit()
    return answer_created(AssignmentOut.model_validate(assignment))


@api.delete("/sites/<slug>/tariffs/<id:assignment_id>")
def withdraw_assignment(slug: str, assignment_id: int) -> Response:
    """Take an assignment back."""
    session = request_session()
    service.withdraw_assignment(session, get_site(session, slug), assignment_id, who=current_user().email)
    session.commit()
    return answer_gone()


@api.get("/sites/<slug>/operating-hours")
def list_hours(slug: str) -> Response:
    """List a site's operating hours, by the day from which they hold."""
    session = request_session()
    rows = site_hours.list_hours(session, get_site(session, slug).id)
    return answer_json(HoursListOut(items=[_hours_out(row) for row in rows]))


@api.put("/sites/<slug>/operating-hours")
def put_hours(slug: str) -> Response:
    """Let a site have these hours from a local date on."""
    body = read_body(HoursIn)
    session = request_session()
    site = get_site(session, slug)
    kept = site_hours.put_hours(
        session, site, body.hours, first_day=body.first_day, who=current_user().email, why=body.why
    )
    session.commit()
    return answer_json(_hours_out(kept))


@api.get("/price-series")
def list_price_series() -> Response:
    """List price series by id."""
    page = prices.list_price_series(request_session(), parse_window(request.args))
    items = [PriceSeriesOut.model_validate(series) for series in page.items]
    return answer_json(PageOut[PriceSeriesOut](items=items, next_cursor=encode_cursor(page.next_key)))


@api.post("/price-series")
def create_price_series() -> Response:
    """Create a price series, without prices yet."""
    body = read_body(PriceSeriesIn)
    session = request_session()
    series = prices.create_price_series(
        session,
        organisation_id=service.get_organisation_id(session, body.organisation),
        slug=body.slug,
        name=body.name,
        currency=body.currency,
        who=current_user().email,
    )
    session.commit()
    return answer_created(PriceSeriesOut.model_validate(series))


@api.get("/price-series/<id:series_id>/prices")
def list_prices(series_id: int) -> Response:
    """List a series' prices in `[from, to)`, per kWh."""
    start, end = wanted_range()
    session = request_session()
    series = prices.get_price_series(session, series_id)
    return answer_steps(prices.read_prices(session, [series.id], start, end)[series.id])


@api.put("/price-series/<id:series_id>/prices")
def put_prices(series_id: int) -> Response:
    """Replace prices of a series."""
    spans, start, end = read_body(SpansIn).listed()
    session = request_session()
    prices.put_prices(session, series_id, spans, start=start, end=end, who=current_user().email)
    session.commit()
    return answer_json(StoredOut(stored=len(spans), start=start, end=end))


@api.get("/emission-series")
def list_emission_series() -> Response:
    """List series of emission factors by id."""
    page = emission_series.list_emission_series(request_session(), parse_window(request.args))
    items = [EmissionSeriesOut.model_validate(series) for series in page.items]
    return answer_json(PageOut[EmissionSeriesOut](items=items, next_cursor=encode_cursor(page.next_key)))


@api.post("/emission-series")
def create_emission_series() -> Response:
    """Create a series of emission factors, without factors yet."""
    body = read_body(EmissionSeriesIn)
    session = request_session()
    series = emission_series.create_emission_series(
        session,
        organisation_id=service.get_organisation_id(session, body.organisation),
        slug=body.slug,
        factors=FactorsAre(**body.model_dump(exclude={"slug", "organisation"})),
        who=current_user().email,
    )
    session.commit()
    return answer_created(EmissionSeriesOut.model_validate(series))


@api.get("/emission-series/<id:series_id>/factors")
def list_factors(series_id: int) -> Response:
    """List a series' factors in `[from, to)`, in g of CO2 equivalent per kWh."""
    start, end = wanted_range()
    session = request_session()
    series = emission_series.get_emission_series(session, series_id)
    return answer_steps(emission_series.read_factors(session, [series.id], start, end)[series.id])


@api.put("/emission-series/<id:series_id>/factors")
def put_factors(series_id: int) -> Response:
    """Replace factors of a series."""
    spans, start, end = read_body(SpansIn).listed()
    session = request_session()
    emission_series.put_factors(session, series_id, spans, start=start, end=end, who=current_user().email)
    session.commit()
    return answer_json(StoredOut(stored=len(spans), start=start, end=end))


def _tariff_out(tariff: Tariff, versions: list[VersionOut]) -> TariffWithVersionsOut:
    shown = TariffOut.model_validate(tariff)
    return TariffWithVersionsOut(**shown.model_dump(), versions=versions)


def _hours_out(kept: SiteHours) -> HoursOut:
    return HoursOut(
        id=kept.id,
        first_day=site_hours.first_day_of(kept),
        hours=kept.document,
        recorded_at=kept.recorded_at,
        recorded_by=kept.recorded_by,
        why=kept.why,
    )

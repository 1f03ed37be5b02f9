"""Sites, meters and points as JSON."""

from collections.abc import Sequence

from flask import Blueprint, Response, request
from sqlalchemy.orm import Session

from cloud_hub.registry import queries
from cloud_hub.registry.models import Meter
from cloud_hub.registry.schemas import MeterOut, PointOut, PointsOut, SiteOut
from cloud_hub.web.database import request_session
from cloud_hub.web.json import answer_json
from cloud_hub.web.pagination import PageOut, encode_cursor, parse_window

api = Blueprint("registry_api", __name__, url_prefix="/api/v1")


@api.get("/sites")
def list_sites() -> Response:
    """List sites by slug."""
    page = queries.list_sites(request_session(), parse_window(request.args))
    items = [SiteOut.model_validate(site) for site in page.items]
    return answer_json(PageOut[SiteOut](items=items, next_cursor=encode_cursor(page.next_key)))


@api.get("/sites/<slug>")
def get_site(slug: str) -> Response:
    """Return one site."""
    return answer_json(SiteOut.model_validate(queries.get_site(request_session(), slug)))


@api.get("/meters")
def list_meters() -> Response:
    """List meters; `site` names one site."""
    session = request_session()
    page = queries.list_meters(session, parse_window(request.args), wanted_site_id(session))
    items = _meters_out(session, page.items)
    return answer_json(PageOut[MeterOut](items=items, next_cursor=encode_cursor(page.next_key)))


@api.get("/meters/<id:meter_id>")
def get_meter(meter_id: int) -> Response:
    """Return one meter."""
    session = request_session()
    return answer_json(_meters_out(session, [queries.get_meter(session, meter_id)])[0])


@api.get("/meters/<id:meter_id>/points")
def list_points(meter_id: int) -> Response:
    """List the points of one meter."""
    session = request_session()
    meter = queries.get_meter(session, meter_id)
    points = queries.list_points(session, [meter.id])
    return answer_json(PointsOut(items=[PointOut.model_validate(point) for point in points]))


def wanted_site_id(session: Session) -> int | None:
    """Return the id of the site that the request's `site` names; None when it names none.

    Raises: UnknownSite.
    """
    slug = request.args.get("site")
    return None if slug is None else queries.get_site(session, slug).id


def _meters_out(session: Session, meters: Sequence[Meter]) -> list[MeterOut]:
    slugs = queries.map_site_slugs(session, {meter.site_id for meter in meters})
    return [
        MeterOut(
            id=meter.id,
            slug=meter.slug,
            controller_id=meter.controller_id,
            site=slugs[meter.site_id],
            label=meter.label,
            profile=meter.profile,
            period_s=meter.period_s,
        )
        for meter in meters
    ]

"""Readings over HTTP: the newest of a meter or of a site, and a point's course over time."""

from collections.abc import Collection, Sequence
from http import HTTPStatus
from math import isnan

from flask import Response
from sqlalchemy.orm import Session

from cloud_hub.access import routes
from cloud_hub.access.permissions import Permission
from cloud_hub.readings import service
from cloud_hub.readings.schemas import (
    LatestField,
    LatestListOut,
    LatestOut,
    LatestQuery,
    SeriesField,
    SeriesOut,
    SeriesPointOut,
    SeriesQuery,
    SiteLatestQuery,
)
from cloud_hub.readings.series import NO_READING, Series, mark_holes, reduce
from cloud_hub.registry import queries
from cloud_hub.web.columns import MEDIA_TYPES, Column, Format, Kind, answer_columns, wanted_format
from cloud_hub.web.database import request_session
from cloud_hub.web.json import answer_sparse
from cloud_hub.web.pagination import PageOut, encode_cursor
from protocol.manifest import PointKind
from protocol.quality import quality_name

api = routes.api("readings_api", tag="Readings")


@api.get("/meters/<id:meter_id>/latest", permission=Permission.READINGS_READ, query=LatestQuery, answer=LatestListOut)
def list_latest(meter_id: int, query: LatestQuery) -> Response:
    """List the newest reading of each point of a meter."""
    (latest,) = _read_latest(request_session(), [meter_id])
    return answer_sparse(latest, {"items": {"__all__": _unwanted(LatestField, query.fields)}})


@api.get(
    "/sites/<site>/latest",
    permission=Permission.READINGS_READ,
    query=SiteLatestQuery,
    answer=PageOut[LatestListOut],
)
def list_latest_of_site(site: str, query: SiteLatestQuery) -> Response:
    """List the newest reading of each point of a site, meter by meter."""
    session = request_session()
    wanted = queries.MeterFilter(site_id=queries.get_site(session, site).id)
    page = queries.list_meters(session, query.window, wanted)
    items = _read_latest(session, [meter.id for meter in page.items])
    answer = PageOut[LatestListOut](items=items, next_cursor=encode_cursor(page.next_key))
    unwanted = _unwanted(LatestField, query.fields)
    return answer_sparse(answer, {"items": {"__all__": {"items": {"__all__": unwanted}}}})


@api.get(
    "/points/<id:point_id>/series",
    permission=Permission.READINGS_READ,
    query=SeriesQuery,
    answer=SeriesOut,
    media=tuple(MEDIA_TYPES.values()),
    problems=(HTTPStatus.NOT_ACCEPTABLE,),
)
def get_series(point_id: int, query: SeriesQuery) -> Response:
    """Return a point's readings in `[from, to)`, at most `max_points` rows of them."""
    form = wanted_format(query.format)
    session = request_session()
    point = queries.get_point(session, point_id)
    series = service.read_series(session, meter_id=point.meter_id, point_id=point.id, start=query.start, end=query.end)
    marked = series if point.period_s is None else mark_holes(series, point.period_s)
    shown = reduce(marked, query.max_points)
    is_reduced = len(shown) < len(marked)
    if form is not Format.JSON:
        columns = [column for column in _columns(shown) if column.name in (query.fields or SeriesField)]
        about = {"point": str(point.id), "name": point.name, "unit": point.unit, "reduced": str(is_reduced).lower()}
        return answer_columns(form, columns, about, file_name=f"point-{point.id}")
    answer = SeriesOut(
        point=SeriesPointOut(
            id=point.id, meter_id=point.meter_id, name=point.name, unit=point.unit, kind=PointKind(point.kind)
        ),
        start=query.start,
        end=query.end,
        readings=len(series),
        reduced=is_reduced,
        observed_at=shown.observed_at_ms.tolist(),
        value=[None if isnan(value) else value for value in shown.value.tolist()],
        quality=_quality_names(shown),
    )
    return answer_sparse(answer, _unwanted(SeriesField, query.fields))


def _read_latest(session: Session, meter_ids: Sequence[int]) -> list[LatestListOut]:
    found: dict[int, list[LatestOut]] = {meter_id: [] for meter_id in meter_ids}
    points = {point.id: point for point in queries.list_points(session, meter_ids)}
    for latest in sorted(service.list_latest(session, meter_ids), key=lambda latest: latest.point_id):
        point = points.get(latest.point_id)
        if point is not None:
            found[latest.meter_id].append(
                LatestOut(
                    point_id=point.id,
                    name=point.name,
                    unit=point.unit,
                    observed_at=latest.observed_at,
                    value=latest.value,
                    quality=quality_name(latest.quality),
                )
            )
    return [LatestListOut(meter_id=meter_id, items=items) for meter_id, items in found.items()]


def _unwanted(words: type[LatestField | SeriesField], wanted: Collection[str] | None) -> set[str]:
    return set() if wanted is None else {word.value for word in words if word not in wanted}


def _columns(shown: Series) -> list[Column]:
    return [
        Column(SeriesField.OBSERVED_AT, Kind.INSTANT, shown.observed_at_ms),
        Column(SeriesField.VALUE, Kind.NUMBER, shown.value),
        Column(SeriesField.QUALITY, Kind.WORD, _quality_names(shown)),
    ]


def _quality_names(shown: Series) -> list[str | None]:
    return [None if code == NO_READING else quality_name(code) for code in shown.quality.tolist()]

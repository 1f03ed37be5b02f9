"""Readings as JSON: the newest of a meter, and a point's course over time."""

from math import isnan

from flask import Blueprint, Response, request

from cloud_hub.errors import Invalid
from cloud_hub.readings import service
from cloud_hub.readings.schemas import LatestListOut, LatestOut, SeriesOut, SeriesPointOut
from cloud_hub.readings.series import NO_READING, Series, mark_holes, reduce
from cloud_hub.registry import queries
from cloud_hub.registry.models import Point
from cloud_hub.web.database import request_session
from cloud_hub.web.json import answer_json
from cloud_hub.web.parameters import parse_instant, parse_whole
from protocol.quality import quality_name

POINTS_DEFAULT = 2_000
POINTS_MAX = 20_000

api = Blueprint("readings_api", __name__, url_prefix="/api/v1")


@api.get("/meters/<id:meter_id>/latest")
def list_latest(meter_id: int) -> Response:
    """List the newest reading of each point of a meter."""
    session = request_session()
    meter = queries.get_meter(session, meter_id)
    points = {point.id: point for point in queries.list_points(session, [meter.id])}
    items = [
        LatestOut(
            point_id=latest.point_id,
            name=points[latest.point_id].name,
            unit=points[latest.point_id].unit,
            observed_at=latest.observed_at,
            value=latest.value,
            quality=quality_name(latest.quality),
        )
        for latest in service.list_latest(session, [meter.id])
        if latest.point_id in points
    ]
    items.sort(key=lambda item: item.point_id)
    return answer_json(LatestListOut(meter_id=meter.id, items=items))


@api.get("/points/<id:point_id>/series")
def get_series(point_id: int) -> Response:
    """Return a point's readings in `[from, to)`, at most `max_points` rows of them."""
    start, end = parse_instant(request.args, "from"), parse_instant(request.args, "to")
    if end <= start:
        raise Invalid("to is not after from: a range of time begins at from and ends before to")
    points_max = parse_whole(request.args, "max_points", default=POINTS_DEFAULT, lowest=10, highest=POINTS_MAX)
    session = request_session()
    point = queries.get_point(session, point_id)
    meter = queries.get_meter(session, point.meter_id)
    series = service.read_series(session, meter_id=meter.id, point_id=point.id, start=start, end=end)
    marked = series if point.period_s is None else mark_holes(series, point.period_s)
    shown = reduce(marked, points_max)
    return answer_json(
        SeriesOut(
            point=_point_out(point),
            start=start,
            end=end,
            readings=len(series),
            reduced=len(shown) < len(marked),
            observed_at=shown.observed_at_ms.tolist(),
            value=_values_out(shown),
            quality=[None if code == NO_READING else quality_name(code) for code in shown.quality.tolist()],
        )
    )


def _point_out(point: Point) -> SeriesPointOut:
    return SeriesPointOut(id=point.id, meter_id=point.meter_id, name=point.name, unit=point.unit, kind=point.kind)


def _values_out(series: Series) -> list[float | None]:
    values: list[float] = series.value.tolist()
    return [None if isnan(value) else value for value in values]

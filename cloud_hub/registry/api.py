"""Meters and points as JSON."""

from http import HTTPStatus

from cloud_hub.access import routes
from cloud_hub.access.permissions import Permission
from cloud_hub.access.routes import current_actor
from cloud_hub.registry import bulk, meters, points, queries
from cloud_hub.registry.answers import meter_out, meters_out
from cloud_hub.registry.bodies import (
    BulkQuery,
    MeterChanges,
    MeterIn,
    MetersIn,
    MetersQuery,
    MeterStepIn,
    PointChanges,
)
from cloud_hub.registry.life_cycle import list_life
from cloud_hub.registry.lookups import Lookups
from cloud_hub.registry.models import Meter
from cloud_hub.registry.queries import MeterFilter
from cloud_hub.registry.replacement import list_devices, step_meter
from cloud_hub.registry.schemas import (
    DeviceOut,
    DevicesOut,
    LifeOut,
    MeterOut,
    MeterResult,
    MeterResults,
    PointOut,
    PointsOut,
    Refusal,
    StepOut,
)
from cloud_hub.web.database import request_session
from cloud_hub.web.etags import require_match
from cloud_hub.web.pagination import PageOut, encode_cursor

api = routes.api("registry_api", tag="Meters")


@api.get("/meters", permission=Permission.SITES_READ, query=MetersQuery, answer=PageOut[MeterOut])
def list_meters(query: MetersQuery) -> PageOut[MeterOut]:
    """List meters by id."""
    session = request_session()
    wanted = MeterFilter(
        site_id=None if query.site is None else queries.get_site(session, query.site).id,
        controller_id=query.controller,
        organisation=query.organisation,
        group_id=query.group,
        parent_id=query.parent_id,
        owner_id=query.owner,
        role=query.role,
        state=query.state,
        text=query.text,
    )
    page = queries.list_meters(session, query.window, wanted)
    return PageOut(items=meters_out(session, page.items), next_cursor=encode_cursor(page.next_key))


@api.post(
    "/meters",
    permission=Permission.METERS_WRITE,
    body=MeterIn,
    answer=MeterOut,
    status=HTTPStatus.CREATED,
    is_idempotent=True,
    problems=(HTTPStatus.CONFLICT,),
)
def create_meter(body: MeterIn) -> MeterOut:
    """Register a meter; its controller's report finds it by its slug."""
    session = request_session()
    answer = meter_out(session, Lookups(session, current_actor()).register(body))
    session.commit()
    return answer


@api.post(
    "/meters/bulk",
    permission=Permission.METERS_WRITE,
    query=BulkQuery,
    body=MetersIn,
    answer=MeterResults,
    is_idempotent=True,
    problems=(HTTPStatus.CONFLICT,),
)
def create_meters(query: BulkQuery, body: MetersIn) -> MeterResults:
    """Register up to 1,000 meters, all or none; with `partial` as many as can be.

    What is malformed, or names something that you may not see or use, refuses the whole request in either case.
    """
    session = request_session()
    make = Lookups(session, current_actor()).register
    came = list(bulk.make_each(session, body.items, make)) if query.partial else bulk.make_all(body.items, make)
    shown = iter(meters_out(session, [one for one in came if isinstance(one, Meter)]))
    answer = MeterResults(
        items=[
            MeterResult(index=index, meter=None, problem=one)
            if isinstance(one, Refusal)
            else MeterResult(index=index, meter=next(shown), problem=None)
            for index, one in enumerate(came)
        ]
    )
    session.commit()
    return answer


@api.get("/meters/<id:meter_id>", permission=Permission.SITES_READ, answer=MeterOut, is_versioned=True)
def get_meter(meter_id: int) -> MeterOut:
    """Return one meter."""
    session = request_session()
    return meter_out(session, queries.get_meter(session, meter_id))


@api.patch(
    "/meters/<id:meter_id>",
    permission=Permission.METERS_WRITE,
    body=MeterChanges,
    answer=MeterOut,
    is_versioned=True,
    problems=(HTTPStatus.CONFLICT,),
)
def edit_meter(meter_id: int, body: MeterChanges) -> MeterOut:
    """Change a meter, or take it to another site."""
    session = request_session()
    meter = meters.lock_meter(session, meter_id)
    require_match(meter_out(session, meter))
    site = None if body.site is None else queries.get_site(session, body.site)
    meters.edit_meter(session, meter, body.given(), who=current_actor().label, site=site)
    answer = meter_out(session, meter)
    session.commit()
    return answer


@api.get("/meters/<id:meter_id>/life-cycle", permission=Permission.SITES_READ, answer=LifeOut)
def get_meter_life(meter_id: int) -> LifeOut:
    """List the steps of a meter's life."""
    session = request_session()
    steps = list_life(session, queries.get_meter(session, meter_id))
    return LifeOut(items=[StepOut.model_validate(step) for step in steps])


@api.post(
    "/meters/<id:meter_id>/life-cycle",
    permission=Permission.METERS_WRITE,
    body=MeterStepIn,
    answer=MeterOut,
    problems=(HTTPStatus.CONFLICT,),
)
def step_in_meter_life(meter_id: int, body: MeterStepIn) -> MeterOut:
    """Let a meter be commissioned, in service, replaced by another one, or retired.

    From its commissioning on its readings count.
    """
    session = request_session()
    meter = meters.lock_meter(session, meter_id)
    successor = None if body.replaced_by is None else queries.get_meter(session, body.replaced_by)
    step_meter(session, meter, body.to, at=body.at, who=current_actor().label, why=body.why, replaced_by=successor)
    answer = meter_out(session, meter)
    session.commit()
    return answer


@api.get("/meters/<id:meter_id>/devices", permission=Permission.SITES_READ, answer=DevicesOut)
def get_devices(meter_id: int) -> DevicesOut:
    """List the devices that a meter had before the present one."""
    session = request_session()
    devices = list_devices(session, queries.get_meter(session, meter_id))
    return DevicesOut(items=[DeviceOut.model_validate(device) for device in devices])


@api.get("/meters/<id:meter_id>/points", permission=Permission.SITES_READ, answer=PointsOut)
def list_points(meter_id: int) -> PointsOut:
    """List the points of one meter."""
    session = request_session()
    found = queries.list_points(session, [meter_id])
    return PointsOut(items=[PointOut.model_validate(point) for point in found])


@api.get("/points/<id:point_id>", permission=Permission.SITES_READ, answer=PointOut, is_versioned=True)
def get_point(point_id: int) -> PointOut:
    """Return one point."""
    return PointOut.model_validate(queries.get_point(request_session(), point_id))


@api.patch(
    "/points/<id:point_id>",
    permission=Permission.METERS_WRITE,
    body=PointChanges,
    answer=PointOut,
    is_versioned=True,
)
def edit_point(point_id: int, body: PointChanges) -> PointOut:
    """Give a point a label of its own."""
    session = request_session()
    point = points.lock_point(session, point_id)
    require_match(PointOut.model_validate(point))
    points.edit_point(session, point, body.given(), who=current_actor().label)
    answer = PointOut.model_validate(point)
    session.commit()
    return answer

"""Controllers and their buses as JSON; their list, with delivery, is in `readings`."""

from http import HTTPStatus

from cloud_hub.access import routes
from cloud_hub.access.permissions import Permission
from cloud_hub.access.routes import current_actor
from cloud_hub.registry import buses, controllers, queries
from cloud_hub.registry.answers import bus_out, controller_out
from cloud_hub.registry.bodies import BusIn, ControllerChanges, ControllerIn, ControllerMove, EndingStepIn
from cloud_hub.registry.life_cycle import list_life
from cloud_hub.registry.retirement import step
from cloud_hub.registry.schemas import (
    BusesOut,
    BusOut,
    ControllerRegistrationOut,
    ControllerStatusOut,
    LifeOut,
    StepOut,
)
from cloud_hub.web.database import request_session
from cloud_hub.web.etags import require_match

api = routes.api("controllers_api", tag="Controllers")


@api.post(
    "/controllers",
    permission=Permission.CONTROLLERS_WRITE,
    body=ControllerIn,
    answer=ControllerRegistrationOut,
    status=HTTPStatus.CREATED,
    is_idempotent=True,
    problems=(HTTPStatus.CONFLICT,),
)
def create_controller(body: ControllerIn) -> ControllerRegistrationOut:
    """Register a controller at a site."""
    session = request_session()
    site = queries.get_site(session, body.site)
    made = controllers.create_controller(
        session, site, body.id, label=body.label, state=body.state, who=current_actor().label
    )
    answer = controller_out(session, made)
    session.commit()
    return answer


@api.get(
    "/controllers/<controller>",
    permission=Permission.SITES_READ,
    answer=ControllerRegistrationOut,
    is_versioned=True,
)
def get_controller(controller: str) -> ControllerRegistrationOut:
    """Return one controller, as it was registered."""
    session = request_session()
    return controller_out(session, queries.get_controller(session, controller))


@api.get("/controllers/<controller>/status", permission=Permission.SITES_READ, answer=ControllerStatusOut)
def get_status(controller: str) -> ControllerStatusOut:
    """Return what a controller last said of itself."""
    return ControllerStatusOut.model_validate(queries.get_controller(request_session(), controller))


@api.patch(
    "/controllers/<controller>",
    permission=Permission.CONTROLLERS_WRITE,
    body=ControllerChanges,
    answer=ControllerRegistrationOut,
    is_versioned=True,
)
def edit_controller(controller: str, body: ControllerChanges) -> ControllerRegistrationOut:
    """Change what a controller is called."""
    session = request_session()
    found = controllers.lock_controller(session, controller)
    require_match(controller_out(session, found))
    controllers.edit_controller(session, found, body.given(), who=current_actor().label)
    answer = controller_out(session, found)
    session.commit()
    return answer


@api.post(
    "/controllers/<controller>/move",
    permission=Permission.CONTROLLERS_WRITE,
    body=ControllerMove,
    answer=ControllerRegistrationOut,
    problems=(HTTPStatus.CONFLICT,),
)
def move_controller(controller: str, body: ControllerMove) -> ControllerRegistrationOut:
    """Let a controller belong to another site, usually with its meters."""
    session = request_session()
    found = controllers.lock_controller(session, controller)
    site = queries.get_site(session, body.site)
    controllers.move_controller(
        session, found, site, with_meters=body.with_meters, who=current_actor().label, why=body.why
    )
    answer = controller_out(session, found)
    session.commit()
    return answer


@api.get("/controllers/<controller>/life-cycle", permission=Permission.SITES_READ, answer=LifeOut)
def get_controller_life(controller: str) -> LifeOut:
    """List the steps of a controller's life."""
    session = request_session()
    steps = list_life(session, queries.get_controller(session, controller))
    return LifeOut(items=[StepOut.model_validate(one) for one in steps])


@api.post(
    "/controllers/<controller>/life-cycle",
    permission=Permission.CONTROLLERS_WRITE,
    body=EndingStepIn,
    answer=ControllerRegistrationOut,
    problems=(HTTPStatus.CONFLICT,),
)
def step_in_controller_life(controller: str, body: EndingStepIn) -> ControllerRegistrationOut:
    """Let a controller be commissioned, in service or retired; its first report puts it in service by itself."""
    session = request_session()
    found = controllers.lock_controller(session, controller)
    step(session, found, body.to, at=body.at, who=current_actor().label, why=body.why, with_parts=body.with_parts)
    answer = controller_out(session, found)
    session.commit()
    return answer


@api.get("/controllers/<controller>/buses", permission=Permission.SITES_READ, answer=BusesOut)
def list_buses(controller: str) -> BusesOut:
    """List the buses of a controller."""
    return BusesOut(items=[bus_out(bus) for bus in buses.list_buses(request_session(), controller)])


@api.post(
    "/controllers/<controller>/buses",
    permission=Permission.METERS_WRITE,
    body=BusIn,
    answer=BusOut,
    status=HTTPStatus.CREATED,
    is_idempotent=True,
    problems=(HTTPStatus.CONFLICT,),
)
def create_bus(controller: str, body: BusIn) -> BusOut:
    """Add a bus to a controller, described as in its configuration."""
    session = request_session()
    found = controllers.lock_controller(session, controller)
    answer = bus_out(buses.create_bus(session, found, body, who=current_actor().label))
    session.commit()
    return answer


@api.get("/buses/<id:bus_id>", permission=Permission.SITES_READ, answer=BusOut, is_versioned=True)
def get_bus(bus_id: int) -> BusOut:
    """Return one bus."""
    return bus_out(buses.get_bus(request_session(), bus_id))


@api.put(
    "/buses/<id:bus_id>",
    permission=Permission.METERS_WRITE,
    body=BusIn,
    answer=BusOut,
    is_versioned=True,
    problems=(HTTPStatus.CONFLICT,),
)
def put_bus(bus_id: int, body: BusIn) -> BusOut:
    """Describe a bus anew, as a whole."""
    session = request_session()
    controller, bus = buses.lock_bus(session, bus_id)
    require_match(bus_out(bus))
    buses.edit_bus(session, controller, bus, body, who=current_actor().label)
    answer = bus_out(bus)
    session.commit()
    return answer


@api.delete(
    "/buses/<id:bus_id>",
    permission=Permission.METERS_WRITE,
    is_versioned=True,
    status=HTTPStatus.NO_CONTENT,
    problems=(HTTPStatus.CONFLICT,),
)
def delete_bus(bus_id: int) -> None:
    """Remove a bus that no meter is on."""
    session = request_session()
    controller, bus = buses.lock_bus(session, bus_id)
    require_match(bus_out(bus))
    buses.delete_bus(session, controller, bus, who=current_actor().label)
    session.commit()

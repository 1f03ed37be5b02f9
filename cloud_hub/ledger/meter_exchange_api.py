"""Exchanges of meters as JSON: one request for the whole visit of the person who did it."""

from http import HTTPStatus
from typing import Annotated

from pydantic import BaseModel, Field

from cloud_hub.access import routes
from cloud_hub.access.permissions import Permission
from cloud_hub.access.references import PointId
from cloud_hub.access.routes import current_actor
from cloud_hub.ledger.meter_exchange import NewDevice, RegisterReadings, exchange_meter
from cloud_hub.ledger.schemas import ExchangeOut
from cloud_hub.registry.answers import meter_out
from cloud_hub.registry.bodies import Label, Why
from cloud_hub.registry.meters import lock_meter
from cloud_hub.registry.schemas import DeviceOut, MeterOut
from cloud_hub.web.database import request_session
from cloud_hub.web.documents import Document, Exact
from cloud_hub.web.ranges import InstantIn
from protocol.identifiers import ProfileId

api = routes.api("meter_exchange_api", tag="Meters")


class RegisterIn(Document):
    """What one register ended with, and the next one began with, as read."""

    point_id: PointId
    closing: Annotated[Exact, Field(ge=0)]
    opening: Annotated[Exact, Field(ge=0)]


class MeterExchangeIn(Document):
    """The exchange of a meter's device."""

    at: InstantIn
    serial_number: Label = ""
    """Of the new device."""
    profile: ProfileId | None = None
    """Of the new device; left out: as before."""
    registers: Annotated[tuple[RegisterIn, ...], Field(max_length=100)] = ()
    why: Why = ""


class MeterExchangeOut(BaseModel):
    """What came of the exchange of a meter's device."""

    meter: MeterOut
    before: DeviceOut
    """The device that was taken away."""
    registers: list[ExchangeOut]
    unread: list[int]
    """Points whose registers stand for the meter, and which were not read: there the ledger has to guess."""


@api.post(
    "/meters/<id:meter_id>/exchange",
    permission=Permission.METERS_WRITE,
    body=MeterExchangeIn,
    answer=MeterExchangeOut,
    status=HTTPStatus.CREATED,
    is_idempotent=True,
    problems=(HTTPStatus.CONFLICT,),
)
def post_meter_exchange(meter_id: int, body: MeterExchangeIn) -> MeterExchangeOut:
    """Exchange a meter's device; what it counted stays, and goes on with the new one."""
    session = request_session()
    meter = lock_meter(session, meter_id)
    done = exchange_meter(
        session,
        meter,
        NewDevice(body.at, body.serial_number, body.profile),
        [RegisterReadings(one.point_id, one.closing, one.opening) for one in body.registers],
        who=current_actor().label,
        why=body.why,
    )
    answer = MeterExchangeOut(
        meter=meter_out(session, meter),
        before=DeviceOut.model_validate(done.before),
        registers=[ExchangeOut.model_validate(one) for one in done.registers],
        unread=done.unread,
    )
    session.commit()
    return answer

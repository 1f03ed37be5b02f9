"""Controllers and streams as JSON: who is there, and how far the delivery of scans is."""

from collections.abc import Sequence

from flask import Blueprint, Response, request
from sqlalchemy.orm import Session

from cloud_hub.readings import delivery
from cloud_hub.readings.schemas import ControllerOut, DeliveryOut, StreamOut
from cloud_hub.registry import queries
from cloud_hub.registry.api import wanted_site_id
from cloud_hub.registry.models import Controller
from cloud_hub.web.database import request_session
from cloud_hub.web.json import answer_json
from cloud_hub.web.pagination import PageOut, encode_cursor, parse_window

api = Blueprint("delivery_api", __name__, url_prefix="/api/v1")


@api.get("/controllers")
def list_controllers() -> Response:
    """List controllers with their presence and delivery; `site` names one site."""
    session = request_session()
    page = queries.list_controllers(session, parse_window(request.args), wanted_site_id(session))
    items = _controllers_out(session, page.items)
    return answer_json(PageOut[ControllerOut](items=items, next_cursor=encode_cursor(page.next_key)))


@api.get("/streams")
def list_streams() -> Response:
    """List streams, the runs of agents; `controller` names one controller."""
    session = request_session()
    wanted = request.args.get("controller")
    controller_id = None if wanted is None else queries.get_controller(session, wanted).id
    page = delivery.list_streams(session, parse_window(request.args), controller_id)
    items = [StreamOut.model_validate(stream) for stream in page.items]
    return answer_json(PageOut[StreamOut](items=items, next_cursor=encode_cursor(page.next_key)))


def _controllers_out(session: Session, controllers: Sequence[Controller]) -> list[ControllerOut]:
    slugs = queries.map_site_slugs(session, {controller.site_id for controller in controllers})
    deliveries = delivery.count_deliveries(session, [controller.id for controller in controllers])
    return [
        ControllerOut(
            id=controller.id,
            site=slugs[controller.site_id],
            presence=controller.presence,
            presence_at=controller.presence_at,
            last_seen_at=controller.last_seen_at,
            agent_version=controller.agent_version,
            delivery=DeliveryOut.model_validate(deliveries[controller.id]),
        )
        for controller in controllers
    ]

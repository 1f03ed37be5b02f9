"""Controllers and streams as JSON: who is there, and how far the delivery of scans is."""

from cloud_hub.access import routes
from cloud_hub.access.permissions import Permission
from cloud_hub.readings import delivery
from cloud_hub.readings.schemas import (
    ControllerOut,
    ControllersQuery,
    DeliveryOut,
    StreamOut,
    StreamsQuery,
)
from cloud_hub.registry import queries
from cloud_hub.web.database import request_session
from cloud_hub.web.pagination import PageOut, encode_cursor

api = routes.api("delivery_api", tag="Delivery")


@api.get("/controllers", permission=Permission.SITES_READ, query=ControllersQuery, answer=PageOut[ControllerOut])
def list_controllers(query: ControllersQuery) -> PageOut[ControllerOut]:
    """List controllers with their presence and delivery."""
    session = request_session()
    site_id = None if query.site is None else queries.get_site(session, query.site).id
    named = query.organisation
    organisation_id = None if named is None else queries.get_organisation(session, named).id
    page = delivery.list_controllers(
        session, query.window, site_id=site_id, organisation_id=organisation_id, presence=query.presence
    )
    deliveries = delivery.count_deliveries(session, [place.controller.id for place in page.items])
    items = [
        ControllerOut(
            id=place.controller.id,
            organisation=place.organisation,
            site=place.site,
            presence=place.controller.presence,
            presence_at=place.controller.presence_at,
            last_seen_at=place.controller.last_seen_at,
            agent_version=place.controller.agent_version,
            delivery=DeliveryOut.model_validate(deliveries[place.controller.id]),
        )
        for place in page.items
    ]
    return PageOut(items=items, next_cursor=encode_cursor(page.next_key))


@api.get("/streams", permission=Permission.SITES_READ, query=StreamsQuery, answer=PageOut[StreamOut])
def list_streams(query: StreamsQuery) -> PageOut[StreamOut]:
    """List streams, the runs of agents."""
    session = request_session()
    site_id = None if query.site is None else queries.get_site(session, query.site).id
    page = delivery.list_streams(session, query.window, controller_id=query.controller, site_id=site_id)
    items = [StreamOut.model_validate(stream) for stream in page.items]
    return PageOut(items=items, next_cursor=encode_cursor(page.next_key))

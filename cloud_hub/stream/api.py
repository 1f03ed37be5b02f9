"""Events as JSON, and the way in to the stream."""

from typing import Final

from flask import request
from werkzeug.exceptions import ServiceUnavailable

from cloud_hub.access import routes
from cloud_hub.access.permissions import Permission
from cloud_hub.access.routes import current_actor
from cloud_hub.access.subjects import find_subjects
from cloud_hub.stream import queries
from cloud_hub.stream.schemas import EventOut, EventQuery, StreamQuery
from cloud_hub.stream.ticket import TICKETS, Ticket
from cloud_hub.tenancy.scope import NOBODY, scope_of
from cloud_hub.web.database import request_session
from cloud_hub.web.pagination import PageOut, encode_cursor

PATH: Final = "/api/v1/events/stream"

api = routes.api("stream_api", tag="Events")


@api.get("/events", permission=Permission.EVENTS_READ, query=EventQuery, answer=PageOut[EventOut])
def list_events(query: EventQuery) -> PageOut[EventOut]:
    """List events of the last 30 days, the oldest first.

    None is ever added before one that was answered already: the cursor of the last page finds what is new.
    """
    session = request_session()
    (site_id,) = [None] if query.site is None else [one.site_id for one in find_subjects(session, "site", query.site)]
    page = queries.list_events(session, query.window, query.kinds, site_id)
    items = [EventOut.model_validate(event) for event in page.items]
    return PageOut(items=items, next_cursor=encode_cursor(page.next_key))


@api.get(
    "/events/stream",
    permission=Permission.EVENTS_READ,
    query=StreamQuery,
    media=("text/event-stream",),
)
def open_stream(query: StreamQuery) -> None:
    """Tell events and live values as they come, as Server-Sent Events.

    `ready` begins a stream. `happened` is an event as the list has it; its id, sent back as Last-Event-ID, resumes
    without a loss. `values` holds the newest values of meters that were read since, once a second at most. `end`
    says why the hub ends the stream.
    """
    tickets: list[Ticket] | None = request.environ.get(TICKETS)
    if tickets is None:
        raise ServiceUnavailable(
            "This process keeps no streams open: let the proxy in front route /api/v1/events/stream to 'meterhaul hub stream'."
        )
    session = request_session()
    sites = [one.site_id for name in query.sites for one in find_subjects(session, "site", name)]
    site_ids = frozenset(site_id for site_id in sites if site_id is not None)
    meter_ids = frozenset(query.meters) | queries.meters_of_sites(session, site_ids)
    tickets.append(
        Ticket(
            user_id=current_actor().user_id,
            scope=scope_of(session) or NOBODY,
            kinds=tuple(query.kinds),
            site_ids=site_ids,
            meter_ids=meter_ids if query.values else frozenset(),
        )
    )

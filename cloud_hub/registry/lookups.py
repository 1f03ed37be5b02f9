"""What the items of one request name: each thing is looked up once, however many items name it."""

from sqlalchemy.orm import Session

from cloud_hub.access.actor import Actor
from cloud_hub.access.permissions import Permission
from cloud_hub.organisations.models import Organisation
from cloud_hub.registry import queries
from cloud_hub.registry.bodies import MeterIn
from cloud_hub.registry.buses import get_bus_of
from cloud_hub.registry.controllers import lock_controller
from cloud_hub.registry.homes import home_of
from cloud_hub.registry.meters import create_meter, get_meter_of
from cloud_hub.registry.models import Controller, Meter, Site


class Lookups:
    """Remembers controllers (locked), sites and organisations for the length of a request."""

    def __init__(self, session: Session, actor: Actor) -> None:
        """Begin without any."""
        self._session, self._actor = session, actor
        self._controllers: dict[str, Controller] = {}
        self._sites: dict[str | int, Site] = {}
        self._homes: dict[str | None, Organisation] = {}

    def home(self, slug: str | None) -> Organisation:
        """Return the organisation in which sites shall be registered, as `home_of`."""
        if slug not in self._homes:
            self._homes[slug] = home_of(self._session, self._actor, slug, Permission.SITES_WRITE)
        return self._homes[slug]

    def register(self, given: MeterIn) -> Meter:
        """Register a meter with all that it names.

        Raises: what looking up and `create_meter` raise.
        """
        session = self._session
        controller = self._controller(given.controller)
        site = self._site(given.site if given.site is not None else controller.site_id)
        parent = None
        if given.parent_id is not None:
            parent = queries.get_meter(session, given.parent_id)
        elif given.parent is not None:
            parent = get_meter_of(session, controller.id, given.parent)
        bus = None if given.bus is None else get_bus_of(session, controller.id, given.bus)
        return create_meter(session, controller, site, given.slug, given, who=self._actor.label, parent=parent, bus=bus)

    def _controller(self, controller_id: str) -> Controller:
        if controller_id not in self._controllers:
            self._controllers[controller_id] = lock_controller(self._session, controller_id)
        return self._controllers[controller_id]

    def _site(self, ref: str | int) -> Site:
        if ref not in self._sites:
            if isinstance(ref, int):
                self._sites[ref] = queries.get_site_by_id(self._session, ref)
            else:
                self._sites[ref] = queries.get_site(self._session, ref)
        return self._sites[ref]

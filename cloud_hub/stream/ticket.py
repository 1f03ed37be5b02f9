"""What somebody who was let in may be told. Pure."""

from dataclasses import dataclass, field
from typing import Final

from cloud_hub.events.kinds import is_wanted
from cloud_hub.tenancy.scope import Scope

TICKETS: Final = "meterhaul.stream.tickets"
"""Key of the WSGI environment: the list to which the route adds the ticket of whom it lets in."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """One admission to the stream."""

    user_id: int
    scope: Scope
    kinds: tuple[str, ...]
    site_ids: frozenset[int] = frozenset()
    """Sites whose events are wanted; none for all."""
    meter_ids: frozenset[int] = field(default=frozenset())
    """Meters whose values are wanted."""

    def wants(self, kind: str, site_id: int | None) -> bool:
        """Say whether an event is one of those wanted."""
        return is_wanted(kind, self.kinds) and (not self.site_ids or site_id in self.site_ids)

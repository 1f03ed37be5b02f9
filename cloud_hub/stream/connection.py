"""One open stream: what waits to be told to one reader, within bounds. Knows neither the network nor the database."""

import asyncio
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from cloud_hub.stream.ticket import Ticket

WAITING_EVENTS_MAX = 200
WAITING_BYTES_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class Told:
    """An event, written once for all who are told of it."""

    position: int
    kind: str
    site_id: int | None
    frame: bytes


def write_frame(name: str, data: str, *, position: int | None = None) -> bytes:
    """Write a message as EventSource reads it; `data` is one line."""
    mark = "" if position is None else f"id: {position}\n"
    return f"{mark}event: {name}\ndata: {data}\n\n".encode()


class Connection:
    """What waits for one reader. When too much does, it is forgotten, to be read again when the reader is ready."""

    __slots__ = (
        "_bytes",
        "_events",
        "_stir",
        "_values",
        "end_reason",
        "is_behind",
        "knows_values",
        "position",
        "ticket",
        "told",
    )

    def __init__(self, ticket: Ticket, position: int) -> None:
        """Begin after the event at `position`."""
        self.ticket = ticket
        self.position = position
        """Of the newest event that is known of; earlier ones are not offered again."""
        self.told = position
        """Of the last event that was told, or would have been, were it wanted."""
        self.is_behind = False
        """Whether what happened between `told` and `position` does not wait here, and has to be read again."""
        self.knows_values = False
        """Whether the values of all its meters were offered once."""
        self.end_reason = ""
        self._events: deque[bytes] = deque()
        self._bytes = 0
        self._values: dict[int, str] = {}
        self._stir = asyncio.Event()

    @property
    def has_values(self) -> bool:
        """Whether values wait."""
        return bool(self._values)

    def resume(self, position: int) -> None:
        """Go back to after an earlier event."""
        self.told = min(position, self.position)
        self._fall_behind()

    def offer(self, told: Told) -> None:
        """Let an event wait, if it is wanted and new."""
        if told.position <= self.position or self.end_reason:
            return
        self.position = told.position
        self._stir.set()
        if self.is_behind or not self.ticket.wants(told.kind, told.site_id):
            return
        self._events.append(told.frame)
        self._bytes += len(told.frame)
        if len(self._events) > WAITING_EVENTS_MAX or self._bytes > WAITING_BYTES_MAX:
            self._fall_behind()

    def offer_values(self, values: Mapping[int, str]) -> None:
        """Let the newest values of meters wait; they take the place of older ones of the same meters."""
        wanted = {meter_id: text for meter_id, text in values.items() if meter_id in self.ticket.meter_ids}
        if wanted and not self.end_reason:
            self._values.update(wanted)
            self._stir.set()

    def end(self, reason: str) -> None:
        """Tell nothing more; the first reason counts."""
        self.end_reason = self.end_reason or reason
        self._forget_events()
        self._values.clear()
        self._stir.set()

    def take_events(self) -> bytes:
        """Return the events that wait, as they are sent."""
        frames = b"".join(self._events)
        self._forget_events()
        if not self.is_behind:
            self.told = self.position
        return frames

    def catch_up(self) -> int:
        """Let new events wait here again; answer up to where the others are to be read."""
        self.is_behind = False
        return self.position

    def take_values(self) -> bytes:
        """Return the values that wait, as they are sent."""
        joined = ",".join(self._values.values())
        self._values.clear()
        return write_frame("values", f'{{"meters":[{joined}]}}')

    def farewell(self) -> bytes:
        """Return the last message."""
        return write_frame("end", json.dumps({"reason": self.end_reason}))

    async def wait(self, seconds: float) -> None:
        """Wait until something new waits or the reason to end has come, but no longer than that."""
        try:
            async with asyncio.timeout(seconds):
                await self._stir.wait()
        except TimeoutError:
            return
        self._stir.clear()

    def _fall_behind(self) -> None:
        self.is_behind = self.told < self.position
        self._forget_events()

    def _forget_events(self) -> None:
        self._events.clear()
        self._bytes = 0

"""Who is told what: reads what is new, once for all who see the same, and lets it wait for each of them.

Reads run in threads, as the database's driver wants; all that is remembered lives in the one event loop.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Final, TypeVar

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from cloud_hub.events.models import Event
from cloud_hub.events.order import Notice, describe
from cloud_hub.stream import queries
from cloud_hub.stream.connection import Connection, Told, write_frame
from cloud_hub.stream.ticket import Ticket
from cloud_hub.tenancy.scope import Scope, enter

VALUES_EVERY_S: Final = 1.0
LOOK_EVERY_S: Final = 15.0
"""Events are looked for so often though nobody said that there are any."""
STREAMS_MAX: Final = 2000
PER_IDENTITY_MAX: Final = 20
_BATCH = 200
_MISSED_BATCH = 50
"""Fewer than what is read for all: each reader that is behind holds as many."""

Found = TypeVar("Found")
log = structlog.get_logger(__name__)


class Full(Exception):
    """One stream more is too many, for one identity or for the process."""

    def __init__(self, message: str, *, is_own_fault: bool) -> None:
        super().__init__(message)
        self.is_own_fault = is_own_fault


class _Feed:
    """Those who see the same events."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.position = 0
        self.connections: set[Connection] = set()
        self.is_begun = asyncio.Lock()
        self.has_begun = False
        self.stir = asyncio.Event()
        self.task: asyncio.Task[None] | None = None


class Switchboard:
    """All open streams of this process."""

    def __init__(
        self,
        engine: Engine,
        threads: ThreadPoolExecutor,
        *,
        values_every_s: float = VALUES_EVERY_S,
        look_every_s: float = LOOK_EVERY_S,
        streams_max: int = STREAMS_MAX,
        per_identity_max: int = PER_IDENTITY_MAX,
    ) -> None:
        """Read by `engine`, which works as the web does, in `threads`."""
        self._engine, self._threads = engine, threads
        self._values_every_s, self._look_every_s = values_every_s, look_every_s
        self._streams_max, self._per_identity_max = streams_max, per_identity_max
        self._feeds: dict[Scope, _Feed] = {}
        self._of_identity: Counter[int] = Counter()
        self._seen: dict[int, datetime] = {}
        self._count = 0

    @property
    def count(self) -> int:
        """How many streams are open."""
        return self._count

    def connections(self) -> Iterable[Connection]:
        """All open streams."""
        return [connection for feed in self._feeds.values() for connection in feed.connections]

    async def join(self, ticket: Ticket) -> Connection:
        """Open a stream; it is told what comes from now on. Everybody who joins leaves.

        Raises: Full; the database's error.
        """
        self._admit(ticket.user_id)
        try:
            feed = self._feeds.setdefault(ticket.scope, _Feed(ticket.scope))
            connection = Connection(ticket, 0)
            feed.connections.add(connection)  # now, so that nobody ends the feed meanwhile
            await self._begin(feed)
        except BaseException:
            self._dismiss(ticket.user_id)
            feed.connections.discard(connection)
            self._end_if_empty(feed)
            raise
        connection.position = connection.told = max(connection.position, feed.position)
        return connection

    def leave(self, connection: Connection) -> None:
        """Close a stream."""
        feed = self._feeds[connection.ticket.scope]
        feed.connections.discard(connection)
        self._dismiss(connection.ticket.user_id)
        self._end_if_empty(feed)

    async def missed(self, ticket: Ticket, after: int, until: int) -> list[Told]:
        """Return the next events between two positions, some at a time; none at the end."""
        found = await self._read(ticket.scope, lambda session: _tell(queries.read_after(session, after, _MISSED_BATCH)))
        return [told for told in found if told.position <= until]

    def notice(self, notice: Notice) -> None:
        """Let those look for events who may see some of these."""
        for feed in self._feeds.values():
            if _concerns(feed.scope, notice):
                feed.stir.set()

    async def keep_telling_values(self) -> None:
        """Look for new values once a second, for ever."""
        while True:
            await asyncio.sleep(self._values_every_s)
            try:
                await self._tell_values()
            except DBAPIError as error:
                log.warning("values_not_read", error=str(error.orig).partition("\n")[0])

    async def _begin(self, feed: _Feed) -> None:
        async with feed.is_begun:
            if not feed.has_begun:
                feed.position = await self._read(feed.scope, queries.last_position)
                feed.has_begun = True
                feed.task = asyncio.create_task(self._keep_telling(feed), name="feed")

    async def _keep_telling(self, feed: _Feed) -> None:
        while True:
            try:
                async with asyncio.timeout(self._look_every_s):
                    await feed.stir.wait()
            except TimeoutError:
                pass
            feed.stir.clear()
            try:
                await self._tell_new(feed)
            except DBAPIError as error:
                log.warning("events_not_read", error=str(error.orig).partition("\n")[0])

    async def _tell_new(self, feed: _Feed) -> None:
        while True:
            after = feed.position
            found = await self._read(feed.scope, lambda session: _tell(queries.read_after(session, after, _BATCH)))  # noqa: B023 - awaited at once
            for told in found:
                feed.position = told.position
                for connection in feed.connections:
                    connection.offer(told)
            if len(found) < _BATCH:
                return

    async def _tell_values(self) -> None:
        watching = [connection for connection in self.connections() if connection.ticket.meter_ids]
        if not watching:
            self._seen.clear()
            return
        watched = frozenset().union(*(connection.ticket.meter_ids for connection in watching))
        # What has changed is asked once for all together; what it is, as each of them alone.
        newest = await self._read(_union(watching), lambda session: queries.newest_scans(session, watched))
        changed = {meter_id for meter_id, at in newest.items() if self._seen.get(meter_id) != at}
        self._seen = newest
        alike: dict[tuple[Scope, frozenset[int]], list[Connection]] = {}
        for connection in watching:
            news = connection.ticket.meter_ids & changed if connection.knows_values else connection.ticket.meter_ids
            connection.knows_values = True
            if news:
                alike.setdefault((connection.ticket.scope, news), []).append(connection)
        try:
            await asyncio.gather(*(self._tell_alike(*key, connections) for key, connections in alike.items()))
        except DBAPIError:
            for connection in watching:
                connection.knows_values = False
            raise

    async def _tell_alike(self, scope: Scope, meter_ids: frozenset[int], connections: list[Connection]) -> None:
        values = await self._read(scope, lambda session: queries.newest_values(session, meter_ids))
        for connection in connections:
            connection.offer_values(values)

    async def _read(self, scope: Scope, read: Callable[[Session], Found]) -> Found:
        def run() -> Found:
            with Session(self._engine) as session:
                enter(session, scope)
                return read(session)

        return await asyncio.get_running_loop().run_in_executor(self._threads, run)

    def _admit(self, user_id: int) -> None:
        if self._of_identity[user_id] >= self._per_identity_max:
            raise Full(f"you have {self._per_identity_max} streams open already: close one first", is_own_fault=True)
        if self._count >= self._streams_max:
            raise Full("all streams of this process are taken: try again in a moment", is_own_fault=False)
        self._of_identity[user_id] += 1
        self._count += 1

    def _dismiss(self, user_id: int) -> None:
        self._count -= 1
        self._of_identity[user_id] -= 1
        if not self._of_identity[user_id]:
            del self._of_identity[user_id]

    def _end_if_empty(self, feed: _Feed) -> None:
        if not feed.connections and self._feeds.get(feed.scope) is feed:
            del self._feeds[feed.scope]
            if feed.task is not None:
                feed.task.cancel()


def _tell(events: Iterable[Event]) -> list[Told]:
    return [
        Told(
            event.position or 0,
            event.kind,
            event.site_id,
            write_frame("happened", json.dumps(describe(event), separators=(",", ":")), position=event.position),
        )
        for event in events
    ]


def _concerns(scope: Scope, notice: Notice) -> bool:
    return (
        notice.is_for_all
        or not scope.organisations.isdisjoint(notice.organisations)
        or not scope.sites.isdisjoint(notice.sites)
    )


def _union(connections: Iterable[Connection]) -> Scope:
    scopes = {connection.ticket.scope for connection in connections}
    return Scope(
        organisations=frozenset().union(*(scope.organisations for scope in scopes)),
        sites=frozenset().union(*(scope.sites for scope in scopes)),
    )

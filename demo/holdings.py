"""What the hub's database and the agent's buffer hold, read from outside, and the account over both."""

import math
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import text
from sqlalchemy.orm import Session

from cloud_hub.readings.closed_days import read_days
from demo.accounting import Account, Held, Served, account
from demo.errors import NotReady
from demo.stack import CONTROLLER, Stack
from edge_agent.buffer import held
from edge_agent.buffer.store import BufferStore
from protocol.manifest import Manifest, parse_manifest
from protocol.ranges import Range
from protocol.scans import Scan
from simulator.ledger import read_ledger

_ROWS_AT_A_TIME = 2_000

# The demo shows a second site whose readings no simulated meter served: only the controller's count.
_COUNT = text("""
    WITH ours AS (
        SELECT l.id, cardinality(l.point_ids) AS points FROM layouts l
        JOIN meters m ON m.id = l.meter_id WHERE m.controller_id = :controller
    ), stored AS (
        SELECT count(*) AS scans, coalesce(sum(points), 0) AS readings FROM scans JOIN ours ON ours.id = scans.layout_id
        UNION ALL
        SELECT coalesce(sum(d.scans), 0), coalesce(sum(d.scans * ours.points), 0)
        FROM scan_days d JOIN ours ON ours.id = d.layout_id
    )
    SELECT (SELECT sum(scans)::bigint FROM stored), (SELECT sum(readings)::bigint FROM stored),
           (SELECT count(*) FROM gap_records),
           (SELECT coalesce(sum(upper(r) - lower(r)), 0) FROM streams, unnest(committed + gaps) AS r)
""")

_LAYOUTS = text("""
    SELECT l.id, m.slug, array_agg(p.name ORDER BY place), l.point_ids FROM layouts l
    JOIN meters m ON m.id = l.meter_id
    CROSS JOIN LATERAL unnest(l.point_ids) WITH ORDINALITY AS o (point_id, place)
    JOIN points p ON p.id = o.point_id
    WHERE m.controller_id = :controller
    GROUP BY l.id, m.slug
""")

_OPEN_SCANS = text("""
    SELECT (extract(epoch FROM observed_at) * 1000)::bigint, layout_id, values, quality FROM scans
    WHERE layout_id = ANY(:layouts)
""")

_CLOSED_DAYS = text("""
    SELECT meter_id, layout_id, day - date '1970-01-01' FROM scan_days WHERE layout_id = ANY(:layouts)
""")


@dataclass(frozen=True, slots=True)
class _Layout:
    meter: str
    names: list[str]
    point_ids: list[int]

    def held(self, observed_at_ms: int, values: Sequence[float], quality: Sequence[int]) -> Held:
        """Return a scan as the database holds it."""
        known = {name: value for name, value in zip(self.names, values, strict=True) if not math.isnan(value)}
        codes = dict(zip(self.names, quality, strict=True)) if any(quality) else {}
        return Held(self.meter, observed_at_ms, known, codes)


@dataclass(frozen=True, slots=True)
class Counts:
    """Where the scans are just now, counted in passing: the account is exact, this is for watching."""

    scans_committed: int
    readings_committed: int
    gap_records: int
    on_edge: int
    """Stored by the agent and not committed yet."""


def account_for(stack: Stack, *, agent_deaths_ms: Sequence[int] = ()) -> Account:
    """Put every frame that the meters ever served into its class."""
    served = (
        Served(frame.meter, frame.serial, frame.served_at_ms, frame.values, frame.client)
        for frame in read_ledger(stack.ledger)
        if frame.answered
    )
    with stack.session() as session:
        hub = list(read_hub(session))
    return account(served, hub, list(read_edge(stack)), agent_deaths_ms=agent_deaths_ms)


def count(stack: Stack) -> Counts:
    """Count scans committed and scans that wait on the edge."""
    with stack.session() as session:
        scans, readings, gaps, accounted = session.execute(_COUNT, {"controller": CONTROLLER}).one()
    return Counts(
        scans_committed=scans,
        readings_committed=int(readings),
        gap_records=gaps,
        on_edge=max(0, _recorded(stack) - int(accounted)),
    )


def read_hub(session: Session) -> Iterator[Held]:
    """Read every scan of the demo's controller from the hub's database, of open and of closed days."""
    layouts: dict[int, _Layout] = {}
    for layout_id, meter, names, point_ids in session.execute(_LAYOUTS, {"controller": CONTROLLER}):
        layouts[layout_id] = _Layout(meter, names, point_ids)
    rows = session.execute(_OPEN_SCANS, {"layouts": list(layouts)}, execution_options={"yield_per": _ROWS_AT_A_TIME})
    for observed_at_ms, layout_id, values, quality in rows:
        yield layouts[layout_id].held(observed_at_ms, values, quality or [0] * len(values))
    for meter_id, layout_id, day in session.execute(_CLOSED_DAYS, {"layouts": list(layouts)}).all():
        layout = layouts[layout_id]
        keys, points = [(layout_id, day)], {layout_id: layout.point_ids}
        for closed in read_days(session.connection(), meter_id, keys, points).values():
            columns = zip(closed.observed_at_ms.tolist(), closed.values.tolist(), closed.quality.tolist(), strict=True)
            for observed_at_ms, values, quality in columns:
                yield layout.held(observed_at_ms, values, quality)


def read_edge(stack: Stack) -> Iterator[Held]:
    """Read every scan that the agent's buffer holds, delivered or not."""
    store = _open_buffer(stack)
    if store is None:
        return
    try:
        for stream_id, stream in store.streams.items():
            scans = list(_scans_of(store, stream_id))
            if scans:
                manifest = _manifest_of(store, stream.manifest_hash)
                for scan in scans:
                    layout = manifest.layouts[scan.layout]
                    yield _held(layout.meter, [point.name for point in layout.points], scan)
    finally:
        store.connection.close()


def _scans_of(store: BufferStore, stream_id: bytes) -> Iterator[Scan]:
    """Read the scans of a run, and those that it took while it did not know the time."""
    stream = store.streams[stream_id]
    if stream.next > 1:
        entries = store.read(stream_id, Range(1, stream.next - 1)).entries
        yield from (entry.content for entry in entries if isinstance(entry.content, Scan))
    if not stream.withheld:
        return
    for row in held.first_rows(store.connection, stream.number, stream.withheld.size):
        content = row.entry().content
        if isinstance(content, Scan):
            yield replace(content, observed_at_ms=row.wall_ms)


def _manifest_of(store: BufferStore, manifest_hash: bytes) -> Manifest:
    body = store.manifest_body(manifest_hash)
    if body is None:
        raise NotReady(f"{store.path} names a manifest that it does not hold")
    return parse_manifest(body)


def _held(meter: str, names: Sequence[str], scan: Scan) -> Held:
    values = {name: value for name, value in zip(names, scan.values, strict=True) if value is not None}
    quality = {name: scan.quality_at(index) for index, name in enumerate(names)} if scan.quality else {}
    return Held(meter, scan.observed_at_ms, values, quality)


def _recorded(stack: Stack) -> int:
    """Count the scans that the agent ever stored."""
    store = _open_buffer(stack)
    if store is None:
        return 0
    try:
        return sum(stream.next - 1 for stream in store.streams.values())
    finally:
        store.connection.close()


def _open_buffer(stack: Stack) -> BufferStore | None:
    """Open the buffer beside its agent, for reading; None before the agent has made it."""
    if not stack.buffer.exists():
        return None
    connection = sqlite3.connect(f"file:{stack.buffer}?mode=ro", uri=True, timeout=5)
    if connection.execute("PRAGMA user_version").fetchone() == (0,):
        connection.close()
        return None
    return BufferStore(connection, stack.buffer)

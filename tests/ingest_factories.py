"""Makers of what agents send, for tests of ingest; what a test is about, it changes by keyword."""

from collections.abc import Mapping, Sequence

from factories import make_manifest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cloud_hub.ingest.committer import Committed, commit_group
from cloud_hub.ingest.prepare import ReceivedBatch, prepare
from cloud_hub.registry.service import register_controller, register_manifest, register_site
from protocol.codec import encode_batch
from protocol.manifest import Manifest
from protocol.messages import HeldStream, Hello
from protocol.ranges import RangeSet
from protocol.scans import Entry, Gap, GapReason, Scan

CONTROLLER = "north-1"
STREAM = b"s" * 16
START_MS = 1_790_000_000_000
MANIFEST = make_manifest((3, 2))


def make_scan(sequence: int, *, value: float | None = None, layout: int = 0, manifest: Manifest = MANIFEST) -> Scan:
    """Make a good scan, a second after the one before; its values say its number."""
    points = len(manifest.layouts[layout].points)
    return Scan(layout, START_MS + sequence * 1000, (float(sequence) if value is None else value,) * points)


def make_entries(first: int, last: int, *, offset: float = 0.0) -> list[Entry]:
    """Make scans with these numbers; `offset` makes their values others."""
    return [Entry(number, make_scan(number, value=number + offset)) for number in range(first, last + 1)]


def make_gap(sequence: int, count: int = 1, *, reason: GapReason = GapReason.THINNED) -> Entry:
    """Make a gap record."""
    return Entry(sequence, Gap(count, reason, START_MS, START_MS + 1000))


def make_payload(entries: Sequence[Entry], *, stream: bytes = STREAM, manifest: Manifest = MANIFEST) -> bytes:
    """Make a batch as it travels."""
    return encode_batch(stream_id=stream, manifest_hash=manifest.hash, entries=entries)


def make_hello(
    next_by_stream: Mapping[bytes, int],
    *,
    committed: Mapping[bytes, RangeSet] | None = None,
    incarnation: int = 1,
    boot: bytes = b"b" * 16,
    complete: bool = True,
    lowest_held: int = 1,
    nonce: int = 7,
    manifest: Manifest = MANIFEST,
) -> Hello:
    """Make a hello of an agent that holds these streams."""
    known = committed or {}
    return Hello(
        agent_version="0.1.0",
        incarnation=incarnation,
        manifest_hash=manifest.hash,
        boot_id=boot,
        clock="trusted",
        now_ms=START_MS,
        nonce=nonce,
        complete=complete,
        streams=tuple(
            HeldStream(stream, lowest_held, following, known.get(stream, RangeSet()))
            for stream, following in next_by_stream.items()
        ),
    )


def register(engine: Engine, *, controller_id: str = CONTROLLER, manifest: Manifest | None = MANIFEST) -> None:
    """Register a site, a controller and, unless None, its manifest."""
    with Session(engine) as session, session.begin():
        register_site(session, "north", "North hut")
        register_controller(session, controller_id, site_slug="north")
        if manifest is not None:
            register_manifest(session, controller_id, manifest.body)


def commit(engine: Engine, *payloads: bytes, controller_id: str = CONTROLLER) -> list[Committed]:
    """Put batches through as one group."""
    return commit_group(engine, [prepare(ReceivedBatch.of(controller_id, payload)) for payload in payloads])


def stored_values(engine: Engine) -> list[float]:
    """Return the first value of every scan in the database, sorted."""
    with engine.connect() as connection:
        return list(connection.scalars(text('SELECT "values"[1] FROM scans ORDER BY 1')))


def stream_sets(engine: Engine, stream: bytes = STREAM) -> tuple[str, str, str]:
    """Return a stream's committed, gaps and quarantined numbers as PostgreSQL writes them."""
    query = text("SELECT committed::text, gaps::text, quarantined::text FROM streams WHERE stream_id = :stream")
    with engine.connect() as connection:
        committed, gaps, quarantined = connection.execute(query, {"stream": stream}).one()
        return committed, gaps, quarantined


def gap_rows(engine: Engine) -> list[tuple[str, int]]:
    """Return the gap records: numbers as PostgreSQL writes them, and the reason."""
    query = text("SELECT sequences::text, reason FROM gap_records ORDER BY stream_pk, sequences")
    with engine.connect() as connection:
        return [(numbers, reason) for numbers, reason in connection.execute(query)]


def quarantine_rows(engine: Engine) -> list[tuple[str, bool]]:
    """Return the reasons of what is in quarantine, and whether it has gone through since."""
    query = text("SELECT reason, replayed_at IS NOT NULL FROM quarantine ORDER BY id")
    with engine.connect() as connection:
        return [(reason, is_replayed) for reason, is_replayed in connection.execute(query)]

"""What agents say beside batches: hello, manifest, status, health. One transaction each."""

import time
from collections.abc import Iterable, Sequence
from typing import Any

import structlog
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from cloud_hub.configuration.outbox import hurry
from cloud_hub.ingest import contract, gap_records, streams
from cloud_hub.ingest.gap_records import GapRow
from cloud_hub.ingest.reasons import WAITING
from cloud_hub.ingest.streams import LockedStream
from cloud_hub.registry.cadence import adopt_manifest
from cloud_hub.registry.service import register_manifest
from protocol.identifiers import MANIFEST_HASH_BYTES
from protocol.messages import Ack, Health, Hello, Presence, Status, StreamState, inflate
from protocol.scans import Gap, GapReason

WANTED_MANIFESTS_MAX = 16

log = structlog.get_logger(__name__)


def answer_hello(engine: Engine, controller_id: str, hello: Hello) -> Ack:
    """Compare what an agent believes with what the database holds, and say what that is.

    Raises the incarnation when the database turns out to have gone back in time. The answer says what time
    it is, for agents whose own clock is not set.
    """
    with engine.begin() as connection:
        keys = [(controller_id, stream.stream_id) for stream in hello.streams]
        locked = streams.lock_streams(connection, keys) if keys else {}
        held = {stream_id: stream.ranges.held for (_, stream_id), stream in locked.items()}
        current = streams.read_incarnation(connection)
        incarnation = contract.next_incarnation(current, hello, held)
        if incarnation != current:
            incarnation = streams.raise_incarnation(connection, incarnation)
            log.warning("database_went_back_in_time", controller_id=controller_id, incarnation=incarnation)
        # Before the streams, which take the boot's name: it must not look as if it had been here already.
        _note_controller(connection, controller_id, hello)
        _note_announced(connection, hello, locked)
        if hello.complete:
            _close_unnamed(connection, controller_id, [stream.stream_id for stream in hello.streams])
        wanted = _wanted_manifests(connection, controller_id, hello)
        adopt_manifest(connection, controller_id, hello.manifest_hash)
    states = [_state(locked[controller_id, stream.stream_id], stream.lowest_held) for stream in hello.streams]
    # Last: an agent without a clock of its own takes the time between asking and hearing for the error.
    now_ms = time.time_ns() // 1_000_000
    return Ack(incarnation, tuple(states), answers_hello=hello.nonce, wanted_manifests=wanted, now_ms=now_ms)


def _state(stream: LockedStream, lowest_held: int) -> StreamState:
    return StreamState(
        stream_id=stream.key[1],
        committed=contract.clip(stream.ranges.accounted, lowest_held),
        safe=contract.clip(stream.safe, lowest_held),
        quarantined=contract.clip(stream.ranges.quarantined, lowest_held),
    )


# A stream that is named with a lower next number comes from an older copy of the buffer. What was
# announced beyond is gone, so it counts as closed, but not as closed since it was last spoken of.
_ANNOUNCE = text("""
    UPDATE streams s
    SET lowest_held = v.lowest_held, announced_next = GREATEST(s.announced_next, v.next),
        boot_id = COALESCE(s.boot_id, :boot_id), last_seen_at = clock_timestamp(),
        closed_at = CASE WHEN v.next < s.announced_next THEN s.last_seen_at END
    FROM unnest(CAST(:ids AS bigint[]), CAST(:lowest_held AS bigint[]), CAST(:next AS bigint[]))
         AS v (id, lowest_held, next)
    WHERE s.id = v.id
""")


def _note_announced(connection: Connection, hello: Hello, locked: dict[streams.StreamKey, LockedStream]) -> None:
    """Note how far the named streams go, and what was once announced beyond that."""
    if not locked:
        return
    by_id = {stream.key[1]: stream for stream in locked.values()}
    reopened = [stream.pk for stream in locked.values() if stream.is_closed]
    if reopened:
        gap_records.forget_never_arrived(connection, reopened)
    connection.execute(
        _ANNOUNCE,
        {
            "boot_id": hello.boot_id.hex(),
            "ids": [by_id[stream.stream_id].pk for stream in hello.streams],
            "lowest_held": [stream.lowest_held for stream in hello.streams],
            "next": [stream.next for stream in hello.streams],
        },
    )
    _record_never_arrived(connection, [(by_id[stream.stream_id], stream.next) for stream in hello.streams])


def _close_unnamed(connection: Connection, controller_id: str, named: Sequence[bytes]) -> None:
    """Close the streams that their agent no longer has, and record what it had announced of them."""
    closing = streams.lock_unnamed_streams(connection, controller_id, named)
    if not closing:
        return
    # A batch that came after the stream was closed may lie above a hole.
    gap_records.forget_never_arrived(connection, [stream.pk for stream in closing if stream.is_closed])
    _record_never_arrived(connection, [(stream, 1) for stream in closing])
    statement = text("UPDATE streams SET closed_at = clock_timestamp() WHERE id = ANY (CAST(:ids AS bigint[]))")
    connection.execute(statement, {"ids": [stream.pk for stream in closing]})


def _record_never_arrived(connection: Connection, named: Iterable[tuple[LockedStream, int]]) -> None:
    """Write gap records for what was announced of streams from the next numbers on that their agent names now."""
    rows = []
    for stream, next_named in named:
        missing = contract.never_arrived(stream.ranges, stream.announced_next, next_named)
        rows += [GapRow(stream, numbers, Gap(numbers.size, GapReason.NEVER_ARRIVED, 0, 0)) for numbers in missing]
        if missing:
            log.warning(
                "scans_never_arrived", controller_id=stream.key[0], stream_id=stream.key[1].hex(), scans=missing.size
            )
    if rows:
        gap_records.add_gap_records(connection, rows)


_NOTE_CONTROLLER = text("""
    UPDATE controllers c
    SET last_seen_at = now(), agent_version = :agent_version, boot_id = :boot_id
    FROM (SELECT id, boot_id FROM controllers WHERE id = :controller FOR UPDATE) AS before
    WHERE c.id = before.id
    RETURNING before.boot_id, EXISTS (
        SELECT FROM streams s WHERE s.controller_id = c.id AND s.boot_id = :boot_id
    )
""")


def _note_controller(connection: Connection, controller_id: str, hello: Hello) -> None:
    boot_id = hello.boot_id.hex()
    parameters = {"controller": controller_id, "agent_version": _clean(hello.agent_version), "boot_id": boot_id}
    row = connection.execute(_NOTE_CONTROLLER, parameters).one_or_none()
    if row is None:
        log.warning("controller_unknown", controller_id=controller_id)
        return
    boot_before, was_seen = row
    if boot_before not in {None, boot_id} and was_seen:
        # A boot that is over does not come back: two machines speak under one identity.
        log.error(
            "controller_cloned",
            controller_id=controller_id,
            boot_ids=[boot_before, boot_id],
            is_security_event=True,
        )


_WANTED = text("""
    SELECT DISTINCT q.hash FROM (
        SELECT CAST(:announced AS bytea) AS hash
        UNION ALL
        SELECT manifest_hash FROM quarantine
        WHERE controller_id = :controller AND reason = ANY (CAST(:waiting AS text[]))
          AND replayed_at IS NULL AND manifest_hash IS NOT NULL
    ) AS q
    WHERE EXISTS (SELECT FROM controllers WHERE id = :controller)
      AND NOT EXISTS (SELECT FROM manifests m WHERE m.controller_id = :controller AND m.hash = q.hash)
    LIMIT :at_most
""")


def _wanted_manifests(connection: Connection, controller_id: str, hello: Hello) -> tuple[bytes, ...]:
    parameters: dict[str, Any] = {
        "announced": hello.manifest_hash,
        "controller": controller_id,
        "waiting": [reason.value for reason in WAITING],
        "at_most": WANTED_MANIFESTS_MAX,
    }
    found = [bytes(wanted) for wanted in connection.scalars(_WANTED, parameters)]
    return tuple(sorted(wanted for wanted in found if len(wanted) == MANIFEST_HASH_BYTES))


def take_manifest(engine: Engine, controller_id: str, payload: bytes) -> bytes:
    """Register the manifest that a payload carries and return its hash.

    Raises: MalformedMessage, LimitExceeded, UnknownController.
    """
    body = inflate(payload)
    with Session(engine) as session, session.begin():
        return register_manifest(session, controller_id, body)


def note_status(engine: Engine, controller_id: str, status: Status) -> None:
    """Note whether a controller is there."""
    statement = text(
        "UPDATE controllers SET presence = :presence, presence_at = now(), "
        "agent_version = COALESCE(NULLIF(:agent_version, ''), agent_version) WHERE id = :controller"
    )
    parameters = {"presence": status.presence.value, "agent_version": _clean(status.agent_version)}
    with engine.begin() as connection:
        connection.execute(statement, parameters | {"controller": controller_id})
        if status.presence is Presence.ONLINE:
            hurry(connection, controller_id)


def note_health(engine: Engine, controller_id: str, health: Health) -> None:
    """Keep the newest health of a controller."""
    statement = text(
        "UPDATE controllers SET health = CAST(:health AS jsonb), health_at = now(), last_seen_at = now() "
        "WHERE id = :controller"
    )
    with engine.begin() as connection:
        connection.execute(statement, {"health": health.model_dump_json(), "controller": controller_id})


def _clean(said: str) -> str:
    """Take out what PostgreSQL's texts cannot hold."""
    return said.replace("\0", "")

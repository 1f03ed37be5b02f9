"""What remains of a batch beside its scans: a row in quarantine, a closed attempt, a sign of life."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, text

from cloud_hub.ingest.prepare import PreparedBatch

_QUARANTINE = text("""
    INSERT INTO quarantine (controller_id, stream_id, first_sequence, last_sequence, manifest_hash,
                            reason, detail, payload, digest)
    VALUES (:controller, :stream, :first, :last, :manifest, :reason, :detail, :payload, :digest)
    ON CONFLICT (controller_id, digest)
    DO UPDATE SET reason = excluded.reason, detail = excluded.detail, replayed_at = NULL
""")


def add_to_quarantine(connection: Connection, batches: Sequence[PreparedBatch]) -> None:
    """Keep refused batches raw; one that is there already gets the newest reason."""
    connection.execute(_QUARANTINE, [_quarantine_row(batch) for batch in batches])


def _quarantine_row(batch: PreparedBatch) -> dict[str, Any]:
    received, header, refusal = batch.received, batch.header, batch.refusal
    if refusal is None:
        raise ValueError("a batch without a reason does not belong into quarantine")
    return {
        "controller": received.controller_id,
        "stream": None if header is None else header.stream_id,
        "first": None if header is None else header.range.first,
        "last": None if header is None else header.range.last,
        "manifest": None if header is None else header.manifest_hash,
        "reason": refusal.reason.value,
        "detail": refusal.detail.replace("\0", ""),
        "payload": received.payload,
        "digest": received.digest,
    }


_RELEASE = text("""
    UPDATE quarantine q SET replayed_at = now()
    FROM unnest(CAST(:controllers AS text[]), CAST(:digests AS bytea[])) AS k (controller_id, digest)
    WHERE q.controller_id = k.controller_id AND q.digest = k.digest AND q.replayed_at IS NULL
""")
_FINISH = text("DELETE FROM ingest_attempts WHERE digest = ANY (CAST(:digests AS bytea[]))")
_SEEN = text("""
    UPDATE controllers SET last_seen_at = now()
    WHERE id IN (
        SELECT id FROM controllers
        WHERE id = ANY (CAST(:controllers AS text[]))
          AND (last_seen_at IS NULL OR last_seen_at < now() - interval '10 seconds')
        ORDER BY id FOR UPDATE SKIP LOCKED
    )
""")


def release_from_quarantine(connection: Connection, batches: Sequence[PreparedBatch]) -> None:
    """Note that these batches have gone through after all."""
    received = [batch.received for batch in batches]
    parameters = {"controllers": [one.controller_id for one in received], "digests": [one.digest for one in received]}
    connection.execute(_RELEASE, parameters)


def finish_attempts(connection: Connection, batches: Sequence[PreparedBatch]) -> None:
    """Forget the attempts at batches that are dealt with."""
    connection.execute(_FINISH, {"digests": [batch.received.digest for batch in batches]})


def mark_seen(connection: Connection, controller_ids: Iterable[str]) -> None:
    """Note that these controllers are alive; rarely, and never waiting for anybody, since it is no promise."""
    connection.execute(_SEEN, {"controllers": sorted(set(controller_ids))})

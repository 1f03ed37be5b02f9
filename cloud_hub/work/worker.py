"""The work process: what the hub does by the clock. Any number may run; each deed stands being done twice."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import Engine, text

from cloud_hub.idempotency.service import purge as purge_keys
from cloud_hub.ingest.faults import DatabaseError, reason_of
from cloud_hub.ingest.quarantine import replay_waiting
from cloud_hub.ledger.recompute import recompute_some
from cloud_hub.ledger.silent import mark_silent
from cloud_hub.tokens.purge import forget_ended_tokens
from cloud_hub.web.rate_limits import forget_full_buckets
from cloud_hub.work.compaction import compact
from cloud_hub.work.partitions import make_partitions
from cloud_hub.work.retention import Archive, drop_expired

DIGESTS_KEPT = timedelta(days=120)
"""Longer than an agent keeps what it has sent (90 days): no repetition goes unrecognised."""
ATTEMPTS_KEPT = timedelta(days=1)

MORE = object()
"""What a duty answers that has more to do."""

_LEDGER_S = 2.0
_HOUR_S = 3600.0
_MINUTE_S = 60.0
_JOIN_S = 10.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Duty:
    """Something to do again and again."""

    name: str
    every_s: float
    do: Callable[[Engine], object]
    """Answers `MORE` when it stopped before all was done: then it comes again at once."""


def duties(archive_url: str | None = None) -> list[Duty]:
    """Return all that the hub does by the clock; everything is due at once."""
    return [
        Duty("ledger", _LEDGER_S, recompute),
        Duty("silence", 5 * _MINUTE_S, mark_silent),
        Duty("partitions", _HOUR_S, lambda engine: make_partitions(engine, datetime.now(UTC))),
        Duty("compaction", _HOUR_S, lambda engine: compact(engine, datetime.now(UTC))),
        Duty(
            "retention",
            24 * _HOUR_S,
            lambda engine: drop_expired(engine, datetime.now(UTC), _archive(engine, archive_url)),
        ),
        Duty("purge", _HOUR_S, purge),
        Duty("rate_limits", 10 * _MINUTE_S, forget_full_buckets),
        Duty("tokens", _HOUR_S, forget_ended_tokens),
        Duty("idempotency", _HOUR_S, purge_keys),
        Duty("quarantine", _MINUTE_S, replay_waiting),
    ]


def run(engine: Engine, stopping: threading.Event, duties: Sequence[Duty]) -> None:
    """Do each duty when it is due, until `stopping` is set. A duty that fails comes again at its next time.

    Each has a thread of its own: closing a month of readings must not keep the ledger waiting.
    """
    log.info("worker_started")
    threads = [
        threading.Thread(target=_keep_doing, args=(engine, stopping, duty), name=f"duty {duty.name}", daemon=True)
        for duty in duties
    ]
    for thread in threads:
        thread.start()
    stopping.wait()
    for thread in threads:
        # What hangs in a statement commits nothing more; it is safe to leave.
        thread.join(timeout=_JOIN_S)
    log.info("worker_stopped")


def _keep_doing(engine: Engine, stopping: threading.Event, duty: Duty) -> None:
    while not stopping.is_set():
        if _do(engine, duty) is not MORE:
            stopping.wait(duty.every_s)


def _do(engine: Engine, duty: Duty) -> object:
    try:
        return duty.do(engine)
    except DatabaseError as error:
        log.warning("duty_postponed", duty=duty.name, error=reason_of(error))
    except Exception:
        log.exception("duty_failed", duty=duty.name)
    return None


def recompute(engine: Engine) -> object:
    """Bring the ledger in step with what has changed in some meters."""
    return MORE if recompute_some(engine).meters else None


def _archive(engine: Engine, url: str | None) -> Archive | None:
    if url is None:
        return None
    from cloud_hub.transfer.archive import ParquetArchive  # noqa: PLC0415 - Arrow is large, and most hubs keep no archive

    return ParquetArchive(engine, url)


def purge(engine: Engine) -> None:
    """Drop digests and attempts that nobody can ask for any more."""
    with engine.begin() as connection:
        digests = connection.execute(
            text("DELETE FROM batch_digests WHERE received_at < now() - CAST(:kept AS interval)"),
            {"kept": DIGESTS_KEPT},
        ).rowcount
        connection.execute(
            text("DELETE FROM ingest_attempts WHERE last_at < now() - CAST(:kept AS interval)"), {"kept": ATTEMPTS_KEPT}
        )
    if digests:
        log.info("digests_purged", rows=digests)

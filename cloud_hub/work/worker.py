"""The work process: what the hub does by the clock. Any number may run; each deed stands being done twice."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import Engine, text

from cloud_hub.ingest.faults import DatabaseError, reason_of
from cloud_hub.ingest.quarantine import replay_waiting
from cloud_hub.work.partitions import make_partitions

DIGESTS_KEPT = timedelta(days=120)
"""Longer than an agent keeps what it has sent (90 days): no repetition goes unrecognised."""
ATTEMPTS_KEPT = timedelta(days=1)

_HOUR_S = 3600.0
_MINUTE_S = 60.0

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Duty:
    """Something to do again and again."""

    name: str
    every_s: float
    do: Callable[[Engine], object]
    due_s: float = field(default=0.0)
    """On the monotonic clock."""


def duties() -> list[Duty]:
    """Return all that the hub does by the clock; everything is due at once."""
    return [
        Duty("partitions", _HOUR_S, lambda engine: make_partitions(engine, datetime.now(UTC))),
        Duty("purge", _HOUR_S, purge),
        Duty("quarantine", _MINUTE_S, replay_waiting),
    ]


def run(engine: Engine, stopping: threading.Event, duties: Sequence[Duty]) -> None:
    """Do each duty when it is due, until `stopping` is set. A duty that fails comes again at its next time."""
    log.info("worker_started")
    while not stopping.is_set():
        for duty in duties:
            if duty.due_s <= time.monotonic() and not stopping.is_set():
                duty.due_s = time.monotonic() + duty.every_s
                _do(engine, duty)
        stopping.wait(max(0.0, min(duty.due_s for duty in duties) - time.monotonic()))
    log.info("worker_stopped")


def _do(engine: Engine, duty: Duty) -> None:
    try:
        duty.do(engine)
    except DatabaseError as error:
        log.warning("duty_postponed", duty=duty.name, error=reason_of(error))
    except Exception:
        log.exception("duty_failed", duty=duty.name)


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

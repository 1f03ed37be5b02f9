"""Messages to their receivers, by any number of workers: a lease, a message, what came of it, the next.

A lease is on a webhook, so that a slow one holds up its own messages and no other's, and they leave in order.
What an attempt may change is committed before and after it, never during: a worker that is killed in between
leaves a message that is sent once more under the same id.
"""

import ssl
import time
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Final

import structlog
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cloud_hub.audit import service as audit
from cloud_hub.events.service import publish
from cloud_hub.webhooks import patience
from cloud_hub.webhooks.addresses import Gate
from cloud_hub.webhooks.sending import Answer, Sender
from cloud_hub.webhooks.signing import sign

WORKER: Final = "hub:work"
"""Whom the audit trail names."""
SLOW_MS: Final = 2000
"""A webhook that takes longer leaves the quick lane until it is quick again."""
LEASE_S: Final = 60
_TURN_S = 20.0
"""After this another webhook has its turn. With one message's time on top it is well within a lease."""
_SECRETS_KNOWN = 3

log = structlog.get_logger(__name__)

_LEASE = text("""
    WITH next AS (
        SELECT w.id FROM webhooks w
        WHERE w.is_active AND w.rest_until <= now() AND w.leased_until <= now() AND NOT (w.is_slow AND :quick_only)
          AND EXISTS (SELECT FROM webhook_deliveries d
                      WHERE d.webhook_id = w.id AND d.state = 'waiting' AND d.due_at <= now())
        ORDER BY w.leased_until LIMIT 1 FOR UPDATE SKIP LOCKED)
    UPDATE webhooks w SET leased_until = now() + make_interval(secs => :seconds) FROM next WHERE w.id = next.id
    RETURNING w.id, w.url, w.leased_until
""")
_RELEASE = text("UPDATE webhooks SET leased_until = now() WHERE id = :id AND leased_until = :leased_until")
_TAKE = text("""
    UPDATE webhook_deliveries d SET attempts = attempts + 1
    WHERE d.id = (SELECT id FROM webhook_deliveries
                  WHERE webhook_id = :id AND state = 'waiting' AND due_at <= now() ORDER BY id LIMIT 1)
      AND EXISTS (SELECT FROM webhooks w
                  WHERE w.id = d.webhook_id AND w.is_active AND w.leased_until = :leased_until)
    RETURNING d.id, d.message_id, d.body, d.attempts, CAST(extract(epoch FROM now()) AS bigint) AS sent_at_s
""")
_SECRETS = text("""
    SELECT secret, overlap_until > now() AS overlaps FROM webhook_secrets
    WHERE webhook_id = :id ORDER BY id DESC LIMIT :known
""")
_NOTE = text("""
    INSERT INTO webhook_attempts (delivery_id, status, duration_ms, problem, answer)
    SELECT id, :status, :duration_ms, :problem, :answer FROM webhook_deliveries WHERE id = :id
""")
_ARRIVED = text("""
    UPDATE webhook_deliveries SET state = 'delivered', finished_at = now() WHERE id = :id AND attempts = :attempts
""")
_IS_WELL = text("""
    UPDATE webhooks SET failures = 0, failing_since = NULL, is_slow = :is_slow WHERE id = :id
""")
_MISSED = text("""
    UPDATE webhook_deliveries
    SET state = CASE WHEN queued_at < now() - CAST(:give_up AS interval) THEN 'failed' ELSE 'waiting' END,
        finished_at = CASE WHEN queued_at < now() - CAST(:give_up AS interval) THEN now() END,
        due_at = now() + CAST(:pause AS interval)
    WHERE id = :id AND attempts = :attempts AND state = 'waiting'
""")
_IS_ILL = text("""
    UPDATE webhooks SET failures = failures + 1, failing_since = coalesce(failing_since, now()), is_slow = :is_slow
    WHERE id = :id
    RETURNING failures, failing_since < now() - CAST(:switch_off AS interval) AS is_over, is_active, organisation_id, name
""")
_REST = text("UPDATE webhooks SET rest_until = now() + CAST(:rest AS interval) WHERE id = :id")
_SWITCH_OFF = text("""
    UPDATE webhooks SET is_active = false, disabled_reason = :reason, disabled_at = now() WHERE id = :id
""")
_GIVE_UP = text("""
    UPDATE webhook_deliveries SET state = 'failed', finished_at = now()
    WHERE state = 'waiting' AND queued_at < now() - CAST(:give_up AS interval) AND due_at <= now()
""")


@dataclass(frozen=True, slots=True)
class _Lease:
    webhook_id: int
    url: str
    leased_until: datetime


@dataclass(frozen=True, slots=True)
class _Message:
    id: int
    message_id: str
    body: bytes
    attempts: int
    sent_at_s: int


@dataclass(frozen=True, slots=True)
class Courier:
    """Carries messages out. `tls` is for receivers with certificates of an authority of their own."""

    engine: Engine
    gate: Gate = field(default_factory=Gate)
    tls: ssl.SSLContext | None = None

    def deliver_some(self, *, quick_only: bool = False) -> bool:
        """Send what is due to one webhook, for as long as all goes well; answer whether there was one.

        Blocks for as long as its receiver takes, within limits. With `quick_only`, slow receivers are left to others.
        """
        lease = self._take_lease(quick_only=quick_only)
        if lease is None:
            return False
        ends_at = time.monotonic() + _TURN_S
        with Sender(self.gate, self.tls) as sender:
            while time.monotonic() < ends_at and self._deliver_one(lease, sender):
                pass
        with self.engine.begin() as connection:
            connection.execute(_RELEASE, {"id": lease.webhook_id, "leased_until": lease.leased_until})
        return True

    def _take_lease(self, *, quick_only: bool) -> _Lease | None:
        with self.engine.begin() as connection:
            row = connection.execute(_LEASE, {"quick_only": quick_only, "seconds": LEASE_S}).first()
        return None if row is None else _Lease(row.id, row.url, row.leased_until)

    def _deliver_one(self, lease: _Lease, sender: Sender) -> bool:
        with self.engine.begin() as connection:
            known = {"id": lease.webhook_id, "leased_until": lease.leased_until}
            row = connection.execute(_TAKE, known).first()
            if row is None:
                return False
            message = _Message(row.id, row.message_id, row.body.encode(), row.attempts, row.sent_at_s)
            secrets = connection.execute(_SECRETS, {"id": lease.webhook_id, "known": _SECRETS_KNOWN}).all()
        signing = [secrets[0].secret]
        for newer, older in pairwise(secrets):
            if not newer.overlaps:
                break
            signing.append(older.secret)
        answer = sender.send(
            lease.url, sign(signing, message.message_id, message.sent_at_s, message.body), message.body
        )
        with Session(self.engine) as session, session.begin():
            return _record(session, lease.webhook_id, message, answer)


def give_up_waiting(engine: Engine) -> int:
    """Let messages fail whose time is over though no attempt was made, as when their webhook is switched off."""
    with engine.begin() as connection:
        return connection.execute(_GIVE_UP, {"give_up": patience.GIVE_UP_AFTER}).rowcount


def purge_deliveries(engine: Engine) -> int:
    """Drop the log of messages of more than 30 days ago; answer how many."""
    with engine.begin() as connection:
        return connection.execute(
            text("DELETE FROM webhook_deliveries WHERE state <> 'waiting' AND queued_at < now() - interval '30 days'")
        ).rowcount


def _record(session: Session, webhook_id: int, message: _Message, answer: Answer) -> bool:
    session.execute(
        _NOTE,
        {
            "id": message.id,
            "status": answer.status,
            "duration_ms": answer.duration_ms,
            "problem": answer.problem,
            "answer": answer.text,
        },
    )
    is_slow = answer.duration_ms > SLOW_MS
    if not answer.problem:
        session.execute(_ARRIVED, {"id": message.id, "attempts": message.attempts})
        session.execute(_IS_WELL, {"id": webhook_id, "is_slow": is_slow})
        return True
    session.execute(
        _MISSED,
        {
            "id": message.id,
            "attempts": message.attempts,
            "give_up": patience.GIVE_UP_AFTER,
            "pause": patience.next_attempt(message.attempts),
        },
    )
    _note_illness(session, webhook_id, answer, is_slow=is_slow)
    return False


def _note_illness(session: Session, webhook_id: int, answer: Answer, *, is_slow: bool) -> None:
    known = {"id": webhook_id, "is_slow": is_slow, "switch_off": patience.SWITCH_OFF_AFTER}
    ill = session.execute(_IS_ILL, known).first()
    if ill is None:  # it was deleted meanwhile
        return
    rest = patience.rest(ill.failures, answer.asked_to_wait_s)
    session.execute(_REST, {"id": webhook_id, "rest": rest})
    if ill.is_active and (ill.is_over or answer.status == 410):
        days = patience.SWITCH_OFF_AFTER.days
        reason = f"nothing arrived for {days} days; the last time: {answer.problem}" if ill.is_over else answer.problem
        session.execute(_SWITCH_OFF, {"id": webhook_id, "reason": reason})
        told = {"name": ill.name, "reason": reason}
        subject = f"webhook:{webhook_id}"
        publish(session, ill.organisation_id, kind="webhook.disabled", subject=subject, data=told)
        audit.record(session, ill.organisation_id, who=WORKER, action="webhook_disabled", subject=subject, detail=told)
        log.warning("webhook_disabled", webhook_id=webhook_id, reason=reason)

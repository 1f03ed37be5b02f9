"""Orders from the outbox to the broker, each signed; run by `work`, in as many processes as there are.

An order counts as sent when the broker takes it. A command is said again until its controller answers or
its time is over: a broker that loses its memory loses no order, and a controller does nothing twice.
"""

import select
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from cloud_hub.configuration.broker import FAILURE, NOBODY_LISTENED, OrderLine, Outgoing
from cloud_hub.configuration.commands import tell
from cloud_hub.configuration.models import CommandProgress, Downlink, SentCommand
from cloud_hub.configuration.outbox import CHANNEL
from cloud_hub.configuration.signing import SigningKey
from cloud_hub.registry.models import Controller
from protocol import topics
from protocol.control import encode_signed
from protocol.topics import Down

BATCH = 50
REPEAT_S = 30.0
"""After which a command that nobody answered is said again."""
ANSWER_WITHIN = timedelta(minutes=10)
"""How long after its time a command that was begun may still be answered."""
_AWAY_S = (2.0, 5.0, 15.0, 60.0)
"""After which a command to a controller that is away is tried again: the first, second, … time."""
_REFUSED_S = 60.0
_PUBACK_S = 10.0
_LEASE = timedelta(seconds=3 * _PUBACK_S)
"""After which another process takes over what one has claimed, because that one died."""
_CONNECT_S = 2.0

log = structlog.get_logger(__name__)


class Dispatcher:
    """Sends what is due. One thread at a time."""

    def __init__(self, line: OrderLine, key: SigningKey) -> None:
        """Wire the parts; nothing is connected yet."""
        self._line, self._key = line, key
        self._listening: Connection | None = None

    def serve(self, engine: Engine, *, wait_s: float = 2.0) -> bool:
        """Send all that is due, then wait a while for more; answer whether the broker was there."""
        # Before looking: what is queued meanwhile is then told.
        listening = self._listen(engine)
        expire(engine, datetime.now(UTC))
        if not self._line.is_connected(_CONNECT_S):
            return False
        while self.send_some(engine):
            pass
        self._wait(listening, wait_s)
        return True

    def send_some(self, engine: Engine) -> int:
        """Send some of what is due; return how much that was.

        No row stays locked while the broker is waited for: the controller may answer before it does.
        """
        now = datetime.now(UTC)
        with Session(engine) as session, session.begin():
            found, claimed = _claim(session, now)
        codes = self._line.say([self._signed(one) for one in claimed], within_s=_PUBACK_S) if claimed else []
        for one, code in zip(claimed, codes, strict=True):
            with Session(engine) as session, session.begin():
                _note_result(session, one, code, datetime.now(UTC))
        return found

    def close(self) -> None:
        """Let go of the broker and of the database."""
        self._line.close()
        if self._listening is not None:
            self._listening.close()
            self._listening = None

    def _signed(self, claimed: "_Claimed") -> Outgoing:
        kind = Down.CONFIG if claimed.command_id is None else Down.COMMAND
        order = self._key.sign(kind, claimed.controller_id, claimed.body)
        topic = topics.down(claimed.controller_id, kind)
        return Outgoing(topic, encode_signed(order), is_retained=kind is Down.CONFIG)

    def _listen(self, engine: Engine) -> Connection:
        if self._listening is None or self._listening.closed or self._listening.invalidated:
            connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            connection.execute(text(f"LISTEN {CHANNEL}"))
            self._listening = connection
        return self._listening

    def _wait(self, listening: Connection, wait_s: float) -> None:
        driver: Any = listening.connection.driver_connection
        try:
            if not driver.notifies:
                select.select([driver], [], [], wait_s)
            driver.poll()
        except Exception:
            listening.invalidate()
            self._listening = None
            raise
        driver.notifies.clear()


@dataclass(frozen=True, slots=True)
class _Claimed:
    """An order that this process sends now."""

    id: int
    controller_id: str
    command_id: str | None
    body: str
    attempts: int
    lease: datetime
    """Until when it is ours; also what its `due_at` is, unless somebody else changed that meanwhile."""


_DUE = text("SELECT id FROM downlinks WHERE due_at <= now() ORDER BY due_at, id LIMIT :batch FOR UPDATE SKIP LOCKED")
_NEWER = text("""
    SELECT EXISTS (SELECT FROM downlinks WHERE controller_id = :controller AND configuration_id IS NOT NULL AND id > :id)
""")


def _claim(session: Session, now: datetime) -> tuple[int, list[_Claimed]]:
    """Take what is due and still wanted; return also how much was looked at."""
    ids = sorted(session.scalars(_DUE, {"batch": BATCH}))
    claimed = []
    for row in [session.get_one(Downlink, row_id) for row_id in ids]:
        if not _is_wanted(session, row, now):
            row.due_at = None
            continue
        row.due_at = now + _LEASE
        claimed.append(_Claimed(row.id, row.controller_id, row.command_id, row.body, row.attempts, lease=row.due_at))
    session.flush()
    return len(ids), claimed


def _is_wanted(session: Session, downlink: Downlink, now: datetime) -> bool:
    if downlink.command_id is not None:
        command = session.get_one(SentCommand, downlink.command_id)
        return command.state in {CommandProgress.QUEUED, CommandProgress.SENT} and command.expires_at > now
    return not session.scalar(_NEWER, {"controller": downlink.controller_id, "id": downlink.id})


_SETTLE = text("""
    UPDATE downlinks SET due_at = :due_at, attempts = attempts + 1,
        sent_at = CASE WHEN :is_sent THEN :now ELSE sent_at END
    WHERE id = :id AND due_at = :lease
""")
_REPEAT_NEWER = text("""
    UPDATE downlinks SET due_at = now()
    WHERE id = (SELECT max(id) FROM downlinks WHERE controller_id = :controller AND configuration_id IS NOT NULL)
      AND id > :id
""")


def _note_result(session: Session, claimed: _Claimed, code: int | None, now: datetime) -> None:
    """Note what a reason code of the broker means for an order: what was sent, and when it is tried again."""
    is_sent, again_s = _judge(claimed, code)
    if is_sent and claimed.command_id is not None:
        # The command before its downlink, as those lock who take in answers.
        _note_sent(session, claimed.command_id, now)
    due_at = None if again_s is None else now + timedelta(seconds=again_s)
    session.execute(
        _SETTLE, {"id": claimed.id, "lease": claimed.lease, "due_at": due_at, "is_sent": is_sent, "now": now}
    )
    if claimed.command_id is None:
        # Another process may have sent a newer one between: the retained message must be that one.
        session.execute(_REPEAT_NEWER, {"controller": claimed.controller_id, "id": claimed.id})


def _judge(claimed: _Claimed, code: int | None) -> tuple[bool, float | None]:
    """Return whether an order is sent, and after how long it is tried again; None for never."""
    is_command = claimed.command_id is not None
    if code is None:
        return False, _AWAY_S[0]
    if code >= FAILURE:
        log.error(
            "order_refused", controller_id=claimed.controller_id, command=claimed.command_id, reason_code=hex(code)
        )
        return False, _REFUSED_S
    if code == NOBODY_LISTENED and is_command:
        return False, _AWAY_S[min(claimed.attempts, len(_AWAY_S) - 1)]
    return True, REPEAT_S if is_command else None


def _note_sent(session: Session, command_id: str, now: datetime) -> None:
    row = session.get_one(SentCommand, command_id, with_for_update=True)
    if row.state != CommandProgress.QUEUED:  # the controller may have answered already
        return
    row.state, row.sent_at = CommandProgress.SENT, now
    session.flush()
    tell(session, session.get_one(Controller, row.controller_id), row)


_EXPIRED = text("""
    SELECT id FROM commands
    WHERE state IN ('queued', 'sent') AND expires_at < :now OR state = 'received' AND expires_at < :long_ago
    ORDER BY expires_at LIMIT 500 FOR UPDATE SKIP LOCKED
""")


def expire(engine: Engine, now: datetime) -> int:
    """End commands whose time is over; return how many."""
    with Session(engine) as session, session.begin():
        ids = list(session.scalars(_EXPIRED, {"now": now, "long_ago": now - ANSWER_WITHIN}))
        for command_id in ids:
            row = session.get_one(SentCommand, command_id)
            if row.state == CommandProgress.RECEIVED:
                row.state = CommandProgress.INTERRUPTED
                row.reason = "the controller began it and never said how it ended"
            else:
                was_sent = row.state == CommandProgress.SENT
                row.state = CommandProgress.EXPIRED
                row.reason = (
                    "it was sent, and the controller did not answer in time"
                    if was_sent
                    else "the controller was not there to take it in time"
                )
            row.ended_at = now
            session.flush()
            tell(session, session.get_one(Controller, row.controller_id), row)
        return len(ids)


_MISSED = text("""
    UPDATE downlinks d SET due_at = now()
    FROM configurations n JOIN controllers c ON c.id = n.controller_id
    WHERE d.configuration_id = n.id AND n.state IN ('published', 'acknowledged') AND d.due_at IS NULL
      AND d.sent_at < now() - interval '10 minutes'
      AND c.presence = 'online' AND c.health_at > d.sent_at + interval '1 minute'
      AND c.health -> 'configuration' ->> 'hash' <> n.hash
      AND NOT EXISTS (SELECT FROM configurations m WHERE m.controller_id = n.controller_id AND m.revision > n.revision)
    RETURNING d.controller_id
""")


def repeat_missed(engine: Engine) -> None:
    """Say configurations again that their controllers do not go by: a broker that was wiped kept none of them."""
    with engine.begin() as connection:
        controllers = list(connection.scalars(_MISSED))
        if controllers:
            connection.execute(text(f"NOTIFY {CHANNEL}"))
    for controller_id in controllers:
        log.info("configuration_repeated", controller_id=controller_id)

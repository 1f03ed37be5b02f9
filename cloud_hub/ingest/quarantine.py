"""What is in quarantine, and the way out of it: the same way that every batch takes."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy import Engine, Select, exists, select
from sqlalchemy.orm import Session

from cloud_hub.errors import NotFound
from cloud_hub.ingest.acks import merge_acks
from cloud_hub.ingest.committer import commit_group
from cloud_hub.ingest.prepare import ReceivedBatch, prepare
from cloud_hub.ingest.reasons import WAITING
from cloud_hub.readings.models import QuarantinedBatch
from cloud_hub.registry.models import StoredManifest
from protocol.messages import Ack

LIST_MAX = 1_000
_REPLAY_GROUP = 64

log = structlog.get_logger(__name__)


class UnknownQuarantinedBatch(NotFound):
    """Nothing in quarantine has this id."""


@dataclass(frozen=True, slots=True)
class QuarantineEntry:
    """A batch in quarantine, without its payload."""

    id: int
    controller_id: str
    stream_id: str | None
    """Hexadecimal."""
    first_sequence: int | None
    last_sequence: int | None
    reason: str
    detail: str
    size_bytes: int
    received_at: datetime
    replayed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Replayed:
    """How a replay went."""

    stored: int
    """Batches that are in the database now."""
    kept: int
    """Batches that stay in quarantine."""
    acks: Mapping[str, Ack]
    """By controller: what to tell it, should somebody be there to do so."""


def list_quarantined(
    session: Session, *, include_replayed: bool = False, limit: int = LIST_MAX
) -> list[QuarantineEntry]:
    """Return what is in quarantine, oldest first."""
    query = select(QuarantinedBatch).order_by(QuarantinedBatch.id).limit(limit)
    if not include_replayed:
        query = query.where(QuarantinedBatch.replayed_at.is_(None))
    return [
        QuarantineEntry(
            id=row.id,
            controller_id=row.controller_id,
            stream_id=None if row.stream_id is None else row.stream_id.hex(),
            first_sequence=row.first_sequence,
            last_sequence=row.last_sequence,
            reason=row.reason,
            detail=row.detail,
            size_bytes=len(row.payload),
            received_at=row.received_at,
            replayed_at=row.replayed_at,
        )
        for row in session.scalars(query)
    ]


def replay(engine: Engine, ids: Iterable[int] | None = None) -> Replayed:
    """Put batches through again: these, or all that are in quarantine.

    Raises: UnknownQuarantinedBatch; the database's error.
    """
    if ids is None:
        return _replay(engine, _pending())
    wanted = set(ids)
    with Session(engine) as session:
        known = set(session.scalars(select(QuarantinedBatch.id).where(QuarantinedBatch.id.in_(wanted))))
    if wanted - known:
        raise UnknownQuarantinedBatch(
            f"nothing in quarantine has the id {min(wanted - known)}: 'meterhaul hub quarantine list' shows what is there"
        )
    return _replay(engine, _pending().where(QuarantinedBatch.id.in_(wanted)))


def replay_waiting(engine: Engine, controller_id: str | None = None) -> Replayed:
    """Put through what waited for a registration or a manifest that is there now."""
    query = _pending().where(
        QuarantinedBatch.reason.in_([reason.value for reason in WAITING]),
        exists().where(
            StoredManifest.controller_id == QuarantinedBatch.controller_id,
            StoredManifest.hash == QuarantinedBatch.manifest_hash,
        ),
    )
    if controller_id is not None:
        query = query.where(QuarantinedBatch.controller_id == controller_id)
    return _replay(engine, query)


def _pending() -> Select[QuarantinedBatch]:
    return select(QuarantinedBatch).where(QuarantinedBatch.replayed_at.is_(None)).order_by(QuarantinedBatch.id)


def _replay(engine: Engine, query: Select[QuarantinedBatch]) -> Replayed:
    total = refused = 0
    acks: dict[str, Ack] = {}
    for group in _groups(engine, query):
        committed = commit_group(engine, [prepare(batch) for batch in group])
        for one in committed:
            acks |= {controller: merge_acks(acks.get(controller), ack) for controller, ack in one.acks.items()}
        total += len(group)
        refused += sum(len(one.refused) for one in committed)
    if total:
        log.info("quarantine_replayed", stored=total - refused, kept=refused)
    return Replayed(total - refused, refused, acks)


def _groups(engine: Engine, query: Select[QuarantinedBatch]) -> Iterator[list[ReceivedBatch]]:
    """Read in small groups, each batch once, however long the quarantine is and whatever becomes of it."""
    last_id = 0
    while True:
        with Session(engine) as session:
            rows = session.scalars(query.where(QuarantinedBatch.id > last_id).limit(_REPLAY_GROUP)).all()
        if not rows:
            return
        last_id = rows[-1].id
        yield [ReceivedBatch(row.controller_id, row.payload, row.digest, is_replay=True) for row in rows]

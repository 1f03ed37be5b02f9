"""Batches into the database: one group, one transaction; and what to acknowledge once it is committed."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import structlog
from sqlalchemy import Connection, Engine

from cloud_hub.ingest import contract, digests, gap_records, outcome, scan_rows, streams
from cloud_hub.ingest.copy_binary import ScanRows
from cloud_hub.ingest.decode import DecodedBatch
from cloud_hub.ingest.digests import RangeKey
from cloud_hub.ingest.faults import is_permanent, reason_of
from cloud_hub.ingest.gap_records import GapRow
from cloud_hub.ingest.prepare import PreparedBatch, Refusal
from cloud_hub.ingest.reasons import WAITING, QuarantineReason
from cloud_hub.ingest.scan_rows import LayoutKey, Registry
from cloud_hub.ingest.streams import LockedStream
from cloud_hub.ledger import dirty
from cloud_hub.ledger.dirty import ScanSpan
from protocol.codec import BatchHeader
from protocol.messages import Ack, StreamState
from protocol.ranges import RangeSet

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Committed:
    """What a transaction has changed. Nothing of it may be said before the commit."""

    acks: dict[str, Ack]
    """By controller."""
    stored: int
    """Scans inserted."""
    readings: int
    refused: tuple[PreparedBatch, ...]
    advanced: frozenset[int] = frozenset()
    """Meters of which something newer is known than before."""


@dataclass(slots=True)
class _Work:
    """What one transaction is about to do."""

    streams: dict[streams.StreamKey, LockedStream]
    registry: Registry
    first_digests: defaultdict[RangeKey, set[bytes]]
    rows: list[ScanRows] = field(default_factory=list)
    gaps: list[GapRow] = field(default_factory=list)
    replaced_gaps: list[tuple[LockedStream, RangeSet]] = field(default_factory=list)
    digests: list[tuple[RangeKey, bytes]] = field(default_factory=list)
    refused: list[PreparedBatch] = field(default_factory=list)
    released: list[PreparedBatch] = field(default_factory=list)
    advanced: frozenset[int] = frozenset()

    def stream_of(self, batch: PreparedBatch, header: BatchHeader) -> LockedStream:
        """Return the locked stream that a batch belongs to."""
        return self.streams[batch.received.controller_id, header.stream_id]


def commit_group(engine: Engine, group: Sequence[PreparedBatch]) -> list[Committed]:
    """Commit batches together; when the database refuses the content of one, each by itself.

    Returns what was committed, transaction by transaction. Raises: the database's error when it is
    one that time can cure; then nothing that was not returned is committed for certain.
    """
    try:
        return [_commit(engine, group)]
    except Exception as error:
        if not _is_about_content(error):
            raise
        if len(group) > 1:
            return [done for batch in group for done in commit_group(engine, [batch])]
        return [_commit(engine, [group[0].refused(QuarantineReason.DATABASE_REFUSED, reason_of(error))])]


def _is_about_content(error: Exception) -> bool:
    """Say whether a batch, rather than the database's state, is to blame. So is any fault of our own in judging it."""
    return is_permanent(error) or isinstance(error, (ValueError, ArithmeticError, LookupError, TypeError))


def _commit(engine: Engine, group: Sequence[PreparedBatch]) -> Committed:
    with engine.begin() as connection:
        incarnation = streams.read_incarnation(connection)
        work = _begin(connection, group)
        for batch in group:
            _judge(work, batch)
        _write(connection, work, group)
        acks = _build_acks(incarnation, work)
    for batch in work.refused:
        _report(batch)
    readings = sum(rows.columns.values.size for rows in work.rows)
    stored = sum(len(rows.columns.sequences) for rows in work.rows)
    return Committed(acks, stored, readings, tuple(work.refused), work.advanced)


def _begin(connection: Connection, group: Sequence[PreparedBatch]) -> _Work:
    keys = [(batch.received.controller_id, batch.header.stream_id) for batch in group if batch.header is not None]
    locked = streams.lock_streams(connection, keys) if keys else {}
    work = _Work(locked, scan_rows.load_registry(connection, group), defaultdict(set))
    repeated = _repeated_ranges(work, group)
    if repeated:
        for key, digest in digests.find_digests(connection, repeated):
            work.first_digests[key].add(digest)
    return work


def _repeated_ranges(work: _Work, group: Iterable[PreparedBatch]) -> list[RangeKey]:
    """Return the ranges of which something is committed already: these may contradict."""
    return [
        (stream.pk, header.range)
        for batch in group
        if (header := batch.header) is not None
        and (stream := work.stream_of(batch, header)).ranges.committed & RangeSet([header.range])
    ]


def _judge(work: _Work, batch: PreparedBatch) -> None:
    header, content = batch.header, batch.content
    if header is None:
        work.refused.append(batch)
        return
    stream = work.stream_of(batch, header)
    stream.touched.append(header.range)
    refusal = batch.refusal or _find_objection(work, stream, batch)
    if refusal is None and content is not None:
        _accept(work, stream, batch, content)
    elif refusal is not None and _is_needless(stream, header, refusal):
        work.released.append(batch)
    else:
        stream.ranges = contract.quarantine(stream.ranges, header.range)
        work.refused.append(replace(batch, content=None, refusal=refusal))


def _is_needless(stream: LockedStream, header: BatchHeader, refusal: Refusal) -> bool:
    """Say whether a batch that nothing speaks against holds only numbers that are committed already."""
    is_innocent = refusal.reason in {*WAITING, QuarantineReason.KILLED_PROCESS}
    return is_innocent and stream.ranges.committed.covers(RangeSet([header.range]))


def _find_objection(work: _Work, stream: LockedStream, batch: PreparedBatch) -> Refusal | None:
    header, content, controller_id = batch.header, batch.content, batch.received.controller_id
    if header is None or content is None:
        return None
    if controller_id not in work.registry.controllers:
        return Refusal(QuarantineReason.UNKNOWN_CONTROLLER, f"no controller {controller_id!r} is registered")
    if content.scans and (controller_id, header.manifest_hash) not in work.registry.manifests:
        return Refusal(QuarantineReason.UNKNOWN_MANIFEST, f"manifest {header.manifest_hash.hex()} has not come yet")
    for columns in content.scans:
        layout = work.registry.layouts.get(LayoutKey(controller_id, header.manifest_hash, columns.layout))
        if layout is None or layout.points != columns.points:
            return Refusal(
                QuarantineReason.MALFORMED,
                f"layout {columns.layout} with {columns.points} points is not in manifest {header.manifest_hash.hex()}",
            )
    first = work.first_digests[stream.pk, header.range]
    if not content.gaps and contract.contradicts(stream.ranges.committed, header.range, content.digest, first):
        return Refusal(QuarantineReason.CONFLICT, "the same numbers were committed before with other content")
    return None


def _accept(work: _Work, stream: LockedStream, batch: PreparedBatch, content: DecodedBatch) -> None:
    header, controller_id = content.header, batch.received.controller_id
    before, judgement = stream.ranges, contract.judge(stream.ranges, content.data_sequences, content.gap_sequences)
    stream.ranges = judgement.after
    stream.announced_next = max(stream.announced_next, header.range.last + 1)
    is_all_new = judgement.insert == content.data_sequences
    for columns in content.scans:
        new = columns if is_all_new else columns.select(judgement.insert)
        if len(new.sequences):
            layout = work.registry.layouts[LayoutKey(controller_id, header.manifest_hash, columns.layout)]
            work.rows.append(ScanRows(layout.meter_id, layout.layout_id, new))
    for gap in content.gaps:
        kept = RangeSet([gap.numbers]) & judgement.record_gaps
        work.gaps.extend(GapRow(stream, numbers, gap.gap) for numbers in kept)
    # A closed stream has gap records of the hub's own making, which give way to whatever comes.
    replaced = judgement.insert | judgement.record_gaps if stream.is_closed else judgement.replaced_gaps
    if replaced:
        work.replaced_gaps.append((stream, replaced))
    if not content.gaps and judgement.insert:
        work.digests.append(((stream.pk, header.range), content.digest))
        work.first_digests[stream.pk, header.range].add(content.digest)
    if batch.received.is_replay or before.quarantined & RangeSet([header.range]):
        work.released.append(batch)


def _write(connection: Connection, work: _Work, group: Sequence[PreparedBatch]) -> None:
    if work.rows:
        scan_rows.copy_scans(connection, work.rows)
        work.advanced = frozenset(scan_rows.update_latest(connection, work.rows))
        dirty.mark_scans(connection, [ScanSpan(rows.meter_id, rows.columns.observed_at_ms) for rows in work.rows])
    for stream, replaced in work.replaced_gaps:
        gap_records.trim_gap_records(connection, stream, replaced)
    if work.gaps:
        gap_records.add_gap_records(connection, work.gaps)
    if work.digests:
        digests.add_digests(connection, work.digests)
    if work.refused:
        outcome.add_to_quarantine(connection, work.refused)
    if work.released:
        outcome.release_from_quarantine(connection, work.released)
    if work.streams:
        streams.update_streams(connection, list(work.streams.values()))
    outcome.finish_attempts(connection, group)
    outcome.mark_seen(connection, (batch.received.controller_id for batch in group))


def _build_acks(incarnation: int, work: _Work) -> dict[str, Ack]:
    states: defaultdict[str, list[StreamState]] = defaultdict(list)
    for stream in work.streams.values():
        controller_id, stream_id = stream.key
        these = RangeSet(stream.touched)
        states[controller_id].append(
            StreamState(
                stream_id=stream_id,
                # Whole ranges that these batches lie in: an ack that was lost before is made good.
                committed=_clip(stream, contract.touching(stream.ranges.accounted, these), these),
                safe=_clip(stream, contract.touching(stream.safe, these), these),
                quarantined=_clip(stream, contract.touching(stream.ranges.quarantined, these), these),
            )
        )
    wanted: defaultdict[str, set[bytes]] = defaultdict(set)
    for batch in work.refused:
        if batch.header and batch.refusal and batch.refusal.reason is QuarantineReason.UNKNOWN_MANIFEST:
            wanted[batch.received.controller_id].add(batch.header.manifest_hash)
    return {
        controller_id: Ack(incarnation, tuple(named), wanted_manifests=tuple(sorted(wanted[controller_id])))
        for controller_id, named in states.items()
    }


def _clip(stream: LockedStream, known: RangeSet, these: RangeSet) -> RangeSet:
    """Leave out what the agent no longer holds; never the batches themselves, should it hold them after all."""
    return contract.clip(known, stream.lowest_held) | (known & these)


def _report(batch: PreparedBatch) -> None:
    refusal, header = batch.refusal, batch.header
    if refusal is None:
        return
    log.warning(
        "batch_quarantined",
        controller_id=batch.received.controller_id,
        reason=refusal.reason.value,
        detail=refusal.detail,
        numbers=None if header is None else f"{header.range.first}..{header.range.last}",
    )
    if refusal.reason is QuarantineReason.CONFLICT:
        log.error("batch_contradicts_committed", controller_id=batch.received.controller_id, is_security_event=True)

"""Scans to batch bytes and back: columns of integer differences in protobuf, then zlib.

Lossless: every float64 comes back as it went in. A column travels as decimal integers when all its
values are short decimals (as meters send them), else as raw float64.
"""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from google.protobuf.message import DecodeError

from protocol import limits
from protocol.errors import LimitExceeded, MalformedMessage, UnsupportedVersion
from protocol.identifiers import MANIFEST_HASH_BYTES, STREAM_ID_BYTES
from protocol.manifest import Manifest
from protocol.meterhaul_pb2 import Body, Envelope, GapGroup, Group
from protocol.quality import has_value, is_known_quality
from protocol.ranges import Range
from protocol.scans import Entry, Gap, GapReason, Scan

BATCH_VERSION = 1
DECIMALS_MAX = 9
RAW_COLUMN = 15
DECIMALS = frozenset([*range(DECIMALS_MAX + 1), RAW_COLUMN])
"""What a column may say of itself."""
_EXACT_INTEGER_MAX = 2**53
_ZLIB_LEVEL = 9


@dataclass(frozen=True, slots=True)
class BatchHeader:
    """What a batch says of itself outside the compression."""

    stream_id: bytes
    range: Range
    manifest_hash: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """A decoded batch: entries in the order of their sequence, without holes."""

    header: BatchHeader
    entries: tuple[Entry, ...]


def encode_batch(*, stream_id: bytes, manifest_hash: bytes, entries: Sequence[Entry]) -> bytes:
    """Encode entries with consecutive sequence numbers.

    All scans must belong to the manifest that `manifest_hash` names.
    Raises: ValueError for entries that are empty or have holes; LimitExceeded when the result is
    larger than a batch may be (send fewer entries).
    """
    first, count = _covered(entries)
    body = _build_body(first, entries).SerializeToString()
    if count > limits.SEQUENCES_PER_BATCH_MAX or len(body) > limits.BODY_BYTES_MAX:
        message = f"batch of {count} scans and {len(body)} bytes is above the limit: send fewer scans"
        raise LimitExceeded(message)
    payload = Envelope(
        version=BATCH_VERSION,
        stream_id=stream_id,
        first_sequence=first,
        count=count,
        manifest_hash=manifest_hash,
        body_size=len(body),
        body=zlib.compress(body, _ZLIB_LEVEL),
    ).SerializeToString()
    if len(payload) > limits.BATCH_BYTES_MAX:
        message = f"batch of {len(payload)} bytes is above {limits.BATCH_BYTES_MAX}: send fewer scans"
        raise LimitExceeded(message)
    return payload


def decode_envelope(payload: bytes) -> Envelope:
    """Parse and check everything outside the compression.

    Raises: LimitExceeded, MalformedMessage, UnsupportedVersion.
    """
    if len(payload) > limits.BATCH_BYTES_MAX:
        message = f"batch of {len(payload)} bytes is above {limits.BATCH_BYTES_MAX}"
        raise LimitExceeded(message)
    try:
        envelope = Envelope.FromString(payload)
    except DecodeError as error:
        message = "batch is not a protobuf envelope"
        raise MalformedMessage(message) from error
    if envelope.version != BATCH_VERSION:
        message = f"batch version {envelope.version} is not spoken here, only {BATCH_VERSION}"
        raise UnsupportedVersion(message)
    if len(envelope.stream_id) != STREAM_ID_BYTES or len(envelope.manifest_hash) != MANIFEST_HASH_BYTES:
        message = "batch names its stream or manifest with the wrong number of bytes"
        raise MalformedMessage(message)
    if not 1 <= envelope.count <= limits.SEQUENCES_PER_BATCH_MAX:
        message = f"batch covers {envelope.count} sequence numbers, not 1 to {limits.SEQUENCES_PER_BATCH_MAX}"
        raise LimitExceeded(message)
    if not 1 <= envelope.first_sequence <= limits.SEQUENCE_MAX - envelope.count:
        message = f"batch begins at the impossible sequence number {envelope.first_sequence}"
        raise MalformedMessage(message)
    if envelope.body_size > limits.BODY_BYTES_MAX:
        message = f"batch announces a body of {envelope.body_size} bytes, above {limits.BODY_BYTES_MAX}"
        raise LimitExceeded(message)
    return envelope


def header_of(envelope: Envelope) -> BatchHeader:
    """Return the checked envelope's header."""
    first = envelope.first_sequence
    return BatchHeader(envelope.stream_id, Range(first, first + envelope.count - 1), envelope.manifest_hash)


def decompress_body(envelope: Envelope) -> bytes:
    """Inflate a body, never beyond the size that its envelope announced.

    Raises: MalformedMessage.
    """
    inflater = zlib.decompressobj()
    try:
        body = inflater.decompress(envelope.body, envelope.body_size + 1)
    except zlib.error as error:
        message = f"batch body does not inflate: {error}"
        raise MalformedMessage(message) from error
    if len(body) != envelope.body_size or not inflater.eof or inflater.unused_data:
        message = f"batch body does not inflate to the {envelope.body_size} bytes that it announces"
        raise MalformedMessage(message)
    return body


def parse_body(body: bytes) -> Body:
    """Parse an inflated body.

    Raises: MalformedMessage.
    """
    try:
        return Body.FromString(body)
    except DecodeError as error:
        message = "batch body is not a protobuf message"
        raise MalformedMessage(message) from error


def decode_batch(payload: bytes, manifest: Manifest) -> Batch:
    """Decode a batch in plain Python; the hub has a faster way to the same result.

    Raises: LimitExceeded, MalformedMessage, UnsupportedVersion.
    """
    envelope = decode_envelope(payload)
    header = header_of(envelope)
    body = parse_body(decompress_body(envelope))
    first = header.range.first
    entries: list[Entry] = []
    for group in body.groups:
        if group.layout >= len(manifest.layouts):
            message = f"batch names layout {group.layout} of {len(manifest.layouts)}"
            raise MalformedMessage(message)
        entries.extend(_decode_group(group, len(manifest.layouts[group.layout].points), first, body.epoch_ms))
    for gaps in body.gaps:
        entries.extend(_decode_gaps(gaps, first, body.epoch_ms))
    entries.sort(key=lambda entry: entry.sequence)
    expected = first
    for entry in entries:
        if entry.sequence != expected:
            break
        expected = entry.last_sequence + 1
    if expected != header.range.last + 1 or not entries or entries[-1].last_sequence != header.range.last:
        message = f"batch does not cover the sequence numbers {first}..{header.range.last} once each"
        raise MalformedMessage(message)
    return Batch(header, tuple(entries))


def _covered(entries: Sequence[Entry]) -> tuple[int, int]:
    if not entries:
        message = "a batch holds at least one entry"
        raise ValueError(message)
    expected = entries[0].sequence
    for entry in entries:
        if entry.sequence != expected:
            message = f"sequence {entry.sequence} follows {expected - 1}: a batch has no holes"
            raise ValueError(message)
        expected = entry.last_sequence + 1
    return entries[0].sequence, expected - entries[0].sequence


def _build_body(first: int, entries: Sequence[Entry]) -> Body:
    by_layout: dict[int, list[tuple[int, Scan]]] = {}
    by_reason: dict[GapReason, list[tuple[int, Gap]]] = {}
    for entry in entries:
        offset, content = entry.sequence - first, entry.content
        if isinstance(content, Scan):
            by_layout.setdefault(content.layout, []).append((offset, content))
        else:
            by_reason.setdefault(content.reason, []).append((offset, content))
    epoch_ms = min((e.content.observed_at_ms for e in entries if isinstance(e.content, Scan)), default=0)
    if epoch_ms and any(gap.from_ms == gap.to_ms == epoch_ms for gaps in by_reason.values() for _, gap in gaps):
        epoch_ms -= 1  # a gap at the epoch itself would read as one of unknown times
    body = Body(epoch_ms=epoch_ms)
    for layout in sorted(by_layout):
        body.groups.append(_build_group(layout, by_layout[layout], epoch_ms))
    for reason in sorted(by_reason):
        gaps = by_reason[reason]
        body.gaps.append(
            GapGroup(
                reason=reason,
                offset=_second_differences([offset for offset, _ in gaps]),
                count=[gap.count for _, gap in gaps],
                from_ms=[_relative(gap.from_ms, gap, epoch_ms) for _, gap in gaps],
                to_ms=[_relative(gap.to_ms, gap, epoch_ms) for _, gap in gaps],
            )
        )
    return body


def _relative(at_ms: int, gap: Gap, epoch_ms: int) -> int:
    return at_ms - epoch_ms if gap.from_ms or gap.to_ms else 0


def _build_group(layout: int, scans: list[tuple[int, Scan]], epoch_ms: int) -> Group:
    group = Group(
        layout=layout,
        offset=_second_differences([offset for offset, _ in scans]),
        observed_at_ms=_second_differences([scan.observed_at_ms - epoch_ms for _, scan in scans]),
    )
    for column in zip(*(scan.values for _, scan in scans), strict=True):
        filled = _fill_missing(column)
        decimals, integers = _as_decimals(filled)
        group.decimals.append(decimals)
        if decimals == RAW_COLUMN:
            group.raw.extend(filled)
        else:
            group.scaled.extend(_differences(integers))
    if any(scan.quality is not None for _, scan in scans):
        points = range(len(scans[0][1].values))
        codes = (scan.quality_at(index) for index in points for _, scan in scans)
        group.quality.extend(number for run in _runs(codes) for number in run)
    return group


def _fill_missing(column: Sequence[float | None]) -> list[float]:
    """Put the last known value where none is, so that the column stays rectangular and cheap."""
    last = next((value for value in column if value is not None), 0.0)
    filled = []
    for value in column:
        if value is not None:
            last = value
        filled.append(last)
    return filled


def _as_decimals(column: list[float]) -> tuple[int, list[int]]:
    """Find the fewest decimals that keep every value exactly; (RAW_COLUMN, []) when there are none."""
    for decimals in range(DECIMALS_MAX + 1):
        power = 10**decimals
        integers = [round(value * power) for value in column]
        if max(integers) >= _EXACT_INTEGER_MAX or min(integers) <= -_EXACT_INTEGER_MAX:
            break
        if all(integer / power == value for integer, value in zip(integers, column, strict=True)):
            return decimals, integers
    return RAW_COLUMN, []


def _differences(numbers: Sequence[int]) -> list[int]:
    return [numbers[0], *(b - a for a, b in pairwise(numbers))]


def _second_differences(numbers: Sequence[int]) -> list[int]:
    first = _differences(numbers)
    return [first[0], *_differences(first[1:])] if len(first) > 1 else first


def _undo_second_differences(numbers: Sequence[int]) -> list[int]:
    return list(accumulate([*numbers[:1], *accumulate(numbers[1:])]))


def _runs(codes: Iterable[int]) -> Iterator[tuple[int, int]]:
    current, length = -1, 0
    for code in codes:
        if code == current:
            length += 1
            continue
        if length:
            yield length, current
        current, length = code, 1
    if length:
        yield length, current


def _expand_quality(group: Group, cells: int) -> list[int] | None:
    """Expand a group's quality runs to one code per cell, column after column; None when all are good.

    Raises: MalformedMessage.
    """
    if not group.quality:
        return None
    lengths, codes = group.quality[::2], group.quality[1::2]
    if len(lengths) != len(codes) or sum(lengths) != cells:
        message = f"batch has quality codes for {sum(lengths)} of {cells} values"
        raise MalformedMessage(message)
    if not all(is_known_quality(code) for code in codes):
        message = "batch uses a quality code that the contract does not define"
        raise MalformedMessage(message)
    return [code for length, code in zip(lengths, codes, strict=True) for _ in range(length)]


def _check_shape(group: Group, points: int) -> int:
    """Check that a group's arrays fit its layout of `points` points; return its number of scans.

    Raises: MalformedMessage.
    """
    scans = len(group.offset)
    decimals = list(group.decimals)
    raw_columns = decimals.count(RAW_COLUMN)
    fits = (
        scans >= 1
        and len(group.observed_at_ms) == scans
        and len(decimals) == points
        and DECIMALS.issuperset(decimals)
        and len(group.raw) == raw_columns * scans
        and len(group.scaled) == (points - raw_columns) * scans
    )
    if not fits:
        message = f"batch has a group whose columns do not fit its layout of {points} points"
        raise MalformedMessage(message)
    return scans


def check_observed_at(earliest_ms: int, latest_ms: int) -> None:
    """Refuse times that no controller can have meant.

    Raises: MalformedMessage.
    """
    if earliest_ms < limits.OBSERVED_AT_MS_MIN or latest_ms > limits.OBSERVED_AT_MS_MAX:
        message = "batch has a scan observed before the year 2000 or after 2100"
        raise MalformedMessage(message)


def _decode_group(group: Group, points: int, first: int, epoch_ms: int) -> Iterator[Entry]:
    scans = _check_shape(group, points)
    quality = _expand_quality(group, points * scans)
    times = [epoch_ms + t for t in _undo_second_differences(group.observed_at_ms)]
    check_observed_at(min(times), max(times))
    columns: list[list[float]] = []
    scaled_at = raw_at = 0
    for decimals in group.decimals:
        if decimals == RAW_COLUMN:
            columns.append(list(group.raw[raw_at : raw_at + scans]))
            raw_at += scans
        else:
            integers = accumulate(group.scaled[scaled_at : scaled_at + scans])
            columns.append([integer / 10**decimals for integer in integers])
            scaled_at += scans
    for i, offset in enumerate(_undo_second_differences(group.offset)):
        codes = None if quality is None else tuple(quality[p * scans + i] for p in range(points))
        values = tuple(column[i] if codes is None or has_value(codes[p]) else None for p, column in enumerate(columns))
        if codes is not None and not any(codes):
            codes = None
        yield Entry(first + offset, Scan(group.layout, times[i], values, codes))


def _decode_gaps(gaps: GapGroup, first: int, epoch_ms: int) -> Iterator[Entry]:
    for entry in decode_gaps(gaps, epoch_ms):
        yield Entry(first + entry.sequence, entry.content)


def decode_gaps(gaps: GapGroup, epoch_ms: int) -> list[Entry]:
    """Decode gap records; the entries' sequence is relative to the batch's first.

    Raises: MalformedMessage.
    """
    lengths = {len(gaps.offset), len(gaps.count), len(gaps.from_ms), len(gaps.to_ms)}
    if len(lengths) != 1 or lengths == {0} or not all(gaps.count):
        message = "batch has gap records whose columns do not fit together"
        raise MalformedMessage(message)
    try:
        reason = GapReason(gaps.reason)
    except ValueError as error:
        message = f"batch has a gap of the unknown reason {gaps.reason}"
        raise MalformedMessage(message) from error
    entries = []
    offsets = _undo_second_differences(gaps.offset)
    for offset, count, from_ms, to_ms in zip(offsets, gaps.count, gaps.from_ms, gaps.to_ms, strict=True):
        base = epoch_ms if from_ms or to_ms else 0
        entries.append(Entry(offset, Gap(count, reason, base + from_ms, base + to_ms)))
    return entries

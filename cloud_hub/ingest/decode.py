"""Batches to numpy columns: the same result as `protocol.codec.decode_batch`, without a Python step per value.

Which layouts a manifest has is the database's knowledge; `fits` compares the two later.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cloud_hub.ingest.packed import Int64s, PackedBody, PackedGroup, count_packed, parse_packed_body, unpack
from protocol import codec
from protocol.codec import DECIMALS_MAX, RAW_COLUMN, BatchHeader
from protocol.errors import MalformedMessage
from protocol.meterhaul_pb2 import Envelope
from protocol.quality import QUALITY_MAX, has_value, is_known_quality
from protocol.ranges import Range, RangeSet
from protocol.scans import Gap

DIGEST_BYTES = 16

_HAS_VALUE = np.array([has_value(code) for code in range(QUALITY_MAX + 1)])
_IS_KNOWN = np.array([is_known_quality(code) for code in range(QUALITY_MAX + 1)])
_POWERS = 10.0 ** np.arange(DECIMALS_MAX + 1)


@dataclass(frozen=True, slots=True)
class ScanColumns:
    """All scans of one layout in a batch."""

    layout: int
    """Index into the manifest's layouts."""
    sequences: Int64s
    observed_at_ms: Int64s
    values: NDArray[np.float64]
    """A row per scan, a column per point; NaN exactly where the quality carries no value."""
    quality: NDArray[np.int16] | None
    """In the shape of `values`; None when every value is good."""

    @property
    def points(self) -> int:
        """How many points a scan has."""
        return int(self.values.shape[1])

    def select(self, wanted: RangeSet) -> "ScanColumns":
        """Return the scans whose numbers are in `wanted`."""
        kept = np.zeros(len(self.sequences), dtype=bool)
        for first, last in wanted:
            kept |= (self.sequences >= first) & (self.sequences <= last)
        if kept.all():
            return self
        quality = None if self.quality is None else self.quality[kept]
        return ScanColumns(self.layout, self.sequences[kept], self.observed_at_ms[kept], self.values[kept], quality)


class DecodedGap(NamedTuple):
    """Numbers of a batch that carry no scan, and why."""

    numbers: Range
    gap: Gap


@dataclass(frozen=True, slots=True)
class DecodedBatch:
    """A batch whose entries cover its range once each."""

    header: BatchHeader
    scans: tuple[ScanColumns, ...]
    gaps: tuple[DecodedGap, ...]
    digest: bytes
    """Of what the batch says: the same for a batch that was compressed otherwise."""

    @property
    def gap_sequences(self) -> RangeSet:
        """The numbers that gap records stand for."""
        return RangeSet(gap.numbers for gap in self.gaps)

    @property
    def data_sequences(self) -> RangeSet:
        """The numbers that carry scans."""
        return RangeSet([self.header.range]) - self.gap_sequences


def digest_of(content: bytes) -> bytes:
    """Name a content by its hash."""
    return hashlib.sha256(content).digest()[:DIGEST_BYTES]


def decode(envelope: Envelope) -> DecodedBatch:
    """Decode the body of a checked envelope.

    Raises: MalformedMessage.
    """
    header = codec.header_of(envelope)
    inflated = codec.decompress_body(envelope)
    body = parse_packed_body(inflated)
    first = header.range.first
    scans = tuple(_decode_groups(body, first))
    gaps = _decode_gaps(body, first)
    _check_cover(header, scans, gaps)
    if scans:
        times = np.concatenate([columns.observed_at_ms for columns in scans])
        codec.check_observed_at(int(times.min()), int(times.max()))
    return DecodedBatch(header, scans, gaps, digest_of(header.manifest_hash + inflated))


def _decode_groups(body: PackedBody, first: int) -> Iterator[ScanColumns]:
    """Decode groups of equally many scans together: numpy's cost is per call more than per value."""
    alike: defaultdict[int, list[PackedGroup]] = defaultdict(list)
    for group in body.groups:
        alike[count_packed(group.offset)].append(group)
    for scans, groups in alike.items():
        yield from _decode_alike(groups, scans, first, body.epoch_ms)


def _decode_alike(groups: Sequence[PackedGroup], scans: int, first: int, epoch_ms: int) -> Iterator[ScanColumns]:
    runs = [group.offset for group in groups] + [group.observed_at_ms for group in groups]
    numbers, counts = unpack(runs + [group.scaled for group in groups])
    _check_shapes(groups, scans, counts)
    rows = numbers.reshape(-1, scans)
    instants = _undo_second_differences(rows[: len(runs)])
    sequences, times = instants[: len(groups)] + first, instants[len(groups) :] + epoch_ms
    columns = _decode_columns(groups, rows[len(runs) :].cumsum(axis=1))
    for n, group in enumerate(groups):
        points = len(group.decimals)
        values, columns = columns[:points].T, columns[points:]
        quality = _decode_quality(group, scans, points)
        if quality is not None:
            values[~_HAS_VALUE[quality]] = np.nan
        yield ScanColumns(group.layout, sequences[n], times[n], values, quality)


def _check_shapes(groups: Sequence[PackedGroup], scans: int, counts: Sequence[int]) -> None:
    """Check that the columns of groups fit together, as the plain decoder does.

    `counts` says how many numbers each group has as offsets, then as times, then as values.
    """
    for n, group in enumerate(groups):
        decimals = list(group.decimals)
        raw_columns = decimals.count(RAW_COLUMN)
        fits = (
            scans
            and decimals
            and codec.DECIMALS.issuperset(decimals)
            and counts[n] == counts[len(groups) + n] == scans
            and counts[2 * len(groups) + n] == (len(decimals) - raw_columns) * scans
            and len(group.raw) == raw_columns * scans
        )
        if not fits:
            raise MalformedMessage("batch has a group whose columns do not fit together")


def _decode_columns(groups: Sequence[PackedGroup], scaled: Int64s) -> NDArray[np.float64]:
    """Return a row per column of the groups, one after another."""
    decimals = np.array([place for group in groups for place in group.decimals])
    is_raw = decimals == RAW_COLUMN
    powers = _POWERS[decimals[~is_raw]][:, np.newaxis]
    if not is_raw.any():
        values: NDArray[np.float64] = scaled / powers
        return values
    columns = np.empty((len(decimals), scaled.shape[1]))
    columns[~is_raw] = scaled / powers
    columns[is_raw] = np.concatenate([np.array(group.raw) for group in groups]).reshape(-1, scaled.shape[1])
    if not np.isfinite(columns).all():
        raise MalformedMessage("batch has a value that is not a finite number")
    return columns


def _decode_quality(group: PackedGroup, scans: int, points: int) -> NDArray[np.int16] | None:
    if not group.quality:
        return None
    runs = np.fromiter(group.quality, np.int64, len(group.quality))
    lengths, codes = runs[::2], runs[1::2]
    if len(lengths) != len(codes) or int(lengths.sum()) != points * scans:
        raise MalformedMessage(f"batch has quality codes for {int(lengths.sum())} of {points * scans} values")
    if codes.max() > QUALITY_MAX or not _IS_KNOWN[codes].all():
        raise MalformedMessage("batch uses a quality code that the contract does not define")
    return np.repeat(codes.astype(np.int16), lengths).reshape(points, scans).T


def _decode_gaps(body: PackedBody, first: int) -> tuple[DecodedGap, ...]:
    entries = (entry for group in body.gaps for entry in codec.decode_gaps(group, body.epoch_ms))
    return tuple(
        DecodedGap(Range(first + entry.sequence, first + entry.last_sequence), entry.content)
        for entry in entries
        if isinstance(entry.content, Gap)
    )


def _check_cover(header: BatchHeader, scans: Sequence[ScanColumns], gaps: Sequence[DecodedGap]) -> None:
    size = sum(len(one.sequences) for one in scans) + sum(gap.numbers.size for gap in gaps)
    # Sizes first: a gap may claim four thousand million numbers.
    if size == header.range.size:
        parts = [one.sequences for one in scans]
        parts += [np.arange(gap.numbers.first, gap.numbers.last + 1) for gap in gaps]
        numbers = np.concatenate(parts)
        numbers.sort()
        if numbers[0] == header.range.first and numbers[-1] == header.range.last and (np.diff(numbers) == 1).all():
            return
    raise MalformedMessage(
        f"batch does not cover the sequence numbers {header.range.first}..{header.range.last} once each"
    )


def _undo_second_differences(rows: Int64s) -> Int64s:
    """Sum up each row twice; its first number and its first difference stand as they are."""
    rows[:, 1:] = rows[:, 1:].cumsum(axis=1)
    return rows.cumsum(axis=1)

"""The hub's side of the delivery contract, as sets of sequence numbers. Pure: no clock, no database.

Of every stream the database keeps three sets that share no number: `committed` (scans), `gaps` (the
agent's word that there is no scan) and `quarantined` (kept raw). Together they are what need not be
sent again. Nothing else decides what is a duplicate.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

from protocol.messages import Hello
from protocol.ranges import Range, RangeSet


@dataclass(frozen=True, slots=True)
class StreamRanges:
    """What the database knows of one stream's numbers."""

    committed: RangeSet = field(default_factory=RangeSet)
    gaps: RangeSet = field(default_factory=RangeSet)
    quarantined: RangeSet = field(default_factory=RangeSet)

    @property
    def accounted(self) -> RangeSet:
        """What an acknowledgement calls committed: scans, and gap records in their place."""
        return self.committed | self.gaps

    @property
    def held(self) -> RangeSet:
        """What need not be sent again."""
        return self.committed | self.gaps | self.quarantined


@dataclass(frozen=True, slots=True)
class Judgement:
    """What to do with one batch."""

    insert: RangeSet
    """Scans to insert: exactly those that the database does not hold."""
    record_gaps: RangeSet
    """Numbers to write gap records for."""
    replaced_gaps: RangeSet
    """Numbers whose gap records give way to real data."""
    after: StreamRanges
    """What the database knows once that is done, in the same transaction."""


def judge(stream: StreamRanges, data: RangeSet, gaps: RangeSet) -> Judgement:
    """Judge a batch with scans for `data` and gap records for `gaps` against a stream whose row is locked.

    Real data replaces a gap record. Both end a quarantine: a batch may hold both, and every number of
    it must be accounted for when it is replayed. What stays raw of other batches replaces the gap
    record when its turn comes.
    """
    insert = data - stream.committed
    record_gaps = gaps - stream.accounted - data
    after = StreamRanges(
        committed=stream.committed | data,
        gaps=(stream.gaps - data) | record_gaps,
        quarantined=stream.quarantined - data - gaps,
    )
    return Judgement(insert, record_gaps, stream.gaps & data, after)


def quarantine(stream: StreamRanges, refused: Range) -> StreamRanges:
    """Count a batch that is kept raw as held, so that its stream goes on."""
    kept = RangeSet([refused]) - stream.accounted
    return StreamRanges(stream.committed, stream.gaps, stream.quarantined | kept)


def contradicts(committed: RangeSet, data: Range, digest: bytes, first_digests: Collection[bytes]) -> bool:
    """Say whether a batch of scans says something else than what was committed for exactly its numbers.

    `first_digests` are those of the batches that were committed with the same first and last number.
    Batches with gap records must not be asked about: thinning changes a batch in all honesty.
    """
    return bool(first_digests) and digest not in first_digests and bool(committed & RangeSet([data]))


def next_incarnation(current: int, hello: Hello, held: dict[bytes, RangeSet]) -> int:
    """Return the incarnation to be in after a hello; a higher one says that the database went back in time.

    `held` is what the database holds per stream that the hello names (a missing one holds nothing).
    """
    if hello.incarnation > current:
        return hello.incarnation + 1
    if hello.incarnation == current and any(
        not held.get(stream.stream_id, RangeSet()).covers(stream.committed) for stream in hello.streams
    ):
        return current + 1
    return current


def never_arrived(stream: StreamRanges, announced_next: int, next_named: int = 1) -> RangeSet:
    """Return what an agent announced and no longer has.

    `next_named` is the next number of the stream as the agent names it now: below `announced_next` after
    an older copy of its buffer was put back, 1 for a stream that a complete hello leaves out. These
    numbers get gap records for people to see, but are not acknowledged: data that arrives after all is
    stored and replaces them.
    """
    announced = RangeSet([(next_named, announced_next - 1)] if announced_next > next_named else [])
    return announced - stream.held


def clip(ranges: RangeSet, lowest: int) -> RangeSet:
    """Leave out what lies below `lowest`."""
    return RangeSet((max(first, lowest), last) for first, last in ranges if last >= lowest)


def touching(ranges: RangeSet, these: RangeSet) -> RangeSet:
    """Return those whole ranges that hold a number of `these`."""
    return RangeSet(one for one in ranges if RangeSet([one]) & these)

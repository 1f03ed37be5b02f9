"""Everything that a buffer holds, in a form in which two of them compare."""

import asyncio
from dataclasses import dataclass, replace

from edge_agent.buffer.buffer import Buffer
from edge_agent.buffer.streams import StoredStream
from protocol.ranges import Range, RangeSet
from protocol.scans import Gap, Scan


@dataclass(frozen=True, slots=True)
class StreamAccount:
    """One stream: what stands at each of its numbers, beginning with 1."""

    numbers: tuple[Scan | Gap, ...]
    """A gap record of n numbers stands here n times, each with the count 1."""
    committed: RangeSet
    safe: RangeSet
    withheld: RangeSet
    manifest: bytes | None


@dataclass(frozen=True, slots=True)
class Account:
    """All streams in which something was recorded."""

    streams: dict[bytes, StreamAccount]
    incarnation: int


async def account_of(buffer: Buffer) -> Account:
    """Read everything.

    Raises: AssertionError when numbers have a hole or stand in disorder, or belief claims more than was recorded.
    """
    recorded = [stream for stream in await buffer.streams() if stream.next > 1]
    # Asked for together: a replay does this thousands of times.
    incarnation, accounts = await asyncio.gather(
        buffer.incarnation(), asyncio.gather(*(_account_of_stream(buffer, stream) for stream in recorded))
    )
    return Account(dict(zip((stream.stream_id for stream in recorded), accounts, strict=True)), incarnation)


async def _account_of_stream(buffer: Buffer, stream: StoredStream) -> StreamAccount:
    held, manifest = await asyncio.gather(
        buffer.read(stream.stream_id, Range(1, stream.next - 1)), buffer.manifest_body(stream.manifest_hash)
    )
    numbers: list[Scan | Gap] = []
    for entry in held.entries:
        assert entry.sequence == len(numbers) + 1, f"{entry} stands where {len(numbers) + 1} should"
        content = entry.content
        numbers += [content] if isinstance(content, Scan) else [replace(content, count=1)] * content.count
    assert len(numbers) == stream.next - 1
    for belief in (stream.committed, stream.safe):
        assert not belief or belief.ranges[-1].last < stream.next, f"{belief} of {stream.next - 1} numbers"
    return StreamAccount(tuple(numbers), stream.committed, stream.safe, stream.withheld, manifest)


def is_between(found: Account, before: Account, after: Account) -> bool:
    """Say whether each number stands as it did before or after, and none is missing; belief as before or after."""
    if found.streams.keys() != before.streams.keys():
        return False
    return all(
        _is_stream_between(stream, before.streams[stream_id], after.streams[stream_id])
        for stream_id, stream in found.streams.items()
    )


def _is_stream_between(found: StreamAccount, before: StreamAccount, after: StreamAccount) -> bool:
    if replace(found, numbers=()) not in (replace(before, numbers=()), replace(after, numbers=())):
        return False
    if not len(found.numbers) == len(before.numbers) == len(after.numbers):
        return False
    return all(content in choice for content, *choice in zip(found.numbers, before.numbers, after.numbers, strict=True))

"""From the buffer's rows to the bytes of a batch: as many scans as fit."""

import asyncio

from edge_agent.buffer.buffer import Buffer
from edge_agent.buffer.store import Slice
from protocol.codec import encode_batch
from protocol.errors import LimitExceeded
from protocol.ranges import Range

_LARGE_BATCH_ENTRIES = 60
"""Encoding this many scans holds a small processor for so long that polling would notice."""


class Packer:
    """Packs batches, and remembers how many scans fitted."""

    def __init__(self, buffer: Buffer, *, scans_per_batch: int) -> None:
        self._buffer = buffer
        self.fits = scans_per_batch
        """Scans that fit one batch, as far as we know."""

    async def pack(self, stream_id: bytes, wanted: Range) -> tuple[bytes, Range]:
        """Pack as much of a range, from its beginning, as fits one batch, and say which part that is.

        Raises: StorageUnavailable, BufferCorrupt; LimitExceeded for a single scan that no batch can hold.
        """
        wanted = Range(wanted.first, min(wanted.last, wanted.first + self.fits - 1))
        while True:
            piece = await self._buffer.read(stream_id, wanted)
            try:
                if len(piece.entries) < _LARGE_BATCH_ENTRIES:
                    return _encode(stream_id, piece), wanted
                return await asyncio.to_thread(_encode, stream_id, piece), wanted
            except LimitExceeded:
                if wanted.size == 1:
                    raise
                self.fits = wanted.size // 2
                wanted = Range(wanted.first, wanted.first + self.fits - 1)


def _encode(stream_id: bytes, piece: Slice) -> bytes:
    return encode_batch(stream_id=stream_id, manifest_hash=piece.manifest_hash, entries=piece.entries)

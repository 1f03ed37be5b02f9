"""The buffer as the rest of the agent sees it: scans on disk before anything else may see them.

One thread owns the one connection, so a slow card never blocks polling, and SQLite before 3.51.3
cannot damage a write-ahead log that two connections reset. Appends that wait together share a
transaction.
"""

import asyncio
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import structlog

from edge_agent.buffer import schema as buffer_schema
from edge_agent.buffer import stamping
from edge_agent.buffer.anchor import anchor_of, keep_anchor
from edge_agent.buffer.full_disk import DiskWatch
from edge_agent.buffer.held import HeldScan
from edge_agent.buffer.jobs import Job, answer, grouped
from edge_agent.buffer.salvage import salvage
from edge_agent.buffer.space import make_room, room_for
from edge_agent.buffer.stats import BufferStats, stats_of
from edge_agent.buffer.store import BufferStore, Slice, translated
from edge_agent.buffer.streams import StoredStream
from edge_agent.clock.clock import Anchor
from edge_agent.errors import StorageUnavailable
from protocol.manifest import Manifest
from protocol.ranges import Range, RangeSet
from protocol.scans import Gap, Scan

_ROOM_MADE_AT_ONCE = 64
"""Of the whole buffer, one part in so many is freed when it is full, so that it is not full at each scan."""

T = TypeVar("T")

log = structlog.get_logger()


class Buffer:
    """The agent's scans, on disk. Made by `edge_agent.buffer.opening`; every coroutine answers when the disk has."""

    def __init__(self, store: BufferStore, *, max_bytes: int, lock: int, is_in_memory: bool = False) -> None:
        if store.live is None:
            message = "a buffer needs a store whose stream has begun"
            raise ValueError(message)
        self.path = store.path
        self.stream_id = store.live.stream_id
        """The stream that grows: this run's, or the one since the site configuration changed."""
        self.manifest_hash = store.live.manifest_hash
        self.anchor = anchor_of(store)
        """What an earlier run of this boot knew of UTC; None when none did."""
        self._store = store
        self.is_in_memory = is_in_memory
        self._max_bytes = max_bytes
        self._room_bytes = room_for(max_bytes, buffer_schema.WAL_BYTES)
        self._disk = DiskWatch(store.path)
        self._disk.begin(store)
        self._lock = lock
        self._is_closed = False
        self._damage: str | None = None
        """What SQLite said of a damaged file that is not salvaged yet."""
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="buffer", daemon=True)
        self._thread.start()

    async def append(self, contents: Sequence[Scan | Gap]) -> Range:
        """Store scans and gap records under the next sequence numbers; on disk when it returns.

        Raises: BufferFull, StorageUnavailable (nothing of them is stored), BufferCorrupt; ValueError for no contents.
        """
        if not contents:
            message = "append() needs at least one scan or gap record"
            raise ValueError(message)
        stored: Range = await self._submit(lambda store: store.append([contents])[0], contents)
        return stored

    @property
    def held_for_clock(self) -> int:
        """How many scans wait for a trusted clock."""
        return sum(numbers.size for numbers in self.withheld.values())

    @property
    def withheld(self) -> dict[bytes, RangeSet]:
        """Which numbers of which streams cannot be sent yet, because their scans wait for a trusted clock."""
        streams = list(self._store.streams.values())
        return {stream.stream_id: stream.withheld for stream in streams if stream.withheld}

    async def hold(self, scans: Sequence[HeldScan]) -> Range:
        """Store scans whose time is not known yet under the next sequence numbers; on disk when it returns.

        Raises: BufferFull, StorageUnavailable (nothing of them is stored), BufferCorrupt.
        """
        stored: Range = await self._submit(lambda store: stamping.hold(store, scans), fills=True)
        return stored

    async def stamp_next(self, offset_ms: int) -> tuple[bytes, Range] | None:
        """Give the oldest scans that wait their time, some of them in one transaction.

        `offset_ms` is UTC minus monotonic time. Returns which numbers of which stream are done; None when none wait.
        Raises: BufferFull, StorageUnavailable, BufferCorrupt.
        """
        return await self._run(lambda store: stamping.stamp_next(store, offset_ms))

    async def keep_anchor(self, anchor: Anchor) -> None:
        """Keep what is known of UTC for later runs of this boot, and for a guess after the next.

        Raises: StorageUnavailable, BufferCorrupt.
        """
        await self._run(lambda store: keep_anchor(store, anchor))

    async def begin_stream(self, manifest: Manifest, *, started_at_ms: int) -> None:
        """Let scans of another manifest follow, in a stream of their own; on disk when it returns.

        The caller sees to it that no scan of the old manifest is appended or held from then on.
        Raises: BufferFull, StorageUnavailable (all is then as before), BufferCorrupt.
        """
        stream = await self._run(lambda store: store.begin_next_stream(manifest, started_at_ms))
        self.stream_id, self.manifest_hash = stream.stream_id, stream.manifest_hash

    async def read(self, stream_id: bytes, wanted: Range) -> Slice:
        """Read consecutive entries from `wanted.first`; what is no longer there is a gap record.

        The last one ends at `wanted.last`, or at the stream's end when that comes first.
        Raises: KeyError for an unknown stream, StorageUnavailable, BufferCorrupt.
        """
        return await self._run(lambda store: store.read(stream_id, wanted))

    async def streams(self) -> list[StoredStream]:
        """List all streams, oldest first; the last is the one of this run."""
        return await self._run(lambda store: [replace(stream) for stream in store.streams.values()])

    async def incarnation(self) -> int:
        """Return the highest incarnation of the hub's database that was ever recorded; 0 for none."""
        return await self._run(lambda store: store.incarnation)

    async def manifest_body(self, manifest_hash: bytes) -> bytes | None:
        """Return the canonical bytes of a manifest of any stream; None when it is not known here."""
        return await self._run(lambda store: store.manifest_body(manifest_hash))

    async def record_belief(self, incarnation: int, beliefs: Mapping[bytes, tuple[RangeSet, RangeSet]]) -> None:
        """Keep what the hub has of each stream: (committed, safe). It rules what may be deleted first.

        Raises: StorageUnavailable, BufferCorrupt.
        """
        await self._run(lambda store: store.record_belief(incarnation, beliefs))

    async def states(self, names: Sequence[str]) -> dict[str, int]:
        """Return numbers that outlive the process; 0 for those that were never kept.

        Raises: StorageUnavailable, BufferCorrupt.
        """
        return await self._run(lambda store: {name: store.get_state(name) for name in names})

    async def keep_states(self, states: Mapping[str, int]) -> None:
        """Keep numbers for the next run, together.

        Raises: StorageUnavailable, BufferCorrupt.
        """
        await self._run(lambda store: store.put_states(states))

    async def forget(self, stream_id: bytes, numbers: RangeSet) -> None:
        """Delete entries; their numbers stay used, and read as gap records of the reason `FORGOTTEN`.

        Raises: StorageUnavailable, BufferCorrupt.
        """
        await self._run(lambda store: store.forget(stream_id, numbers))

    async def make_room(self, target_bytes: int) -> bool:
        """Free pages until no more than `target_bytes` are in use; False when nothing is left to give up.

        Raises: StorageUnavailable, BufferCorrupt.
        """
        return await self._run(lambda store: make_room(store, target_bytes))

    async def stats(self) -> BufferStats:
        """Return how full it is."""
        return await self._run(lambda store: stats_of(store, max_bytes=self._max_bytes, is_in_memory=self.is_in_memory))

    async def close(self) -> None:
        """Finish what was asked for and close the file."""
        self._is_closed = True
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)
        os.close(self._lock)

    async def _run(self, do: Callable[[BufferStore], T]) -> T:
        result: T = await self._submit(do)
        return result

    async def _submit(
        self, do: Callable[[BufferStore], Any], contents: Sequence[Scan | Gap] | None = None, *, fills: bool = False
    ) -> Any:  # noqa: ANN401 - the callers name the type
        if self._is_closed:
            raise StorageUnavailable(f"the buffer {self.path} is closed")
        job = Job(do, asyncio.get_running_loop().create_future(), contents, fills or contents is not None)
        self._jobs.put(job)
        return await job.answer

    def _work(self) -> None:
        """Do what is asked until `None` comes; the thread's whole life."""
        going_on = True
        while going_on:
            waiting = [self._jobs.get()]
            while not self._jobs.empty():
                waiting.append(self._jobs.get())
            going_on = waiting[-1] is not None
            for jobs in grouped([job for job in waiting if job is not None]):
                self._do(jobs)
        self._store.connection.close()

    def _do(self, jobs: Sequence[Job]) -> None:
        """Do one job, or several appends in one transaction, and answer each."""
        try:
            contents = [job.contents for job in jobs if job.contents is not None]
            results = self._attempt(lambda store: store.append(contents) if contents else [jobs[0].do(store)])
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to whoever awaits the answer
            for job in jobs:
                answer(job.answer, error=error)
            return
        for job, result in zip(jobs, results, strict=True):
            answer(job.answer, result=result)
        if jobs[0].fills:
            self._keep_within_bounds()

    def _attempt(self, do: Callable[[BufferStore], list[Any]]) -> list[Any]:
        """Do it, once more after a damaged file was salvaged or pages were freed on a full disk."""
        try:
            self._mend()
            return do(self._store)
        except (sqlite3.Error, OSError) as error:
            if isinstance(error, sqlite3.Error) and buffer_schema.is_damage(error):
                self._damage = str(error)
            elif not (buffer_schema.is_full(error) and self._disk.find_room(self._store)):
                raise translated(error, self.path) from error
        try:
            self._mend()
            return do(self._store)
        except (sqlite3.Error, OSError) as error:
            raise translated(error, self.path) from error

    def _mend(self) -> None:
        """Salvage the file when it was found damaged; tried again each time until the disk takes the new one."""
        if self._damage is None:
            return
        # Closed first: the last connection to go deletes a write-ahead log by its name.
        self._store.connection.close()
        store = salvage(self.path, cause=self._damage, known=list(self._store.streams.values()))
        store.live = store.streams[self._store.live_stream.stream_id]
        store.newest_stamp_ms, store.guessed_offsets = self._store.newest_stamp_ms, self._store.guessed_offsets
        self._store, self._damage = store, None
        self._disk.begin(store)

    def _keep_within_bounds(self) -> None:
        try:
            self._disk.look_again(self._store)
            if self._store.used_bytes() > self._room_bytes:
                make_room(self._store, self._room_bytes - self._room_bytes // _ROOM_MADE_AT_ONCE)
        except sqlite3.Error as error:
            # The scans are stored; room is made after the next append, and damage is mended before it.
            if buffer_schema.is_damage(error):
                self._damage = str(error)
        except Exception:
            # The thread must live: without it nobody would ever be answered again.
            log.exception("buffer_room_failed")

"""The buffer as the rest of the agent sees it: scans on disk before anything else may see them.

One thread owns the one connection, so a slow card never blocks polling, and SQLite before 3.51.3
cannot damage a write-ahead log that two connections reset. Appends that wait together share a
transaction.
"""

import asyncio
import fcntl
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import structlog

from edge_agent import buffer_schema
from edge_agent.buffer_salvage import open_or_salvage, salvage
from edge_agent.buffer_space import make_room, room_for
from edge_agent.buffer_store import BufferStore, Slice, StoredStream, translated
from edge_agent.errors import AlreadyRunning, SettingsError, StorageUnavailable
from protocol.manifest import Manifest
from protocol.ranges import Range, RangeSet
from protocol.scans import Gap, Scan

__all__ = ["Buffer", "BufferStats", "Slice", "StoredStream", "open_buffer"]

MAX_BYTES_MIN = 2 * buffer_schema.WAL_BYTES
"""The smallest useful `max_bytes`: the write-ahead log takes half of it."""

_ROOM_MADE_AT_ONCE = 64
"""Of the whole buffer, one part in so many is freed when it is full, so that it is not full at each scan."""
_DISK_ROOM_MADE_AT_ONCE = 16

T = TypeVar("T")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class BufferStats:
    """How full the buffer is, for health and for people."""

    held: int
    """Sequence numbers from the lowest held to the newest of all streams."""
    uncommitted: int
    """Sequence numbers that the hub had not confirmed when belief was last recorded."""
    oldest_ms: int | None
    """When the oldest entry was observed, UTC ms; None when there is none."""
    oldest_uncommitted_ms: int | None
    file_bytes: int
    used_bytes: int
    max_bytes: int
    disk_free_bytes: int


@dataclass(slots=True)
class _Job:
    """Something for the buffer's thread to do, and the future that its caller awaits."""

    do: Callable[[BufferStore], Any]
    answer: asyncio.Future[Any]
    contents: Sequence[Scan | Gap] | None = None
    """Set for an append, which may share its transaction with the next ones."""


def open_buffer(path: Path, *, manifest: Manifest, boot_id: bytes, max_bytes: int, started_at_ms: int) -> "Buffer":
    """Open or create the buffer and begin the stream of this run; blocks on the disk.

    `max_bytes` bounds the file and its write-ahead log together.
    Raises: SettingsError, AlreadyRunning, StorageUnavailable, BufferCorrupt.
    """
    if max_bytes < MAX_BYTES_MIN:
        raise SettingsError(f"buffer.max_bytes: {max_bytes} is too small: give the buffer {MAX_BYTES_MIN} or more")
    lock = _lock(path)
    try:
        store = _begin_run(path, lambda store: store.begin_stream(manifest, boot_id, started_at_ms))
        buffer_schema.sync_directory(path.parent)
        return Buffer(store, max_bytes=max_bytes, lock=lock)
    except sqlite3.Error as error:
        os.close(lock)
        raise translated(error, path) from error
    except ValueError as error:
        os.close(lock)
        raise SettingsError(f"cannot use the buffer {path}: {error}") from error
    except BaseException:
        os.close(lock)
        raise


class Buffer:
    """The agent's scans, on disk. Made by `open_buffer`; every coroutine answers when the disk has."""

    def __init__(self, store: BufferStore, *, max_bytes: int, lock: int) -> None:
        if store.live is None:
            message = "a buffer needs a store whose stream has begun"
            raise ValueError(message)
        self.path = store.path
        self.stream_id = store.live.stream_id
        """The stream of this run."""
        self.manifest_hash = store.live.manifest_hash
        self._store = store
        self._max_bytes = max_bytes
        self._room_bytes = room_for(max_bytes, buffer_schema.WAL_BYTES)
        self._lock = lock
        self._is_closed = False
        self._damage: str | None = None
        """What SQLite said of a damaged file that is not salvaged yet."""
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
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
        return await self._run(self._stats)

    async def close(self) -> None:
        """Finish what was asked for and close the file."""
        self._is_closed = True
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)
        os.close(self._lock)

    async def _run(self, do: Callable[[BufferStore], T]) -> T:
        result: T = await self._submit(do)
        return result

    async def _submit(self, do: Callable[[BufferStore], Any], contents: Sequence[Scan | Gap] | None = None) -> Any:  # noqa: ANN401 - the two callers name the type
        if self._is_closed:
            raise StorageUnavailable(f"the buffer {self.path} is closed")
        job = _Job(do, asyncio.get_running_loop().create_future(), contents)
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
            for jobs in _grouped([job for job in waiting if job is not None]):
                self._do(jobs)
        self._store.connection.close()

    def _do(self, jobs: Sequence[_Job]) -> None:
        """Do one job, or several appends in one transaction, and answer each."""
        try:
            contents = [job.contents for job in jobs if job.contents is not None]
            results = self._attempt(lambda store: store.append(contents) if contents else [jobs[0].do(store)])
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to whoever awaits the answer
            for job in jobs:
                _answer(job.answer, error=error)
            return
        for job, result in zip(jobs, results, strict=True):
            _answer(job.answer, result=result)
        if contents:
            self._keep_within_bounds()

    def _attempt(self, do: Callable[[BufferStore], list[Any]]) -> list[Any]:
        """Do it, once more after a damaged file was salvaged or pages were freed on a full disk."""
        try:
            self._mend()
            return do(self._store)
        except sqlite3.Error as error:
            if buffer_schema.is_damage(error):
                self._damage = str(error)
            elif not (buffer_schema.is_full(error) and self._free_confirmed_pages()):
                raise translated(error, self.path) from error
        try:
            self._mend()
            return do(self._store)
        except sqlite3.Error as error:
            raise translated(error, self.path) from error

    def _mend(self) -> None:
        """Salvage the file when it was found damaged; tried again each time until the disk takes the new one."""
        if self._damage is None:
            return
        # Closed first: the last connection to go deletes a write-ahead log by its name.
        self._store.connection.close()
        store = salvage(self.path, cause=self._damage, known=list(self._store.streams.values()))
        store.live = store.streams[self.stream_id]
        self._store, self._damage = store, None

    def _free_confirmed_pages(self) -> bool:
        """Let the next rows use pages of scans that the hub has. Nothing unacknowledged goes for a full disk."""
        try:
            self._store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            used = self._store.used_bytes()
            return make_room(self._store, used - used // _DISK_ROOM_MADE_AT_ONCE, may_thin=False)
        except sqlite3.Error:
            return False

    def _keep_within_bounds(self) -> None:
        try:
            if self._store.used_bytes() > self._room_bytes:
                make_room(self._store, self._room_bytes - self._room_bytes // _ROOM_MADE_AT_ONCE)
        except sqlite3.Error as error:
            # The scans are stored; room is made after the next append, and damage is mended before it.
            if buffer_schema.is_damage(error):
                self._damage = str(error)
        except Exception:
            # The thread must live: without it nobody would ever be answered again.
            log.exception("buffer_room_failed")

    def _stats(self, store: BufferStore) -> BufferStats:
        streams = list(store.streams.values())
        times = [store.observed_at_ms(stream, stream.lowest_held) for stream in streams]
        waiting = [
            store.observed_at_ms(stream, stream.outstanding.ranges[0].first) for stream in streams if stream.outstanding
        ]
        disk = os.statvfs(self.path.parent)
        return BufferStats(
            held=sum(stream.next - stream.lowest_held for stream in streams),
            uncommitted=sum(stream.outstanding.size for stream in streams),
            oldest_ms=next((time for time in times if time), None),
            oldest_uncommitted_ms=next((time for time in waiting if time), None),
            file_bytes=self.path.stat().st_size,
            used_bytes=store.used_bytes(),
            max_bytes=self._max_bytes,
            disk_free_bytes=disk.f_bavail * disk.f_frsize,
        )


def _begin_run(path: Path, begin: Callable[[BufferStore], object]) -> BufferStore:
    """Open the file and begin this run's stream in it; damage that shows only then is salvaged too."""
    store = open_or_salvage(path)
    try:
        begin(store)
    except sqlite3.Error as error:
        store.connection.close()
        if not buffer_schema.is_damage(error):
            raise
        store = salvage(path, cause=str(error))
        begin(store)
    return store


def _grouped(jobs: Sequence[_Job]) -> list[list[_Job]]:
    """Put appends that follow each other together; everything else stays alone."""
    groups: list[list[_Job]] = []
    for job in jobs:
        if groups and job.contents is not None and groups[-1][-1].contents is not None:
            groups[-1].append(job)
        else:
            groups.append([job])
    return groups


def _answer(future: asyncio.Future[Any], *, result: object = None, error: Exception | None = None) -> None:
    def settle() -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    try:
        future.get_loop().call_soon_threadsafe(settle)
    except RuntimeError:
        # The loop was closed while the disk was busy: nobody waits any more.
        return


def _lock(path: Path) -> int:
    """Claim the buffer for this process.

    Raises: SettingsError, AlreadyRunning.
    """
    lock_path = path.with_name(f"{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not the buffer itself: closing any descriptor of that would drop SQLite's own locks on it.
        descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SettingsError(
            f"data_dir: cannot write {lock_path} ({error.strerror}): give the agent a directory that it may write to"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise AlreadyRunning(
            f"another agent is using {path.parent}: stop it first, or give this one another data_dir"
        ) from error
    return descriptor

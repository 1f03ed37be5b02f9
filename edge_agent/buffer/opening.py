"""How the buffer of a run is opened: claimed for this process, salvaged when damaged, its stream begun."""

import errno
import fcntl
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from edge_agent.buffer import schema as buffer_schema
from edge_agent.buffer.buffer import Buffer
from edge_agent.buffer.refuge import Refuge
from edge_agent.buffer.reserve import Reserve
from edge_agent.buffer.salvage import open_or_salvage, salvage
from edge_agent.buffer.store import BufferStore, translated
from edge_agent.errors import AlreadyRunning, SettingsError
from protocol.manifest import Manifest

MAX_BYTES_MIN = 2 * buffer_schema.WAL_BYTES
"""The smallest useful `max_bytes`: the write-ahead log takes half of it."""


def open_buffer(
    path: Path,
    *,
    manifest: Manifest,
    boot_id: bytes,
    max_bytes: int,
    started_at_ms: int,
    refuge: Refuge | None = None,
    is_in_memory: bool = False,
) -> Buffer:
    """Open or create the buffer and begin the stream of this run; blocks on the disk.

    `max_bytes` bounds the file and its write-ahead log together. What lies in `refuge` is brought here first.
    Raises: SettingsError, AlreadyRunning, StorageUnavailable, BufferCorrupt.
    """
    if max_bytes < MAX_BYTES_MIN:
        raise SettingsError(f"buffer.max_bytes: {max_bytes} is too small: give the buffer {MAX_BYTES_MIN} or more")
    lock = _lock(path)
    try:
        if refuge is not None:
            refuge.bring_home(path)
        store = _begin_run(path, lambda store: store.begin_stream(manifest, boot_id, started_at_ms))
        buffer_schema.sync_directory(path.parent)
        return Buffer(store, max_bytes=max_bytes, lock=lock, is_in_memory=is_in_memory)
    except (sqlite3.Error, OSError) as error:
        os.close(lock)
        raise translated(error, path) from error
    except ValueError as error:
        os.close(lock)
        raise SettingsError(f"cannot use the buffer {path}: {error}") from error
    except BaseException:
        os.close(lock)
        raise


def _begin_run(path: Path, begin: Callable[[BufferStore], object]) -> BufferStore:
    """Open the file and begin this run's stream in it, on a full disk with the help of the reserve."""
    try:
        return _open_and_begin(path, begin)
    except (sqlite3.Error, OSError):
        if not Reserve(path).release():
            raise
    return _open_and_begin(path, begin)


def _open_and_begin(path: Path, begin: Callable[[BufferStore], object]) -> BufferStore:
    """Open and begin; damage that shows only then is salvaged too."""
    store = open_or_salvage(path)
    try:
        begin(store)
    except sqlite3.Error as error:
        store.connection.close()
        if not buffer_schema.is_damage_at_start(error):
            raise
        store = salvage(path, cause=str(error))
        begin(store)
    return store


def _lock(path: Path) -> int:
    """Claim the buffer for this process.

    Raises: SettingsError, AlreadyRunning, StorageUnavailable.
    """
    lock_path = path.with_name(f"{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not the buffer itself: closing any descriptor of that would drop SQLite's own locks on it.
        descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno in (errno.EROFS, errno.EIO, errno.ENOSPC):
            raise translated(error, path) from error
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

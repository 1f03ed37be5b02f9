"""The buffer's file: how it is opened, laid out and migrated.

`entries` is keyed by one whole number, the stream's small number above the scan's sequence number:
SQLite then appends to full pages and needs no second index. Measured at 6 scans of 20 readings per
transaction: pages of 1 KiB write 62 B a reading where 4 KiB write 85 B, because the write-ahead log
takes a page for every page touched.
"""

import errno
import os
import sqlite3
from pathlib import Path

PAGE_BYTES = 1024
WAL_PAGES = 1024
"""Pages in the write-ahead log before they are copied into the file: 1 MiB."""
WAL_BYTES = PAGE_BYTES * WAL_PAGES
CACHE_KIB = 256
"""Pages kept in memory: appends need the newest few; the default of 2 MB is memory that a controller misses."""
SEQUENCE_BITS = 40
"""Room for 2^40 scans of a run and 2^23 runs."""
SCHEMA_VERSION = 2

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_IOERR_READ = sqlite3.SQLITE_IOERR_READ
_FULL = frozenset({sqlite3.SQLITE_FULL})
_PRIMARY_CODE = 0xFF


class FileDamaged(sqlite3.DatabaseError):
    """The file holds what was never written to it, though SQLite can read it."""


def position_of(stream_number: int, sequence: int) -> int:
    """Return the key of an entry."""
    return stream_number << SEQUENCE_BITS | sequence


def sequence_of(position: int) -> int:
    """Return the sequence number within a key."""
    return position & (1 << SEQUENCE_BITS) - 1


def connect(path: Path) -> sqlite3.Connection:
    """Open the file for the one thread that writes it, durable to the last commit.

    Raises: sqlite3.Error.
    """
    # The thread that opens it hands it on to the buffer's own thread, and never touches it again.
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
        migrate(connection)
        # Text is only ever parsed, and of a damaged file it may be none.
        connection.text_factory = bytes
    except BaseException:
        connection.close()
        raise
    return connection


def migrate(connection: sqlite3.Connection) -> None:
    """Bring an older or an empty file to the present schema.

    Raises: sqlite3.Error; ValueError for a file of a newer release.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > SCHEMA_VERSION:
        message = f"its schema is {version}, this release knows {SCHEMA_VERSION}: install the newer release again"
        raise ValueError(message)
    if version == SCHEMA_VERSION:
        return
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        if version < 1:
            _create(connection)
        _add_held(connection)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def is_damage(error: sqlite3.Error) -> bool:
    """Say whether the file itself is broken, or its card gives parts of it no more."""
    return isinstance(error, FileDamaged) or _code(error) in _DAMAGED or _extended_code(error) == _IOERR_READ


def is_damage_at_start(error: sqlite3.Error) -> bool:
    """Say likewise of an error met while a file is opened: a schema that our statements do not fit is damage too."""
    return is_damage(error) or _code(error) == sqlite3.SQLITE_ERROR


def is_full(error: sqlite3.Error | OSError) -> bool:
    """Say whether there is no room left on the disk."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return _code(error) in _FULL


def sync_directory(directory: Path) -> None:
    """Make new and renamed files in a directory survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _code(error: sqlite3.Error) -> int:
    return _extended_code(error) & _PRIMARY_CODE


def _extended_code(error: sqlite3.Error) -> int:
    # Absent on errors that Python's own module raises.
    return int(getattr(error, "sqlite_errorcode", 0))


def _create(connection: sqlite3.Connection) -> None:
    # Only a new file needs the library, so a running agent does not carry it in memory.
    from sqlite_utils import Database  # noqa: PLC0415

    database = Database(connection)
    database.table("entries").create(
        {"position": int, "layout": int, "observed_at_ms": int, "body": bytes},
        pk="position",
        not_null={"observed_at_ms", "body"},
    )
    run = {"number": int, "stream_id": bytes, "manifest_hash": bytes, "boot_id": bytes, "started_at_ms": int}
    database.table("streams").create(
        {**run, "next": int, "committed": str, "safe": str}, pk="number", not_null={*run, "next", "committed", "safe"}
    )
    # Without its stream's name a scan cannot be delivered, so what never changes is kept on a second page.
    database.table("stream_copies").create(run, pk="number", not_null=set(run))
    database.table("manifests").create({"hash": bytes, "body": bytes}, pk="hash", not_null={"body"})
    database.table("state").create({"name": str, "value": int}, pk="name", not_null={"value"})


def _add_held(connection: sqlite3.Connection) -> None:
    """Add version 2: scans that wait for the clock. Plain, because a running agent migrates without the library."""
    connection.execute(
        "CREATE TABLE held (position INTEGER PRIMARY KEY, layout INTEGER, monotonic_ms INTEGER NOT NULL,"
        " body BLOB NOT NULL, wall_ms INTEGER NOT NULL)"
    )

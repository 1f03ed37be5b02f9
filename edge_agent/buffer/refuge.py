"""A buffer in memory for the time in which the disk takes nothing, and the way back from it.

A card that is worn out turns read-only and stays so over restarts. Without a refuge such a site would go
dark until somebody brings a new card; with it readings are delivered as ever, and only a power cut loses
those that are not delivered yet. The next start that finds a working disk brings what is left there.
"""

import hashlib
import os
import shutil
import sqlite3
import stat
from contextlib import suppress
from pathlib import Path

import structlog

from edge_agent.buffer.salvage import open_or_salvage
from edge_agent.buffer.schema import SEQUENCE_BITS
from edge_agent.buffer.store import BufferStore
from edge_agent.errors import StorageUnavailable

MAX_BYTES = 16 * 2**20
"""Days of scans of a usual site, and memory that a controller can miss."""
_MEMORY = Path("/dev/shm")  # noqa: S108 - a directory of our own is made in it, and checked

_RUN = "stream_id, manifest_hash, boot_id, started_at_ms"

log = structlog.get_logger()


class Refuge:
    """A directory in memory that belongs to one data directory and one user."""

    def __init__(self, data_dir: Path, memory: Path = _MEMORY) -> None:
        name = hashlib.sha256(bytes(data_dir.absolute())).hexdigest()[:16]
        self.directory = memory / f"meterhaul-{os.getuid()}-{name}"
        self.path = self.directory / "buffer.sqlite3"

    def prepare(self) -> Path:
        """Make the directory and return the path of the buffer in it.

        Raises: StorageUnavailable where there is none, or somebody else made it first.
        """
        try:
            self.directory.mkdir(mode=0o700, exist_ok=True)
            found = self.directory.lstat()
        except OSError as error:
            raise StorageUnavailable(f"no memory for the buffer at {self.directory} ({error.strerror})") from error
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise StorageUnavailable(f"{self.directory} is not ours alone: remove it")
        return self.path

    def leave(self) -> None:
        """Remove it."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def bring_home(self, path: Path) -> None:
        """Bring the streams that are still here into the buffer on disk, and leave.

        Streams keep their ids and scans their numbers. Cut short, it is done again: a stream that is there
        already is not brought twice. Raises: StorageUnavailable; all then stays where it is.
        """
        if not self.path.exists():
            return
        try:
            self.prepare()
            open_or_salvage(self.path).connection.close()
            home = open_or_salvage(path)
            try:
                streams, rows = _bring(home, self.path)
            finally:
                home.connection.close()
        except (sqlite3.Error, OSError, ValueError) as error:
            raise StorageUnavailable(f"the scans in {self.path} cannot be brought to {path}: {error}") from error
        log.info("buffer_back_on_disk", streams=streams, rows=rows)
        self.leave()


def is_writable(directory: Path) -> bool:
    """Say whether a file of this directory would survive: made, filled and synced."""
    probe = directory / ".probe"
    try:
        with probe.open("wb", buffering=0) as file:
            file.write(b"\0" * 4096)
            os.fsync(file.fileno())
    except OSError:
        return False
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)
    return True


def _bring(home: BufferStore, refuge: Path) -> tuple[int, int]:
    """Copy what home does not know yet, in one transaction; return how many streams and rows that was."""
    connection = home.connection
    connection.execute("ATTACH ? AS refuge", (str(refuge),))
    rows = 0
    with home.transaction():
        connection.execute("INSERT OR IGNORE INTO main.manifests SELECT * FROM refuge.manifests")
        runs = connection.execute("SELECT number, stream_id FROM refuge.streams ORDER BY number").fetchall()
        new = [(number, stream_id) for number, stream_id in runs if stream_id not in home.streams]
        highest = max((stream.number for stream in home.streams.values()), default=0)
        for place, (number, _) in enumerate(new, start=1):
            rows += _bring_stream(connection, number, highest + place)
    return len(new), rows


def _bring_stream(connection: sqlite3.Connection, before: int, after: int) -> int:
    for table, kept in (("streams", f"{_RUN}, next, committed, safe"), ("stream_copies", _RUN)):
        connection.execute(
            f"INSERT INTO main.{table} (number, {kept}) SELECT ?, {kept} FROM refuge.{table} WHERE number = ?",  # noqa: S608 - names of our own schema
            (after, before),
        )
    low, high, by = before << SEQUENCE_BITS, before + 1 << SEQUENCE_BITS, after - before << SEQUENCE_BITS
    rows = 0
    for table, kept in (
        ("entries", "layout, observed_at_ms, body"),
        ("held", "layout, monotonic_ms, body, wall_ms"),
    ):
        rows += connection.execute(
            f"INSERT INTO main.{table} (position, {kept})"  # noqa: S608 - names of our own schema
            f" SELECT position + ?, {kept} FROM refuge.{table} WHERE position >= ? AND position < ?",
            (by, low, high),
        ).rowcount
    return rows

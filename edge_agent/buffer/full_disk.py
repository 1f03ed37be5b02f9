"""What the buffer does while its disk is full."""

import sqlite3
from pathlib import Path

from edge_agent.buffer.reserve import Reserve
from edge_agent.buffer.space import make_room
from edge_agent.buffer.store import BufferStore

_ROOM_MADE_AT_ONCE = 16
"""Of all that is held, one part in so many is freed at a time."""


class DiskWatch:
    """Keeps the file from growing into the last room of its disk."""

    def __init__(self, buffer_path: Path) -> None:
        self._reserve = Reserve(buffer_path)
        self._is_growth_limited = False

    def begin(self, store: BufferStore) -> None:
        """Let a file that was just opened grow while the disk has a reserve, and else as far as one stays free.

        Raises: sqlite3.Error, OSError.
        """
        self._is_growth_limited = not self._reserve.take()
        store.limit_growth(self._reserve.pages_to_grow() if self._is_growth_limited else None)

    def look_again(self, store: BufferStore) -> bool:
        """Let the file grow again when the disk has room; say whether that is news.

        Raises: sqlite3.Error, OSError.
        """
        if self._is_growth_limited:
            self.begin(store)
            return not self._is_growth_limited
        return False

    def find_room(self, store: BufferStore) -> bool:
        """Let the next rows use pages of scans that the hub has. Nothing unacknowledged goes for a full disk."""
        try:
            if self.look_again(store):
                return True
            self._reserve.release()
            # Not truncated: a log that keeps its size needs no room any more.
            store.connection.execute("PRAGMA wal_checkpoint(RESTART)")
            self.begin(store)
            used = store.used_bytes()
            return make_room(store, used - used // _ROOM_MADE_AT_ONCE, may_thin=False)
        except (sqlite3.Error, OSError):
            return False

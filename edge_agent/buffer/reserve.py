"""Room on the disk that is kept for the day on which the disk is full.

A write-ahead log can only be emptied into a file that may grow. On a disk that is full to the last byte
it cannot, and then not even deleting scans makes room; the reserve is what gets it going again.
"""

import os
from contextlib import suppress
from pathlib import Path

from edge_agent.buffer.schema import PAGE_BYTES, WAL_BYTES

RESERVE_BYTES = WAL_BYTES + WAL_BYTES // 4
"""What emptying a full write-ahead log may take, and some for names and tables of the disk."""


class Reserve:
    """A file beside the buffer that holds nothing."""

    def __init__(self, buffer_path: Path) -> None:
        self._path = buffer_path.with_name(f"{buffer_path.name}.reserve")

    def take(self) -> bool:
        """Claim the room; False when the disk has no more than that, or refuses."""
        if self._size() >= RESERVE_BYTES:
            return True
        if self._free_bytes() < 2 * RESERVE_BYTES:
            return False
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
            finally:
                os.close(descriptor)
        except OSError:
            self.release()
            return False
        return True

    def release(self) -> bool:
        """Give the room back to the disk; False when there was none or the disk refuses."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True

    def pages_to_grow(self) -> int:
        """Return by how many pages the buffer's file may grow while the reserve is not to be had."""
        return max(0, self._free_bytes() - RESERVE_BYTES) // PAGE_BYTES

    def _size(self) -> int:
        with suppress(OSError):
            return self._path.stat().st_size
        return 0

    def _free_bytes(self) -> int:
        disk = os.statvfs(self._path.parent)
        return disk.f_bavail * disk.f_frsize

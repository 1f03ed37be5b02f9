"""What a program does to a directory, one deed at a time."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol


class Kind(StrEnum):
    """The deeds that change what a power cut leaves behind."""

    OPEN = "open"
    """Opens a file that is there: changes nothing, but may be refused."""
    CREATE = "create"
    WRITE = "write"
    TRUNCATE = "truncate"
    SYNC = "sync"
    UNLINK = "unlink"
    RENAME = "rename"
    SYNC_DIRECTORY = "sync_directory"
    MAP_SHARED = "map_shared"
    """Enlarges the shared memory beside a write-ahead log; its content never outlives a power cut."""


@dataclass(frozen=True, slots=True)
class Deed:
    """One deed."""

    kind: Kind
    path: Path
    offset: int = 0
    """Of a write."""
    data: bytes = b""
    """Of a write."""
    size: int = 0
    """Of a truncation."""
    target: Path = Path()
    """Of a rename."""


class Observer(Protocol):
    """Sees every deed, and may refuse it."""

    def refuses(self, deed: Deed) -> int | None:
        """Return the errno with which the disk refuses the deed; None lets it be done."""

    def done(self, deed: Deed) -> None:
        """Note that the deed was done."""

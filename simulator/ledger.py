"""What the meters served, written by the meters themselves: one JSON object per line, only ever appended."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ServedFrame:
    """The values of one meter at one instant, as a client that reads them right must decode them."""

    meter: str
    serial: int
    """1, 2, 3, … per meter, over all runs that used this ledger; served as the point `scan_serial`."""
    served_at_ms: int
    """UTC milliseconds since 1970."""
    values: Mapping[str, float]
    """By point name; absent where the meter said that it has no value."""
    answered: bool = True
    """Whether the answer to the request that opened the frame was sent in time and unharmed."""
    fault: str | None = None
    """The scripted fault that this request met, an unharmed but slow answer included."""
    client: str = ""
    """Who asked: the address and port of the connection."""


class Ledger:
    """Appends frames; a line is with the operating system before the meter answers."""

    def __init__(self, path: Path | None) -> None:
        """Open the ledger, or keep only the serials when `path` is None.

        A line that a killed run left unfinished is cut off: its frame was never answered.
        Raises: OSError.
        """
        self._serials: Counter[str] = Counter()
        self.first_served_at_ms: int | None = None
        self._file: int | None = None
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        _cut_torn_line(path)
        for frame in read_ledger(path):
            self._serials[frame.meter] = frame.serial
            self.first_served_at_ms = self.first_served_at_ms or frame.served_at_ms
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    @property
    def is_kept(self) -> bool:
        """Say whether frames are written, rather than only numbered."""
        return self._file is not None

    def last_serial(self, meter: str) -> int:
        """Return the serial of the meter's newest frame; 0 when it has none."""
        return self._serials[meter]

    def append(self, frame: ServedFrame) -> None:
        """Write one frame; returns when the operating system has it."""
        self._serials[frame.meter] = frame.serial
        if self._file is not None:
            os.write(self._file, json.dumps(asdict(frame), separators=(",", ":")).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def read_ledger(path: Path) -> Iterator[ServedFrame]:
    """Read a ledger from its beginning, also while it is written; an unfinished last line is left out.

    A ledger that does not exist yet is empty.
    """
    yield from LedgerReader(path).read_on()


class LedgerReader:
    """Reads a ledger bit by bit while it grows."""

    def __init__(self, path: Path) -> None:
        """Begin at the ledger's beginning."""
        self._path = path
        self._offset = 0

    def read_on(self) -> Iterator[ServedFrame]:
        """Read what has come since the last time; an unfinished last line waits for the next."""
        if not self._path.exists():
            return
        with self._path.open("rb") as lines:
            lines.seek(self._offset)
            for line in lines:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                yield ServedFrame(**json.loads(line))


def _cut_torn_line(path: Path) -> None:
    if not path.exists():
        return
    with path.open("r+b") as file:
        whole = 0
        for line in file:
            if line.endswith(b"\n"):
                whole += len(line)
        file.truncate(whole)

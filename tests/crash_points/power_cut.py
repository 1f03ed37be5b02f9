"""What a power cut can leave of a directory whose deeds were recorded.

Synced is there. Of what was written to a file after its last sync, any pieces of a sector may be there,
so also older ones over which a newer was lost; of names changed after the directory's last sync, any.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crash_points.disk_deeds import Deed, Kind

SECTOR_BYTES = 512
"""A sector is written whole or not at all: what cards and disks promise, and SQLite relies on."""

Contents = dict[str, bytes]
"""Files of a directory, by name."""


@dataclass(slots=True)
class _File:
    synced: bytearray
    pending: list[Deed] = field(default_factory=list)

    def after_cut(self, rng: random.Random, kept: float) -> bytes:
        """Return its bytes when of each pending piece the share `kept` arrived."""
        content = bytearray(self.synced)
        for deed in self.pending:
            if kept >= 1 or rng.random() < kept:
                _apply(content, deed)
        return bytes(content)


@dataclass(slots=True)
class _Naming:
    """A name that appears, goes, or both."""

    gone: str | None
    new: str | None
    file: _File | None


class PowerCut:
    """A directory at some point of its recording."""

    def __init__(self, initial: Mapping[str, bytes]) -> None:
        self._synced_names = {name: _File(bytearray(content)) for name, content in initial.items()}
        self._names = dict(self._synced_names)
        self._namings: list[_Naming] = []

    def do(self, deed: Deed) -> None:
        """Go on by one deed."""
        name = deed.path.name
        match deed.kind:
            case Kind.CREATE:
                self._rename(_Naming(None, name, _File(bytearray())))
            case Kind.WRITE | Kind.TRUNCATE:
                self._names[name].pending += _pieces(deed)
            case Kind.SYNC:
                file = self._names[name]
                for piece in file.pending:
                    _apply(file.synced, piece)
                file.pending.clear()
            case Kind.UNLINK:
                self._rename(_Naming(name, None, None))
            case Kind.RENAME:
                self._rename(_Naming(name, deed.target.name, self._names[name]))
            case Kind.SYNC_DIRECTORY:
                self._synced_names = dict(self._names)
                self._namings.clear()

    @property
    def is_certain(self) -> bool:
        """Say whether nothing is pending, so that a cut can leave one state only."""
        return not self._namings and not any(file.pending for file in self._names.values())

    def states(self, seed: str, random_states: int) -> list[Contents]:
        """List what a cut now may leave: nothing that was pending, all of it, and so many random parts of it."""
        if self.is_certain:
            return [self._state(random.Random(seed), 1.0)]
        shares = [0.0, 1.0, *(random.Random(f"{seed} {n}").choice((0.2, 0.5, 0.8, 0.95)) for n in range(random_states))]
        return [self._state(random.Random(f"{seed} {n}"), share) for n, share in enumerate(shares)]

    def _state(self, rng: random.Random, kept: float) -> Contents:
        names = dict(self._synced_names)
        for naming in self._namings:
            if kept >= 1 or rng.random() < kept:
                _rename(names, naming)
        # Files by their content, not by their name: a file of two names may have been renamed half.
        return {name: file.after_cut(rng, kept) for name, file in names.items()}

    def _rename(self, naming: _Naming) -> None:
        _rename(self._names, naming)
        self._namings.append(naming)


def lay_out(contents: Mapping[str, bytes], directory: Path) -> None:
    """Make a directory with these files."""
    directory.mkdir()
    for name, content in contents.items():
        (directory / name).write_bytes(content)


def read_directory(directory: Path, *, without: Sequence[str] = ("-shm", ".lock")) -> Contents:
    """Return a directory's files, but for those whose content is worth nothing after a restart."""
    return {
        path.name: path.read_bytes() for path in sorted(directory.iterdir()) if not path.name.endswith(tuple(without))
    }


def _rename(names: dict[str, _File], naming: _Naming) -> None:
    if naming.gone is not None:
        names.pop(naming.gone, None)
    if naming.new is not None and naming.file is not None:
        names[naming.new] = naming.file


def _pieces(deed: Deed) -> list[Deed]:
    """Cut a write where the sectors of the disk end."""
    if deed.kind is Kind.TRUNCATE:
        return [deed]
    pieces = []
    at, end = deed.offset, deed.offset + len(deed.data)
    while at < end:
        upto = min(end, (at // SECTOR_BYTES + 1) * SECTOR_BYTES)
        pieces.append(Deed(Kind.WRITE, deed.path, at, deed.data[at - deed.offset : upto - deed.offset]))
        at = upto
    return pieces


def _apply(content: bytearray, deed: Deed) -> None:
    if deed.kind is Kind.TRUNCATE:
        if deed.size < len(content):
            del content[deed.size :]
        else:
            content.extend(bytes(deed.size - len(content)))
        return
    if len(content) < deed.offset:
        content.extend(bytes(deed.offset - len(content)))
    content[deed.offset : deed.offset + len(deed.data)] = deed.data

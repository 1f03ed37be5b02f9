"""Where archived files lie: any place that fsspec reaches. A file is there whole and verified, or not at all.

A file's name is the checksum of its bytes, so that what is archived again is no second file, what came late is another
one beside it, and nothing is ever replaced. `<url>/<kind>/organisation=<slug>/month=<YYYY-MM>/<checksum>.parquet`
is a layout that query engines know.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any, BinaryIO, cast
from uuid import uuid4

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from cloud_hub.errors import HubError, Invalid, NotFound

_WRITING = ".writing-"
_PATH = re.compile(
    r"(?P<kind>\w+)/organisation=(?P<organisation>[^/]+)/month=(?P<year>\d{4})-(?P<month>\d{2})/(?P<name>[0-9a-f]{32})\.parquet"
)
_PIECE_BYTES = 1 << 20


class ArchiveFailed(HubError):
    """What was written did not come back as it was; nothing may be dropped."""


@dataclass(frozen=True, slots=True, order=True)
class Part:
    """One file of the archive."""

    kind: str
    organisation: str
    month: date
    """Its first day."""
    name: str
    """Its checksum: the first half of SHA-256 of its bytes, in hexadecimal."""
    size: int
    """In bytes."""

    @property
    def path(self) -> str:
        """Where it lies, from the archive's root."""
        return f"{_folder(self.kind, self.organisation, self.month)}/{self.name}.parquet"


class ArchiveStore:
    """The files below one URL."""

    def __init__(self, url: str) -> None:
        """Reach for nothing yet.

        Raises: Invalid when fsspec knows no such kind of place.
        """
        try:
            self._files, self._root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise Invalid(f"the archive's address {url!r} is none that fsspec reaches: {error}") from error

    def write(
        self,
        kind: str,
        organisation: str,
        month: date,
        schema: Any,  # noqa: ANN401 - pyarrow has no types
        batches: Iterable[Any],
    ) -> Part | None:
        """Write rows to a file and read it back; return it, or None when there are no rows.

        Raises: ArchiveFailed when it does not come back as it was written.
        """
        folder = f"{self._root}/{_folder(kind, organisation, month)}"
        self._files.makedirs(folder, exist_ok=True)
        writing = f"{folder}/{_WRITING}{uuid4().hex}"
        try:
            checksum, rows = self._write(writing, schema, batches)
            if not rows:
                return None
            self._verify(writing, checksum, rows)
            part = Part(kind, organisation, month, checksum[:32], self._files.size(writing))
            if not self._files.exists(f"{self._root}/{part.path}"):
                self._files.mv(writing, f"{self._root}/{part.path}")
                self._settle(folder)
            return part
        finally:
            if self._files.exists(writing):
                self._files.rm(writing)

    def _write(self, path: str, schema: Any, batches: Iterable[Any]) -> tuple[str, int]:  # noqa: ANN401 - pyarrow has no types
        rows = 0
        with self._files.open(path, "wb") as file:
            sink = _Summed(file)
            writer = pq.ParquetWriter(
                pa.PythonFile(sink, mode="w"), schema, compression="zstd", write_page_checksum=True
            )
            for table in _row_groups(schema, batches):
                writer.write_table(table, row_group_size=max(1, len(table)))
                rows += len(table)
            writer.close()
            file.flush()
            if isinstance(self._files, LocalFileSystem):  # others answer when it is safe
                os.fsync(file.fileno())
        return sink.checksum, rows

    def _verify(self, path: str, checksum: str, rows: int) -> None:
        found = hashlib.sha256()
        with self._files.open(path, "rb") as file:
            while piece := file.read(_PIECE_BYTES):
                found.update(piece)
        read = sum(len(batch) for batch in self._read(path))
        if found.hexdigest() != checksum or read != rows:
            raise ArchiveFailed(
                f"the archive gives back {read} rows of {rows} at {path}: nothing is dropped; look after the storage"
            )

    def _settle(self, folder: str) -> None:
        """Make the new name survive a power cut."""
        if isinstance(self._files, LocalFileSystem):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def list_parts(
        self,
        kind: str | None = None,
        organisation: str | None = None,
        first: date | None = None,
        last: date | None = None,
    ) -> list[Part]:
        """List the files of the archive in order, of months from `first` to `last`."""
        found = []
        for path, size in self._sizes():
            match = _PATH.fullmatch(path.removeprefix(self._root).lstrip("/"))
            if match is None:
                continue
            part = Part(
                match["kind"],
                match["organisation"],
                date(int(match["year"]), int(match["month"]), 1),
                match["name"],
                size,
            )
            if (
                kind in {None, part.kind}
                and organisation in {None, part.organisation}
                and (first is None or part.month >= first.replace(day=1))
                and (last is None or part.month <= last)
            ):
                found.append(part)
        return sorted(found)

    def _sizes(self) -> Iterator[tuple[str, int]]:
        if self._files.exists(self._root):
            for path, about in self._files.find(self._root, detail=True).items():
                yield path, int(about["size"])

    def read(self, part: Part) -> Iterator[Any]:
        """Give the rows of a file, a bounded batch at a time.

        Raises: NotFound when it is gone, ArchiveFailed when it is damaged.
        """
        try:
            yield from self._read(f"{self._root}/{part.path}")
        except FileNotFoundError as error:
            raise NotFound(f"the archive has no file {part.path}") from error
        except (OSError, pa.ArrowException) as error:
            raise ArchiveFailed(f"the archive's file {part.path} is damaged ({error}): take it from a copy") from error

    def _read(self, path: str) -> Iterator[Any]:
        with self._files.open(path, "rb") as file:
            parquet = pq.ParquetFile(file, page_checksum_verification=True)
            yield from parquet.iter_batches(batch_size=_ROWS_PER_GROUP)


_ROWS_PER_GROUP = 100_000


def _row_groups(schema: Any, batches: Iterable[Any]) -> Iterator[Any]:  # noqa: ANN401 - pyarrow has no types
    waiting, rows = [], 0
    for batch in batches:
        waiting.append(batch)
        rows += len(batch)
        if rows >= _ROWS_PER_GROUP:
            yield pa.Table.from_batches(waiting, schema)
            waiting, rows = [], 0
    if waiting:
        yield pa.Table.from_batches(waiting, schema)


class _Summed:
    """A file that adds up the checksum of what is written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sum = hashlib.sha256()
        self.closed = False

    def write(self, data: bytes) -> int:
        """Take bytes."""
        self._sum.update(data)
        return cast("Callable[[bytes], int]", self._file.write)(bytes(data))

    def flush(self) -> None:
        """Do nothing: the file is flushed when it is whole."""

    def close(self) -> None:
        """Do nothing: whoever opened the file closes it."""
        self.closed = True

    @property
    def checksum(self) -> str:
        """SHA-256, in hexadecimal."""
        return self._sum.hexdigest()


def _folder(kind: str, organisation: str, month: date) -> str:
    return f"{kind}/organisation={organisation}/month={month:%Y-%m}"

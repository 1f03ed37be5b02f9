"""The archive: what expires, as Parquet files by kind, organisation and month; and the way back.

`before_drop` is what retention asks for before it drops a month. What is archived twice comes back once.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from cloud_hub.calendar.days import ms_of_instant
from cloud_hub.errors import NotFound
from cloud_hub.organisations.models import Organisation
from cloud_hub.readings.series import Series
from cloud_hub.registry.models import Meter, Point
from cloud_hub.transfer.archive_store import ArchiveStore, Part
from cloud_hub.transfer.archive_tables import AUDIT_TABLE, LEDGER_TABLES, ArchivedTable
from cloud_hub.transfer.readings_out import read_meter
from cloud_hub.transfer.selection import Chosen, NothingSelected, Selection, by_meter, choose_points, open_snapshot
from cloud_hub.transfer.storing import PointReadings, lock_meters, read_present, store_meter

Kind = Literal["readings", "ledger", "audit"]
KINDS: tuple[Kind, ...] = ("readings", "ledger", "audit")

READINGS = "readings"
TABLES = {table.name: table for table in (*LEDGER_TABLES, AUDIT_TABLE)}

_READINGS_SCHEMA = pa.schema(
    [
        ("controller", pa.string()),
        ("meter", pa.string()),
        ("point", pa.string()),
        ("unit", pa.string()),
        ("observed_at", pa.timestamp("ms", tz="UTC")),
        ("value", pa.float64()),
        ("quality", pa.int16()),
    ]
)


class ParquetArchive:
    """Months of one kind of one organisation, on their way into the archive."""

    def __init__(self, engine: Engine, url: str) -> None:
        """Take where to read from, and the archive's address, as fsspec understands it.

        Raises: Invalid.
        """
        self._engine = engine
        self._store = ArchiveStore(url)

    def before_drop(self, kind: Kind, organisation_id: int, first: date, end: date) -> None:
        """Return when all of this kind that the organisation has in the month `[first, end)` is in the archive."""
        self.write(kind, organisation_id, first, end)

    def write(self, kind: Kind, organisation_id: int, first: date, end: date) -> list[Part]:
        """Archive a month; return the files that hold it, which may have been there.

        Raises: NotFound for an unknown organisation, ArchiveFailed, and whatever the storage raises.
        """
        with Session(self._engine) as session:
            open_snapshot(session)
            organisation = session.get(Organisation, organisation_id)
            if organisation is None:
                raise NotFound(f"there is no organisation {organisation_id}")
            parts = [
                self._store.write(name, organisation.slug, first, schema, batches)
                for name, schema, batches in _sources(session, kind, organisation, first, end)
            ]
        return [part for part in parts if part is not None]


def _sources(
    session: Session, kind: Kind, organisation: Organisation, first: date, end: date
) -> Iterator[tuple[str, Any, Iterator[Any]]]:
    if kind == READINGS:
        yield READINGS, _READINGS_SCHEMA, _read_readings(session, organisation, first, end)
        return
    for table in LEDGER_TABLES if kind == "ledger" else (AUDIT_TABLE,):
        yield table.name, table.schema, table.read(session.connection(), organisation.id, first, end)


def _read_readings(session: Session, organisation: Organisation, first: date, end: date) -> Iterator[Any]:
    """Give the readings of a month in UTC as Arrow batches, meter after meter."""
    try:
        chosen = choose_points(session, Selection(organisation=organisation.slug))
    except NothingSelected:
        return
    bounds = ms_of_instant(_midnight(first)), ms_of_instant(_midnight(end))
    for points in by_meter(chosen):
        for _, point, series in read_meter(session, points, bounds):
            yield _to_batch(point, series)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)


def _to_batch(point: Chosen, series: Series) -> Any:  # noqa: ANN401 - pyarrow has no types
    names = (point.controller, point.meter, point.point, point.unit)
    times = pa.array(np.ascontiguousarray(series.observed_at_ms, np.int64)).cast(
        _READINGS_SCHEMA.field("observed_at").type
    )
    columns = [
        *(pa.repeat(pa.scalar(name, pa.string()), len(series)) for name in names),
        times,
        pa.array(series.value, pa.float64(), from_pandas=True),  # NaN becomes null
        pa.array(series.quality, pa.int16()),
    ]
    return pa.record_batch(columns, schema=_READINGS_SCHEMA)


@dataclass(slots=True)
class Restored:
    """What came of putting rows back."""

    rows: int = 0
    """In the archive."""
    restored: int = 0
    """Of them, those that were not in the database."""
    sealed: int = 0
    """Events of the audit trail: they are read where they are, for a chain takes nothing back."""
    unknown: set[str] = field(default_factory=set)
    """Points of which the database knows nothing, as `controller/meter/point`: their readings stay in the archive."""


def restore(engine: Engine, store: ArchiveStore, parts: Sequence[Part]) -> Restored:
    """Put the rows of files back into the database, each file in one transaction; what is there stays as it is.

    Restored readings are due in the ledger, like late ones. Raises: NotFound for an unknown organisation.
    """
    done = Restored()
    for part in parts:
        with Session(engine) as session, session.begin():
            if part.kind == READINGS:
                _restore_readings(session, engine, store.read(part), done)
            elif part.kind == AUDIT_TABLE.name:
                done.sealed += sum(len(batch) for batch in store.read(part))
            else:
                _restore_rows(session, TABLES[part.kind], part, store.read(part), done)
    return done


def _restore_rows(session: Session, table: ArchivedTable, part: Part, batches: Iterator[Any], done: Restored) -> None:
    query = select(Organisation.id).where(Organisation.slug == part.organisation)
    if session.scalars(query).one_or_none() is None:
        raise NotFound(f"there is no organisation {part.organisation!r}, to which {part.path} belongs: make it first")
    known = _point_ids(session)
    for batch in batches:
        rows = batch.to_pylist()
        named = [(row["controller"], row["meter"], row["point"]) for row in rows]
        done.unknown |= {"/".join(names) for names in named if names not in known}
        done.rows += len(rows)
        done.restored += table.restore(session.connection(), rows)


def _restore_readings(session: Session, engine: Engine, batches: Iterator[Any], done: Restored) -> None:
    known = _point_ids(session)
    for batch in batches:
        done.rows += len(batch)
        by_meter_id: defaultdict[int, list[PointReadings]] = defaultdict(list)
        for names, readings in _readings_of(batch):
            if names in known:
                meter_id, point_id = known[names]
                by_meter_id[meter_id].append(PointReadings(point_id, *readings))
            else:
                done.unknown.add("/".join(names))
        for meter_id, readings_of_meter in sorted(by_meter_id.items()):
            done.restored += _restore_meter(session, engine, session.get_one(Meter, meter_id), readings_of_meter)


def _point_ids(session: Session) -> dict[tuple[str, str, str], tuple[int, int]]:
    query = select(Meter.controller_id, Meter.slug, Point.name, Meter.id, Point.id).join(
        Point, Point.meter_id == Meter.id
    )
    return {
        (controller, meter, point): (meter_id, point_id)
        for controller, meter, point, meter_id, point_id in session.execute(query)
    }


Columns = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int16]]


def _readings_of(batch: Any) -> Iterator[tuple[tuple[str, str, str], Columns]]:  # noqa: ANN401 - pyarrow has no types
    """Take a batch apart into the readings of each point, ordered by time."""
    keys = [batch.column(name).dictionary_encode() for name in ("controller", "meter", "point")]
    codes = np.stack([key.indices.to_numpy(zero_copy_only=False) for key in keys], axis=1)
    at = batch.column("observed_at").cast(pa.int64()).to_numpy(zero_copy_only=False)
    value = batch.column("value").to_numpy(zero_copy_only=False)
    quality = batch.column("quality").to_numpy(zero_copy_only=False)
    patterns, which = np.unique(codes, axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns.tolist()):
        rows = np.flatnonzero(which.reshape(-1) == number)
        rows = rows[np.argsort(at[rows], kind="stable")]
        controller, meter, point = (key.dictionary[code].as_py() for key, code in zip(keys, pattern, strict=True))
        yield (controller, meter, point), (at[rows], value[rows], quality[rows])


def _restore_meter(session: Session, engine: Engine, meter: Meter, readings: Sequence[PointReadings]) -> int:
    """Store what is not there; of an instant with several values, each of them."""
    lock_meters(session, [meter.id])
    present = read_present(session, meter, readings)
    missing = [_missing(one, present.get(one.point_id)) for one in readings]
    for layer in _layers(missing):
        store_meter(session, engine, meter, layer, is_making=False)
    return sum(len(one.observed_at_ms) for one in missing)


def _missing(readings: PointReadings, present: Series | None) -> PointReadings:
    """Return the readings that are not present, none of them twice."""
    wanted = _fingerprints(readings.observed_at_ms, readings.value, readings.quality)
    _, first = np.unique(wanted, return_index=True)
    is_missing = np.zeros(len(wanted), dtype=bool)
    is_missing[first] = True
    if present is not None and len(present):
        is_missing &= ~np.isin(wanted, _fingerprints(present.observed_at_ms, present.value, present.quality))
    return readings.take(is_missing)


def _fingerprints(at: NDArray[np.int64], value: NDArray[np.float64], quality: NDArray[np.int16]) -> NDArray[np.void]:
    """Lay readings out as bytes, so that equal ones are equal, NaN and all."""
    rows = np.zeros(len(at), dtype=[("at", ">i8"), ("value", ">f8"), ("quality", ">i2")])
    rows["at"], rows["value"], rows["quality"] = at, np.where(np.isnan(value), np.nan, value), quality
    return rows.view("S18").reshape(-1)  # text of fixed width sorts and compares, void does not


def _layers(readings: Sequence[PointReadings]) -> Iterator[list[PointReadings]]:
    """Spread readings so that no point has two of one instant in the same layer."""
    rest = [one for one in readings if len(one.observed_at_ms)]
    while rest:
        is_first = [np.diff(one.observed_at_ms, prepend=-1) > 0 for one in rest]
        yield [one.take(first) for one, first in zip(rest, is_first, strict=True)]
        rest = [one.take(~first) for one, first in zip(rest, is_first, strict=True) if not first.all()]

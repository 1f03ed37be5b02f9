"""A hub's database filled for a benchmark: simulated scans into open days, and a row per reading beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cloud_hub import db
from cloud_hub.ingest.copy_binary import ScanRows
from cloud_hub.ingest.decode import ScanColumns
from cloud_hub.ingest.scan_rows import copy_scans
from cloud_hub.registry.service import register_controller, register_manifest, register_site
from cloud_hub.schema.upgrade import upgrade
from cloud_hub.work.partitions import make_partitions
from demo.postgres import PrivatePostgres
from protocol.manifest import Manifest
from protocol.scans import Scan

DAY_MS = 86_400_000
READING_TABLES = ("scans", "scan_days", "point_days")

# What other hubs keep: a row per reading, and the one index that finds a point's course.
_ROWS = """
CREATE TABLE row_per_reading (
    observed_at timestamptz NOT NULL, point_id bigint NOT NULL, value float8, quality smallint NOT NULL
);
INSERT INTO row_per_reading SELECT observed_at, point_id, value, quality FROM readings;
CREATE INDEX row_per_reading_point_id_observed_at_idx ON row_per_reading (point_id, observed_at);
"""


class ServerPostgres(PrivatePostgres):
    """A private PostgreSQL with the memory of a small server: the usual 64 MB suit a demo, not a thousand sites.

    Ten thousand streams write to ten thousand leaves of an index: whole pages go into the log, compressed.
    """

    def _options(self) -> list[str]:
        # Of one option given twice, PostgreSQL takes the later one.
        return [*super()._options(), "-c", "shared_buffers=1GB", "-c", "max_wal_size=4GB", "-c", "wal_compression=lz4"]


@dataclass(frozen=True, slots=True)
class LayoutScans:
    """All scans of one layout, ordered by time."""

    at_ms: NDArray[np.int64]
    values: NDArray[np.float64]
    """A row per scan, a column per point; NaN is missing."""
    quality: NDArray[np.int16]

    def repeated(self, times: int, *, every_days: int = 1) -> "LayoutScans":
        """Play them again on following days. Each day is stored by itself, so that none helps another."""
        return LayoutScans(
            np.concatenate([self.at_ms + n * every_days * DAY_MS for n in range(times)]),
            np.tile(self.values, (times, 1)),
            np.tile(self.quality, (times, 1)),
        )


def columns_of(manifest: Manifest, scans: Sequence[tuple[int, Sequence[Scan]]]) -> list[LayoutScans]:
    """Turn scans, instant by instant, into one table per layout."""
    return [
        _columns([scan for _, instant in scans for scan in instant if scan.layout == index])
        for index in range(len(manifest.layouts))
    ]


def open_hub(postgres: PrivatePostgres, name: str, *, first: datetime, end: datetime) -> Engine:
    """Make a migrated database with partitions from `first` to `end` and some months more."""
    url = postgres.create_database(name)
    upgrade(url)
    engine = db.create_engine(url)
    while first < end + timedelta(days=31):
        make_partitions(engine, first)
        first += timedelta(days=28)
    return engine


def load(engine: Engine, manifest: Manifest, columns: Sequence[LayoutScans], *, site: str = "bench") -> None:
    """Register a controller with this manifest and store its scans, as ingest does."""
    with Session(engine) as session, session.begin():
        register_site(session, site, site)
        register_controller(session, site, site_slug=site)
        digest = register_manifest(session, site, manifest.body)
    query = text(
        "SELECT l.id, l.meter_id FROM manifest_layouts ml JOIN layouts l ON l.id = ml.layout_id "
        "WHERE ml.controller_id = :controller AND ml.manifest_hash = :hash ORDER BY ml.index"
    )
    with engine.begin() as connection:
        stored = connection.execute(query, {"controller": site, "hash": digest}).all()
        for (layout_id, meter_id), one in zip(stored, columns, strict=True):
            quality = one.quality if one.quality.any() else None
            rows = ScanColumns(0, np.arange(len(one.at_ms)), one.at_ms, one.values, quality)
            copy_scans(connection, [ScanRows(meter_id, layout_id, rows)])


def make_row_per_reading(engine: Engine) -> None:
    """Store all readings once more, a row each."""
    with engine.begin() as connection:
        connection.execute(text(_ROWS))
    vacuum(engine, "row_per_reading")


def bytes_of(engine: Engine, tables: Sequence[str]) -> int:
    """Return what tables take with their partitions, indexes and TOAST."""
    # A table without partitions is not in its own tree.
    query = text(
        "SELECT sum(pg_total_relation_size(coalesce(part.relid, CAST(t.name AS regclass)))) "
        "FROM unnest(CAST(:tables AS text[])) AS t (name) "
        "LEFT JOIN LATERAL pg_partition_tree(CAST(t.name AS regclass)) AS part ON part.isleaf"
    )
    with engine.connect() as connection:
        return int(connection.execute(query, {"tables": list(tables)}).scalar_one())


def vacuum(engine: Engine, table: str) -> None:
    """Leave a table as it is after the database's own upkeep."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"VACUUM (ANALYZE) {table}"))


def settle(engine: Engine) -> None:
    """Write out what is pending, so that what is measured next pays for nothing but itself."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CHECKPOINT"))


def instant(ms: int) -> datetime:
    """Return the instant of UTC milliseconds since 1970."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def _columns(scans: Sequence[Scan]) -> LayoutScans:
    values = [[np.nan if value is None else value for value in scan.values] for scan in scans]
    quality = [scan.quality if scan.quality is not None else (0,) * len(scan.values) for scan in scans]
    return LayoutScans(
        np.array([scan.observed_at_ms for scan in scans], np.int64),
        np.array(values, np.float64),
        np.array(quality, np.int16),
    )

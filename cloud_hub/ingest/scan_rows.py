"""Scans into the database: which stored layout a batch means, COPY, and the newest scan of each layout."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import psycopg2.extensions
from sqlalchemy import Connection, text

from cloud_hub.ingest.copy_binary import CHUNK_BYTES, COLUMNS, ScanRows, encode_rows, newest
from cloud_hub.ingest.prepare import PreparedBatch

_LAYOUT_INDEX_MAX = 2**31 - 1
_COLUMN_LIST = ", ".join(COLUMNS)


class LayoutKey(NamedTuple):
    """How a batch names a layout."""

    controller_id: str
    manifest_hash: bytes
    position: int


class StoredLayout(NamedTuple):
    """What the database knows a layout as."""

    layout_id: int
    meter_id: int
    points: int


@dataclass(frozen=True, slots=True)
class Registry:
    """The part of the registry that a group of batches speaks of."""

    controllers: frozenset[str]
    manifests: frozenset[tuple[str, bytes]]
    layouts: Mapping[LayoutKey, StoredLayout]


_REGISTRY = text("""
    SELECT k.controller_id, k.manifest_hash, k.index, c.id IS NOT NULL, m.hash IS NOT NULL,
           l.id, l.meter_id, cardinality(l.point_ids)
    FROM unnest(CAST(:controllers AS text[]), CAST(:manifests AS bytea[]), CAST(:indexes AS integer[]))
         AS k (controller_id, manifest_hash, index)
    LEFT JOIN controllers c ON c.id = k.controller_id
    LEFT JOIN manifests m ON m.controller_id = k.controller_id AND m.hash = k.manifest_hash
    LEFT JOIN manifest_layouts ml
      ON ml.controller_id = k.controller_id AND ml.manifest_hash = k.manifest_hash AND ml.index = k.index
    LEFT JOIN layouts l ON l.id = ml.layout_id
""")


def load_registry(connection: Connection, batches: Iterable[PreparedBatch]) -> Registry:
    """Look up what the batches name, in one query.

    Nothing is remembered between transactions: a restored database may know a layout by another id.
    """
    keys = set()
    for batch in batches:
        if batch.header is not None:
            controller, manifest = batch.received.controller_id, batch.header.manifest_hash
            used = {-1} if batch.content is None else {-1, *(columns.layout for columns in batch.content.scans)}
            keys |= {LayoutKey(controller, manifest, position) for position in used if position <= _LAYOUT_INDEX_MAX}
    ordered = sorted(keys)
    rows = connection.execute(
        _REGISTRY,
        {
            "controllers": [key.controller_id for key in ordered],
            "manifests": [key.manifest_hash for key in ordered],
            "indexes": [key.position for key in ordered],
        },
    )
    controllers, manifests, layouts = set(), set(), {}
    for controller, manifest_view, position, has_controller, has_manifest, layout_id, meter_id, points in rows:
        manifest = bytes(manifest_view)
        if has_controller:
            controllers.add(controller)
        if has_manifest:
            manifests.add((controller, manifest))
        if layout_id is not None:
            layouts[LayoutKey(controller, manifest, position)] = StoredLayout(layout_id, meter_id, points)
    return Registry(frozenset(controllers), frozenset(manifests), layouts)


def copy_scans(connection: Connection, rows: Sequence[ScanRows]) -> None:
    """Insert scans, the fast way."""
    _copy(connection, "scans", rows)


# A temporary table takes the same COPY bytes, so that no value is ever written as text.
_MAKE_NEWEST = text(
    f"CREATE TEMPORARY TABLE IF NOT EXISTS newest_scans ON COMMIT DELETE ROWS AS SELECT {_COLUMN_LIST} FROM scans LIMIT 0"  # noqa: S608 - a constant of ours
)
_UPSERT_NEWEST = text("""
    INSERT INTO scan_latest AS known (observed_at, meter_id, layout_id, "values", quality)
    SELECT observed_at, meter_id, layout_id, "values", quality FROM newest_scans ORDER BY layout_id
    ON CONFLICT (layout_id) DO UPDATE
    SET meter_id = excluded.meter_id, observed_at = excluded.observed_at,
        "values" = excluded."values", quality = excluded.quality
    WHERE excluded.observed_at >= known.observed_at
    RETURNING meter_id
""")


def update_latest(connection: Connection, rows: Sequence[ScanRows]) -> set[int]:
    """Let each layout's newest scan be the one to show, unless a newer one is known; return meters that have a newer."""
    connection.execute(_MAKE_NEWEST)
    _copy(connection, "newest_scans", newest(rows))
    return set(connection.scalars(_UPSERT_NEWEST))


def _copy(connection: Connection, table: str, rows: Sequence[ScanRows]) -> None:
    driver = cast("psycopg2.extensions.connection", connection.connection.driver_connection)
    with driver.cursor() as cursor:
        cursor.copy_expert(
            f"COPY {table} ({_COLUMN_LIST}) FROM STDIN (FORMAT binary)", ChunkReader(encode_rows(rows)), CHUNK_BYTES
        )


class ChunkReader:
    """Chunks as the file that psycopg2 reads from, each as it is made."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        """Take chunks that are no longer than what will be asked for at a time."""
        self._chunks = chunks

    def read(self, _size: int = -1) -> bytes:
        """Return the next chunk; nothing at the end."""
        return next(self._chunks, b"")

    readline = read
    """Never called; psycopg2's types want it."""

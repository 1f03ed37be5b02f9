"""The tables that go into the archive row by row: as what columns, from where, and how they come back.

A register is told by controller, meter and point, not by its number: the archive outlives a database.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection, text

_ROWS_AT_ONCE = 5_000

_AT = pa.timestamp("us", tz="UTC")
_NAMES = (("controller", pa.string()), ("meter", pa.string()), ("point", pa.string()))
_LEDGER_FROM = """
    JOIN points p ON p.id = t.point_id JOIN meters m ON m.id = p.meter_id JOIN sites s ON s.id = m.site_id
    WHERE s.organisation_id = :organisation
"""
_POINT_ID = """(SELECT p.id FROM points p JOIN meters m ON m.id = p.meter_id
    WHERE m.controller_id = :controller AND m.slug = :meter AND p.name = :point)"""


@dataclass(frozen=True, slots=True)
class ArchivedTable:
    """One table of the archive."""

    name: str
    fields: tuple[tuple[str, Any], ...]
    """Its own columns and their Arrow types; JSON travels as text."""
    month: str
    """The condition that its rows lie in `[:first, :end)`."""
    order: str
    of_registers: bool = True
    unless: str = "ON CONFLICT DO NOTHING"
    """What keeps a row that is there from coming back a second time."""

    @property
    def schema(self) -> Any:  # noqa: ANN401 - pyarrow has no types
        """Its columns in a file."""
        return pa.schema([*(_NAMES if self.of_registers else ()), *self.fields])

    @property
    def _own(self) -> str:
        return ", ".join(f't."{name}"' for name, _ in self.fields)

    def read(self, connection: Connection, organisation_id: int, first: date, end: date) -> Iterator[Any]:
        """Give what an organisation has in a month as Arrow batches, always in the same order."""
        columns = f"m.controller_id, m.slug, p.name, {self._own}" if self.of_registers else self._own
        origin = _LEDGER_FROM if self.of_registers else "WHERE t.organisation_id = :organisation"
        query = text(f"SELECT {columns} FROM {self.name} t {origin} AND {self.month} ORDER BY {self.order}")  # noqa: S608 - constants of ours
        rows = connection.execution_options(stream_results=True, max_row_buffer=_ROWS_AT_ONCE).execute(
            query, {"organisation": organisation_id, "first": first, "end": end}
        )
        for some in rows.partitions(_ROWS_AT_ONCE):
            cells = [[_out(value) for value in column] for column in zip(*some, strict=True)]
            yield pa.record_batch(cells, schema=self.schema)

    def restore(self, connection: Connection, rows: Sequence[dict[str, Any]]) -> int:
        """Put rows back that are not there; return how many that were. Rows of unknown registers stay out."""
        columns = ", ".join(f'"{name}"' for name, _ in self.fields)
        values = ", ".join(f"CAST(:{name} AS {_sql(type_)})" for name, type_ in self.fields)
        origin = f"FROM (SELECT {_POINT_ID} AS point_id) AS r WHERE r.point_id IS NOT NULL"
        statement = text(
            f"INSERT INTO {self.name} (point_id, {columns}) SELECT r.point_id, {values} {origin} {self.unless}"
        )
        restored = 0
        for row in rows:
            restored += connection.execute(statement, row).rowcount
        return restored


def _out(value: Any) -> Any:  # noqa: ANN401 - a value of any column
    return json.dumps(value, sort_keys=True) if isinstance(value, dict) else value


def _sql(type_: Any) -> str:  # noqa: ANN401 - pyarrow has no types
    if pa.types.is_list(type_):
        return f"{_sql(type_.value_type)}[]"
    return _SQL[type_]


_SQL = {
    pa.int64(): "bigint",
    pa.int32(): "integer",
    pa.int16(): "smallint",
    pa.date32(): "date",
    pa.string(): "text",
    _AT: "timestamptz",
    pa.json_(): "jsonb",
}

LEDGER_TABLES = (
    ArchivedTable(
        "ledger_days",
        (
            ("day", pa.date32()),
            ("start_at", _AT),
            ("end_at", _AT),
            ("interval_s", pa.int32()),
            ("calculation", pa.int16()),
            ("total_micro", pa.int64()),
            ("completeness", pa.int16()),
            ("amounts_micro", pa.list_(pa.int64())),
            ("registered_micro", pa.list_(pa.int64())),
            ("qualities", pa.list_(pa.int16())),
            ("completenesses", pa.list_(pa.int16())),
            ("causes", pa.list_(pa.int32())),
            ("methods", pa.list_(pa.int16())),
            ("known_at", pa.list_(_AT)),
        ),
        "t.day >= :first AND t.day < :end",
        "m.controller_id, m.slug, p.name, t.day",
    ),
    ArchivedTable(
        "ledger_months",
        (
            ("month", pa.date32()),
            ("total_micro", pa.int64()),
            ("estimated_micro", pa.int64()),
            ("edited_micro", pa.int64()),
            ("completeness", pa.int16()),
            ("days", pa.int32()),
        ),
        "t.month >= :first AND t.month < :end",
        "m.controller_id, m.slug, p.name, t.month",
    ),
    ArchivedTable(
        "ledger_superseded",
        (
            ("start_at", _AT),
            ("end_at", _AT),
            ("amount_micro", pa.int64()),
            ("registered_micro", pa.int64()),
            ("known_from", _AT),
            ("known_until", _AT),
            ("causes", pa.int32()),
            ("quality", pa.int16()),
            ("completeness", pa.int16()),
            ("method", pa.int16()),
            ("calculation", pa.int16()),
        ),
        "t.start_at >= CAST(:first AS timestamp) AT TIME ZONE 'UTC' AND t.start_at < CAST(:end AS timestamp) AT TIME ZONE 'UTC'",
        "m.controller_id, m.slug, p.name, t.start_at, t.known_from, t.known_until",
        unless="AND NOT EXISTS (SELECT FROM ledger_superseded k WHERE k.point_id = r.point_id AND k.start_at = :start_at "
        "AND k.known_from = :known_from AND k.known_until = :known_until)",
    ),
    ArchivedTable(
        "ledger_findings",
        (
            ("kind", pa.string()),
            ("from_at", _AT),
            ("to_at", _AT),
            ("detail", pa.json_()),
            ("found_at", _AT),
        ),
        "t.from_at >= CAST(:first AS timestamp) AT TIME ZONE 'UTC' AND t.from_at < CAST(:end AS timestamp) AT TIME ZONE 'UTC'",
        "m.controller_id, m.slug, p.name, t.from_at, t.kind",
    ),
)

AUDIT_TABLE = ArchivedTable(
    "audit_events",
    (
        ("id", pa.int64()),
        ("at", _AT),
        ("who", pa.string()),
        ("action", pa.string()),
        ("subject", pa.string()),
        ("detail", pa.json_()),
        ("user_id", pa.int64()),
        ("on_behalf_of", pa.string()),
        ("address", pa.string()),
        ("request_id", pa.string()),
        ("number", pa.int64()),
        ("hash", pa.binary()),
    ),
    "t.at >= CAST(:first AS timestamp) AT TIME ZONE 'UTC' AND t.at < CAST(:end AS timestamp) AT TIME ZONE 'UTC'",
    "t.id",
    of_registers=False,
)

"""TimescaleDB or Citus beneath the tables of readings, where an operator says so: plain SQL, nothing else changes."""

from enum import StrEnum

import structlog
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from cloud_hub.errors import SettingsError
from cloud_hub.settings import DATABASE_EXTENSION

_LOCK = 0x65787465  # any number, as long as every `hub init` takes the same

log = structlog.get_logger(__name__)


class Extension(StrEnum):
    """Engines beneath PostgreSQL that the hub knows how to use."""

    TIMESCALEDB = "timescaledb"
    CITUS = "citus"


# Small and joined by everything: a copy on every node.
_REFERENCE_TABLES = ("organisations", "sites", "controllers", "meters", "points", "layouts")
_DISTRIBUTED_TABLES = ("scans", "scan_days", "point_days")

_TIMESCALE_READY = text(
    "SELECT EXISTS (SELECT FROM timescaledb_information.hypertables WHERE hypertable_name = 'scans')"
)

# A hypertable cannot be made of a partitioned table: an empty one of the same shape takes its place. The views that
# read `scans` are made again as they were. Compression orders by what everybody asks: a meter's course over time.
_TIMESCALE = """
DO $$
DECLARE
    definition text := pg_get_viewdef('readings'::regclass);
BEGIN
    DROP VIEW readings;
    ALTER TABLE scans RENAME TO scans_partitioned;
    CREATE TABLE scans (LIKE scans_partitioned INCLUDING DEFAULTS);
    DROP TABLE scans_partitioned;
    CREATE INDEX scans_meter_id_observed_at_idx ON scans (meter_id, observed_at);
    PERFORM create_hypertable('scans', 'observed_at', chunk_time_interval => interval '1 day',
                              create_default_indexes => false);
    ALTER TABLE scans SET (timescaledb.compress, timescaledb.compress_segmentby = 'meter_id, layout_id',
                           timescaledb.compress_orderby = 'observed_at');
    PERFORM add_compression_policy('scans', interval '3 days');
    EXECUTE 'CREATE VIEW readings AS ' || definition;
END
$$;
"""


def switch_on(engine: Engine, name: str) -> None:
    """Let the tables of readings be kept by an extension of the database; an empty name is none. May be repeated.

    Raises: SettingsError when the name is unknown, the server does not have the extension, refuses it, or it can
    no longer be switched on.
    """
    if not name:
        return
    extension = _parse(name)
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        _check_available(connection, extension)
        try:
            connection.execute(text(f"CREATE EXTENSION IF NOT EXISTS {extension.value}"))
            _SWITCHES[extension](connection)
        except DBAPIError as error:
            reason = str(error.orig).splitlines()[0]
            raise SettingsError(
                f"the database server refuses {extension.value} ({reason}): mend that, or leave {DATABASE_EXTENSION} empty"
            ) from error
    log.info("database_extension_on", extension=extension.value)


def partitions_itself(connection: Connection, table: str) -> bool:
    """Say whether an extension, rather than `work`, cuts a table into parts."""
    kind = connection.execute(
        text("SELECT relkind::text FROM pg_class WHERE oid = CAST(:table AS regclass)"), {"table": table}
    ).scalar_one()
    return str(kind) != "p"


def _parse(name: str) -> Extension:
    try:
        return Extension(name)
    except ValueError as error:
        known = " or ".join(Extension)
        raise SettingsError(f"{DATABASE_EXTENSION} is {name!r}: set it to {known}, or leave it empty") from error


def _check_available(connection: Connection, extension: Extension) -> None:
    available = connection.scalar(
        text("SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = :name)"), {"name": extension.value}
    )
    if not available:
        raise SettingsError(
            f"the database server does not have the extension {extension.value}: install it there, "
            f"or leave {DATABASE_EXTENSION} empty"
        )


def _switch_on_timescaledb(connection: Connection) -> None:
    if connection.execute(_TIMESCALE_READY).scalar_one():
        return
    if connection.execute(text("SELECT EXISTS (SELECT FROM scans)")).scalar_one():
        raise SettingsError(
            f"timescaledb can be switched on only before the first readings have come: leave {DATABASE_EXTENSION} "
            "empty, or begin with a new database"
        )
    connection.execute(text(_TIMESCALE))


def _switch_on_citus(connection: Connection) -> None:
    present = set(connection.scalars(text("SELECT logicalrelid::text FROM pg_dist_partition")))
    for table in _REFERENCE_TABLES:
        if table not in present:
            connection.execute(text("SELECT create_reference_table(:table)"), {"table": table})
    for table in _DISTRIBUTED_TABLES:
        if table not in present:
            # By meter, and the three alike: every question about a meter is answered by one node.
            with_scans = "" if table == "scans" else ", colocate_with => 'scans'"
            connection.execute(
                text(f"SELECT create_distributed_table(:table, 'meter_id'{with_scans})"), {"table": table}
            )


_SWITCHES = {Extension.TIMESCALEDB: _switch_on_timescaledb, Extension.CITUS: _switch_on_citus}

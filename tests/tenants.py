"""Two organisations side by side, each with a row in every table of the hub: what isolation is tested with."""

import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from factories import make_profile
from sqlalchemy import ARRAY, Column, Connection, FetchedValue, Table, text
from sqlalchemy.dialects.postgresql import INT8RANGE, JSONB, Range

from cloud_hub.db import Base
from cloud_hub.schema.tables import tenancies

_NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)

# What a constraint of the table allows, where a made-up value would break it.
_ALLOWED: dict[str, Any] = {
    "organisations.interval_s": 1800,
    "users.kind": "person",
    "memberships.role": "admin",
    "memberships.role_id": None,
    "emission_series.basis": "location",
    "emission_series.kind": "average",
    "sites.time_zone": "UTC",
    "buses.transport": "tcp",
    "commands.kind": "read",
    "configurations.site": {
        "buses": [{"id": "bus", "host": "192.0.2.1", "meters": [{"id": "meter", "profile": "eastron-sdm630"}]}]
    },
    "configurations.state": "draft",
    "meter_profile_versions.body": json.loads(make_profile().model_dump_json()),
    "points.kind": "counter",
    "registers.direction": "import",
    "downlinks.configuration_id": None,
    "organisations.kind": "customer",
    "invitations.role": "admin",
    "invitations.role_id": None,
    "buses.line": {"host": "192.168.1.10"},
    "ledger_days.start_at": datetime(2026, 3, 1, tzinfo=UTC),
    "ledger_days.end_at": datetime(2026, 3, 2, tzinfo=UTC),
    "ledger_days.interval_s": 1800,
    "ledger_days.amounts_micro": [7] * 48,
    "ledger_days.qualities": [0] * 48,
    "ledger_days.completenesses": [1000] * 48,
    "ledger_days.known_at": [datetime(2026, 3, 2, tzinfo=UTC)] * 48,
    "ledger_findings.kind": "gap",
    "life_cycle_changes.after": "planned",
    "life_cycle_changes.controller_id": None,
    "life_cycle_changes.meter_id": None,
    "people_creations.state": "pending",
    "tokens.kind": "login",
    "webhook_deliveries.state": "waiting",
}
_REFERRED = {
    "meter_id": "meters",
    "point_id": "points",
    "controller_id": "controllers",
    "site_id": "sites",
    "user_id": "users",
    "organisation_id": "organisations",
    "layout_id": "layouts",
}
"""Tables that columns refer to by their names, where there is no foreign key."""
_LATER_END = {"until_at", "end_at", "to_at", "expires_at", "valid_until", "known_until"}


@dataclass
class Tenant:
    """One organisation with all that belongs to it."""

    name: str
    number: int
    keys: dict[str, Any] = field(default_factory=dict)
    """Primary keys by table, and by the names of columns that refer to one without a foreign key."""

    @property
    def organisation_id(self) -> int:
        """Its organisation."""
        return int(self.keys["organisations"])

    @property
    def site_id(self) -> int:
        """Its site."""
        return int(self.keys["sites"])

    @property
    def user_id(self) -> int:
        """Its administrator."""
        return int(self.keys["users"])


def fill(connection: Connection, name: str, number: int, *, parent_id: int | None = 1) -> Tenant:
    """Add an organisation and a row of it in every table, in the order in which they refer to each other."""
    tenant = Tenant(name, number)
    tenant.keys["organisations.parent_id"] = parent_id
    for table in _in_order():
        add_row(connection, tenant, table)
    add_service(connection, tenant)
    return tenant


def add_service(connection: Connection, tenant: Tenant) -> None:
    """Add a service account with a token: the rows of `users` and `tokens` above are a person's."""
    own = {"organisation": tenant.organisation_id, "name": f"{tenant.name}-service"}
    tenant.keys["services"] = connection.execute(
        text("INSERT INTO users (kind, name, organisation_id) VALUES ('service', :name, :organisation) RETURNING id"),
        own,
    ).scalar_one()
    connection.execute(
        text("INSERT INTO memberships (user_id, organisation_id, role) VALUES (:user, :organisation, 'viewer')"),
        own | {"user": tenant.keys["services"]},
    )
    service = Tenant(
        f"{tenant.name}-service",
        tenant.number + 100,
        {"users": tenant.keys["services"], "organisations": tenant.organisation_id},
    )
    add_row(connection, service, Base.metadata.tables["tokens"])
    tenant.keys["service_tokens"] = service.keys["tokens"]


def add_row(connection: Connection, tenant: Tenant, table: Table) -> None:
    """Add one row of a tenant to a table, every column of it."""
    made = {column.name: _value(tenant, table, column) for column in table.columns if not _is_left_out(table, column)}
    values = {name: value for name, value in made.items() if value is not None}
    row = connection.execute(table.insert().values(values).returning(*table.columns)).mappings().one()
    for column in table.columns:
        tenant.keys.setdefault(f"{table.name}#{column.name}", row[column.name])
    if table.primary_key.columns:
        tenant.keys.setdefault(table.name, row[next(iter(table.primary_key.columns)).name])


def rows_of(connection: Connection) -> dict[str, set[str]]:
    """Return where all rows stand that the connection may see, by table."""
    return {
        table.name: set(connection.execute(text(f"SELECT tableoid || '/' || ctid::text FROM {table.name}")).scalars())
        for table in Base.metadata.sorted_tables
    }


def _in_order() -> list[Table]:
    """Return the tables that hold tenants' rows, those that others refer to by bare numbers first."""
    first = ["organisations", "users", "sites", "controllers", "meters", "points", "manifests", "layouts"]
    known = tenancies()
    tables = {table.name: table for table in Base.metadata.sorted_tables if known[table.name].is_guarded}
    return [*(tables.pop(name) for name in first), *tables.values()]


def _is_left_out(table: Table, column: Column[Any]) -> bool:
    """Say whether the database gives the value: an identity, a default, or what a trigger keeps."""
    if isinstance(column.server_default, FetchedValue) and not column.foreign_keys:
        return True
    return column.identity is not None or (table.name in {"controllers", "meters"} and column.name == "organisation_id")


def _value(tenant: Tenant, table: Table, column: Column[Any]) -> Any:
    name = f"{table.name}.{column.name}"
    for known in (tenant.keys, _ALLOWED):
        if name in known:
            return known[name]
    referred = _REFERRED.get(column.name)
    if referred is not None:
        return tenant.keys.get(referred)
    for key in column.foreign_keys:
        if key.column.table is not table:
            return tenant.keys.get(f"{key.column.table.name}#{key.column.name}")
    return None if column.nullable else _made_up(tenant, column)


def _made_up(tenant: Tenant, column: Column[Any]) -> Any:  # noqa: PLR0911 - one answer per type
    if isinstance(column.type, ARRAY):
        return []
    if isinstance(column.type, JSONB):
        return {}
    if isinstance(column.type, INT8RANGE):
        return Range(1, 2)
    kind = column.type.python_type
    if kind is str:
        return f"{tenant.name}-{column.name}"
    if kind is bytes:
        return f"{tenant.name}-{column.table.name}".encode()
    if kind is datetime:
        return _NOW + timedelta(hours=1 if column.name in _LATER_END else 0)
    if kind is date:
        return _NOW.date()
    if kind is bool:
        return False
    return tenant.number

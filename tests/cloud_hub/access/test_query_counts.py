"""Every list asks the database as often for three things as for one.

Made from the route map: a list that is added is in it, and is to say what makes it longer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from browsing import counted_queries
from example_requests import Example, make_example
from sqlalchemy import Connection, Engine, text
from tenant_world import World, fill_tenants
from tenants import Tenant, add_row, add_service, fill

from cloud_hub.app import create_app
from cloud_hub.db import Base, create_engine
from cloud_hub.events.order import place_events
from cloud_hub.tenancy.roles import Role as DatabaseRole
from cloud_hub.web.operations import operations_of
from cloud_hub.web.pagination import PageOut

OPERATIONS = operations_of(create_app(b"k" * 32, create_engine("postgresql://nobody@127.0.0.1:1/none")))
LISTS = sorted(
    name
    for name, operation in OPERATIONS.items()
    if isinstance(operation.answer, type) and issubclass(operation.answer, PageOut)
)
ADDED = 2
QUERIES: Mapping[str, dict[str, Any]] = {"catalogue_api.search_profiles": {"custom": "true"}}
"""What leaves other rows out, where a list has some from the beginning."""
ROWS: Mapping[str, tuple[str, ...]] = {
    "account_api.list_sessions": ("login_sessions",),
    "commands_api.list_commands": ("commands",),
    "configuration_api.list_configurations": ("configurations",),
    "invitations_api.list_invitations": ("invitations",),
    "members_api.list_members": ("users", "memberships"),
    "readings_api.list_latest_of_site": ("meters", "points"),
    "roles_api.list_roles": ("roles",),
    "subscribers_api.list_subscribers": ("subscriber_logins",),
    "tokens_api.list_own_tokens": ("tokens",),
    "trail_api.list_trail": ("audit_events",),
    "webhooks_api.list_deliveries": ("events", "webhook_deliveries"),
    "webhooks_api.list_webhooks": ("webhooks",),
}
"""Tables whose rows make a list of one tenant's longer; all other lists grow with the tenants."""
SPECIAL: Mapping[str, Any] = {
    "tokens.kind": "api",
    "configurations.state": "refused",
    "login_sessions.is_complete": True,
    "login_sessions.last_used_at": datetime(2100, 1, 1, tzinfo=UTC),
    "login_sessions.ends_at": datetime(2100, 1, 2, tzinfo=UTC),
}
"""What makes a row one that its list shows."""


@dataclass(frozen=True)
class Look:
    """What a list answered, and what it asked the database."""

    items: int
    statements: list[str]


@pytest.fixture(scope="module")
def looks(module_database_url: str) -> dict[str, tuple[Look, Look]]:
    """All lists, as the operator's admin sees them, before and after there is more of everything."""
    (ann,) = fill_tenants(module_database_url, "ann")
    engine = create_engine(module_database_url)
    operator = Tenant("main", 0, {"organisations": 1, "users": ann.user_id, "sites": ann.site_id})
    with World(module_database_url, operator, ann, DatabaseRole.WEB) as world:
        with engine.begin() as connection:
            for table in ("tokens", "login_sessions"):
                _add_row(connection, ann, table, 0)
        _finish(engine)
        few = {name: _look(world, name, ann) for name in LISTS}
        with engine.begin() as connection:
            for number in range(1, ADDED + 1):
                _add_more(connection, ann, number)
        _finish(engine)
        more = {name: _look(world, name, ann) for name in LISTS}
    engine.dispose()
    return {name: (few[name], more[name]) for name in LISTS}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_asks_as_often_for_three_things_as_for_one(name: str, looks: dict[str, tuple[Look, Look]]) -> None:
    few, more = looks[name]
    assert few.items >= 1
    assert more.items >= few.items + ADDED, "say in ROWS what makes this list longer"
    assert len(more.statements) == len(few.statements), "\n".join(more.statements)


def _look(world: World, name: str, tenant: Tenant) -> Look:
    path = make_example(OPERATIONS[name], tenant, tenant).path
    with counted_queries(world.engine) as statements:
        answer = world.ask(Example("GET", path, QUERIES.get(name, {})))
    assert answer.status_code == 200, f"{name}: {answer.text}"
    return Look(len(answer.get_json()["items"]), statements)


def _finish(engine: Engine) -> None:
    """Let what was added be shown: events in their places, meters on their buses."""
    with engine.begin() as connection:
        place_events(connection)
        connection.execute(
            text("UPDATE meters m SET bus_id = b.id FROM buses b WHERE b.controller_id = m.controller_id")
        )


def _add_more(connection: Connection, tenant: Tenant, number: int) -> None:
    """Add another tenant, and to the first another row of each kind."""
    fill(connection, f"more{number}", 10 + number)
    add_service(connection, Tenant(f"serving{number}", 20 + number, {"organisations": tenant.organisation_id}))
    service = {"organisations": tenant.organisation_id, "users": tenant.keys["services"]}
    add_row(connection, Tenant(f"service{number}", 30 + number, service), Base.metadata.tables["tokens"])
    for tables in ROWS.values():
        keys = tenant.keys
        for table in tables:
            keys = _add_row(connection, replace(tenant, keys=keys), table, number)


def _add_row(connection: Connection, tenant: Tenant, table: str, number: int) -> dict[str, Any]:
    """Add a row that is another of its table, and refers to what the tenant has; return the keys with its own."""
    kept = {key: value for key, value in tenant.keys.items() if key.partition("#")[0] != table}
    special = {"tokens.secret_hash": b"%d" % number, "configurations.revision": number}
    other = Tenant(f"other{number}", 40 + number, {**kept, **SPECIAL, **special})
    add_row(connection, other, Base.metadata.tables[table])
    return other.keys

"""PostgreSQL itself keeps tenants apart: asked by direct SQL, as the role that the web works as."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from tenants import Tenant, add_row, fill, rows_of

from cloud_hub.db import Base, create_sessions
from cloud_hub.schema.tables import tenancies
from cloud_hub.tenancy.roles import Role
from cloud_hub.tenancy.scope import NOBODY, Scope, enter

GUARDED = {name: tenancy for name, tenancy in tenancies().items() if tenancy.is_guarded}
FOR_LOGIN_ALONE = {name for name, tenancy in GUARDED.items() if tenancy.sees == "(SELECT tenant_is_login())"}
UNREADABLE = {name for name, tenancy in GUARDED.items() if "SELECT" not in tenancy.web}


class Two:
    """Two tenants below one operator, and which rows are whose."""

    def __init__(self, engine: Engine) -> None:
        with engine.begin() as connection:
            for table in ("scan_days", "point_days"):
                connection.execute(text(f"CREATE TABLE {table}_all PARTITION OF {table} DEFAULT"))
            empty = rows_of(connection)
            self.ann = fill(connection, "ann", 1)
            first = rows_of(connection)
            self.bob = fill(connection, "bob", 2)
            both = rows_of(connection)
        self.anns = {name: first[name] - empty[name] for name in GUARDED}
        self.bobs = {name: both[name] - first[name] for name in GUARDED}


@pytest.fixture(scope="module")
def module_engine(module_database_url: str) -> Iterator[Engine]:
    from cloud_hub.db import create_engine  # noqa: PLC0415 - as the shared fixtures do

    engine = create_engine(module_database_url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def two(module_engine: Engine) -> Two:
    return Two(module_engine)


@pytest.fixture
def web(module_database_url: str) -> Iterator[Session]:
    """A session as the web's role; what it did is undone."""
    from cloud_hub.db import create_engine  # noqa: PLC0415 - as the shared fixtures do

    engine = create_engine(module_database_url, role=Role.WEB)
    with create_sessions(engine)() as session:
        yield session
        session.rollback()
    engine.dispose()


def scope_of(tenant: Tenant) -> Scope:
    own = frozenset({tenant.organisation_id})
    return Scope(organisations=own, members_of=own, ancestors=frozenset({1}), user_id=tenant.user_id)


def seen(session: Session | Connection, table: str) -> set[str]:
    return set(session.execute(text(f"SELECT tableoid || '/' || ctid::text FROM {table}")).scalars())


def test_there_is_a_row_of_each_tenant_in_every_guarded_table(two: Two) -> None:
    assert {name for name in GUARDED if len(two.anns[name]) != len(two.bobs[name]) or not two.bobs[name]} == set()


@pytest.mark.parametrize("table", sorted(set(GUARDED) - UNREADABLE))
def test_a_tenant_sees_its_own_rows_and_no_others(table: str, two: Two, web: Session) -> None:
    for tenant, own in ((two.ann, two.anns), (two.bob, two.bobs)):
        enter(web, scope_of(tenant))
        assert seen(web, table) == (set() if table in FOR_LOGIN_ALONE else own[table])


@pytest.mark.parametrize("table", sorted(set(GUARDED) - UNREADABLE))
def test_without_a_tenant_nothing_is_seen(table: str, two: Two, web: Session) -> None:
    del two
    assert seen(web, table) == set()
    enter(web, NOBODY)
    assert seen(web, table) == set()


@pytest.mark.parametrize("table", sorted(UNREADABLE))
def test_what_the_web_may_only_add_it_cannot_read(table: str, two: Two, web: Session) -> None:
    enter(web, scope_of(two.ann))
    with pytest.raises(DBAPIError, match="permission denied"):
        seen(web, table)


@pytest.mark.parametrize("table", sorted(set(GUARDED) - UNREADABLE))
def test_without_its_guard_a_table_would_leak(table: str, two: Two, module_engine: Engine) -> None:
    with module_engine.connect() as connection:
        connection.execute(text(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY"))
        connection.execute(text(f"SET LOCAL ROLE {Role.WEB}"))
        assert seen(connection, table) >= two.bobs[table]
        connection.rollback()


@pytest.mark.parametrize(
    "table", sorted(name for name, tenancy in GUARDED.items() if tenancy.organisation and "INSERT" in tenancy.web)
)
def test_nobody_adds_rows_to_another_tenant(table: str, two: Two, web: Session) -> None:
    if GUARDED[table].kind == "audit":
        pytest.skip("whoever is denied something adds to a trail; nobody reads another's")
    enter(web, scope_of(two.ann))
    with pytest.raises(
        DBAPIError, match=r"row-level security|violates not-null|permission denied|there is no organisation"
    ):
        add_row(web.connection(), Tenant("mallory", 3, dict(two.bob.keys)), Base.metadata.tables[table])


@pytest.mark.parametrize("verb", ["UPDATE", "DELETE"])
@pytest.mark.parametrize("table", sorted(set(GUARDED) - UNREADABLE))
def test_nobody_changes_another_tenants_rows(table: str, verb: str, two: Two, web: Session) -> None:
    if verb not in GUARDED[table].web:
        enter(web, scope_of(two.bob))
        with pytest.raises(DBAPIError, match="permission denied"):
            web.execute(text(_change(table, verb)))
        return
    enter(web, scope_of(two.ann))
    for place in two.bobs[table]:
        where = f"WHERE tableoid || '/' || ctid::text = '{place}'"
        assert web.connection().exec_driver_sql(f"{_change(table, verb)} {where}").rowcount == 0


def _change(table: str, verb: str) -> str:
    column = Base.metadata.tables[table].columns[0].name
    return f"DELETE FROM {table}" if verb == "DELETE" else f'UPDATE {table} SET "{column}" = "{column}"'


def test_an_organisation_above_sees_those_below(two: Two, web: Session) -> None:
    enter(web, Scope(organisations=frozenset({1}), user_id=two.ann.user_id))
    assert seen(web, "sites") >= two.anns["sites"] | two.bobs["sites"]


def test_somebody_limited_to_a_site_sees_that_site_alone(two: Two, web: Session, module_engine: Engine) -> None:
    with module_engine.begin() as connection:
        connection.execute(
            text("INSERT INTO sites (organisation_id, slug, name) VALUES (:organisation, 'annexe', 'Annexe')"),
            {"organisation": two.ann.organisation_id},
        )
    enter(
        web,
        Scope(
            sites=frozenset({two.ann.site_id}),
            members_of=frozenset({two.ann.organisation_id}),
            ancestors=frozenset({1, two.ann.organisation_id}),
            user_id=two.ann.user_id,
        ),
    )
    for table in ("sites", "controllers", "meters", "points", "scans", "ledger_days"):
        assert seen(web, table) == two.anns[table], table

"""What PostgreSQL's catalogue says of rights: no tenant's table without a policy, no way around."""

import pytest
from sqlalchemy import Engine, text

from cloud_hub.db import Base
from cloud_hub.schema.tables import tenancies
from cloud_hub.schema.upgrade import upgrade
from cloud_hub.tenancy.roles import Role

NOBODYS = {
    "alembic_version": "Alembic's own",
    "audit_heads": "the auditor's own: where each chain stands",
    "batch_digests": "ingest's own: recognises repetitions",
    "hub_state": "one row of the hub as a whole",
    "ingest_attempts": "ingest's own, unlogged",
    "live_topics": "the publisher's own: which retained topics stand",
    "order_keys": "the hub's own public keys",
    "rate_limits": "unlogged buckets by hashed key",
    "said_events": "the publisher's own: which events it has told",
    "signing_keys": "the hub's own keys, sealed",
    "sparkplug_nodes": "the Sparkplug publisher's own counters",
}
"""Tables that hold no tenant's rows, and why. Whoever adds one says so here."""


def test_every_table_is_guarded_or_listed_as_nobodys(engine: Engine) -> None:
    query = text("""
        SELECT c.relname FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
          AND NOT (c.relrowsecurity AND c.relforcerowsecurity AND EXISTS (SELECT FROM pg_policy WHERE polrelid = c.oid))
    """)
    with engine.connect() as connection:
        unguarded = set(connection.execute(query).scalars())
    unlisted = {name for name, tenancy in tenancies().items() if not tenancy.is_guarded} | {"alembic_version"}
    assert unguarded == unlisted
    assert unguarded <= NOBODYS.keys()


def test_a_table_that_does_not_say_whose_its_rows_are_cannot_be_defined() -> None:
    with pytest.raises(TypeError, match="does not say whose its rows are"):
        type("Stray", (Base,), {"__tablename__": "strays"})


def test_the_webs_role_owns_nothing_and_bypasses_nothing(engine: Engine) -> None:
    with engine.connect() as connection:
        role = connection.execute(
            text("SELECT rolsuper, rolbypassrls, rolcreaterole, rolcanlogin FROM pg_roles WHERE rolname = :web"),
            {"web": Role.WEB},
        ).one()
        owned = connection.scalar(
            text("SELECT count(*) FROM pg_class WHERE relowner = CAST(CAST(:web AS text) AS regrole)"),
            {"web": Role.WEB},
        )
        members = set(
            connection.execute(
                text(
                    "SELECT g.rolname FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid "
                    "WHERE m.member = CAST(CAST(:web AS text) AS regrole)"
                ),
                {"web": Role.WEB},
            ).scalars()
        )
    assert tuple(role) == (False, False, False, False)
    assert (owned, members) == (0, set())


def test_the_web_reaches_partitions_only_through_their_table(engine: Engine) -> None:
    query = text("""
        SELECT c.relname FROM pg_class c WHERE c.relispartition AND c.relkind = 'r'
          AND has_table_privilege(CAST(:web AS text), c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')
    """)
    with engine.connect() as connection:
        assert connection.execute(query, {"web": Role.WEB}).scalars().all() == []


def test_nobody_may_change_or_remove_an_audit_event(engine: Engine) -> None:
    query = text("""
        SELECT r.rolname FROM pg_roles r
        WHERE r.rolname LIKE 'meterhaul\\_%' AND r.rolname <> :auditor
          AND has_table_privilege(r.rolname, 'audit_events', 'UPDATE, DELETE, TRUNCATE')
    """)
    with engine.connect() as connection:
        assert connection.execute(query, {"auditor": Role.AUDITOR}).scalars().all() == []


def test_views_are_read_with_the_rights_of_whoever_asks(engine: Engine) -> None:
    query = text("""
        SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'v'
          AND NOT 'security_invoker=true' = ANY (coalesce(reloptions, '{}'))
    """)
    with engine.connect() as connection:
        assert connection.execute(query).scalars().all() == []


@pytest.mark.parametrize(
    "tampering",
    [
        "DROP POLICY tenant ON sites",
        "ALTER POLICY tenant ON sites USING (true)",
        "CREATE POLICY everybody ON sites USING (true)",
        "ALTER TABLE sites NO FORCE ROW LEVEL SECURITY",
        "ALTER TABLE sites DISABLE ROW LEVEL SECURITY",
    ],
)
def test_what_somebody_changed_by_hand_is_put_right(engine: Engine, database_url: str, tampering: str) -> None:
    guards = text(
        "SELECT polname, pg_get_expr(polqual, polrelid), relrowsecurity, relforcerowsecurity "
        "FROM pg_policy JOIN pg_class c ON c.oid = polrelid WHERE relname = 'sites'"
    )
    with engine.connect() as connection:
        before = connection.execute(guards).all()
    with engine.begin() as connection:
        connection.execute(text(tampering))
    upgrade(database_url)
    with engine.connect() as connection:
        assert connection.execute(guards).all() == before


def test_functions_belong_to_roles_that_nobody_works_as(engine: Engine) -> None:
    query = text("SELECT DISTINCT proowner::regrole::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace")
    with engine.connect() as connection:
        assert set(connection.execute(query).scalars()) == {Role.OWNER, Role.AUDITOR}


def test_doing_it_again_changes_nothing(engine: Engine, database_url: str) -> None:
    query = text("SELECT oid::bigint, polname FROM pg_policy ORDER BY oid")
    with engine.connect() as connection:
        before = connection.execute(query).all()
    upgrade(database_url)
    with engine.connect() as connection:
        assert connection.execute(query).all() == before

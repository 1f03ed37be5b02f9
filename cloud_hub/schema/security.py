"""Make PostgreSQL enforce what the tables say of themselves: owners, privileges, row-level security."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, text

from cloud_hub.audit import chain
from cloud_hub.schema.tables import tenancies
from cloud_hub.tenancy.roles import Role, make_roles
from cloud_hub.tenancy.rows import Tenancy

_FUNCTIONS = """
CREATE OR REPLACE FUNCTION tenant_ids(setting text) RETURNS bigint[] LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT coalesce(nullif(current_setting(setting, true), ''), '{}')::bigint[] $$;

CREATE OR REPLACE FUNCTION tenant_user() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT nullif(current_setting('meterhaul.user', true), '')::bigint $$;

CREATE OR REPLACE FUNCTION tenant_is_login() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT coalesce(current_setting('meterhaul.login', true), '') = 'on' $$;

-- Narrowed further by the policy of the organisations themselves, which never calls back.
CREATE OR REPLACE FUNCTION tenant_organisations() RETURNS bigint[] LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT coalesce(array_agg(id), '{}') FROM organisations
   WHERE lineage && (SELECT tenant_ids('meterhaul.organisations'))::bigint[] $$;
"""

# The auditor's own are named audit_…: `chain` sees to those.
_STRAY_FUNCTIONS = text("""
    SELECT CAST(p.oid AS regprocedure)::text FROM pg_proc p JOIN pg_roles o ON o.oid = p.proowner
    WHERE p.pronamespace = current_schema()::regnamespace AND o.rolname <> :owner AND p.proname NOT LIKE 'audit\\_%'
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
""")
_RELATIONS = text("""
    SELECT c.relname AS name, c.relkind = 'v' AS is_view, c.relispartition AS is_partition, o.rolname AS owner,
           c.relrowsecurity AND c.relforcerowsecurity AS is_guarded
    FROM pg_class c JOIN pg_roles o ON o.oid = c.relowner
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p', 'v')
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
    ORDER BY c.relname
""")
# PostgreSQL writes a policy's conditions in its own way: what it made of ours is remembered in the comment.
_POLICIES = text("""
    SELECT p.polname AS name, coalesce(obj_description(p.oid, 'pg_policy'), '') AS said,
           md5(concat_ws('|', p.polcmd, p.polpermissive, p.polroles::text, pg_get_expr(p.polqual, p.polrelid),
                         pg_get_expr(p.polwithcheck, p.polrelid))) AS made
    FROM pg_policy p
    WHERE p.polrelid = CAST(:table AS regclass) AND p.polname <> :auditors ORDER BY p.polname
""")
_UNSEEN = ("alembic_version",)


@dataclass(frozen=True, slots=True)
class _Policy:
    name: str
    command: str
    sees: str
    """Which rows the command finds; empty where it finds none."""
    leaves: str
    """What a row must be when the command is done."""

    @property
    def sql(self) -> str:
        using = f" USING ({self.sees})" if self.sees else ""
        check = f" WITH CHECK ({self.leaves})" if self.leaves else ""
        return f"FOR {self.command} TO PUBLIC{using}{check}"


def secure(connection: Connection) -> None:
    """Bring owners, privileges and policies in step with the tables' tenancy; where they are, nothing is touched.

    Raises: DatabaseRefused when this login may not make the roles.
    """
    make_roles(connection)
    connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA public TO {', '.join(Role)}")
    connection.exec_driver_sql(f"GRANT CREATE ON SCHEMA public TO {Role.OWNER}, {Role.AUDITOR}, {Role.WORK}")
    connection.exec_driver_sql(_FUNCTIONS)
    for function in connection.execute(_STRAY_FUNCTIONS, {"owner": Role.OWNER}).scalars().all():
        connection.exec_driver_sql(f"ALTER FUNCTION {function} OWNER TO {Role.OWNER}")
    known = tenancies()
    for relation in connection.execute(_RELATIONS).all():
        owner = Role.AUDITOR if relation.name in chain.TABLES else Role.OWNER
        if relation.owner != owner:
            kind = "VIEW" if relation.is_view else "TABLE"
            connection.exec_driver_sql(f"ALTER {kind} {relation.name} OWNER TO {owner}")
        if relation.is_view:
            connection.exec_driver_sql(f"ALTER VIEW {relation.name} SET (security_invoker = true)")
            connection.exec_driver_sql(f"GRANT SELECT ON {relation.name} TO {Role.WEB}, {Role.INGEST}, {Role.WORK}")
        elif relation.name in known and not relation.is_partition:
            _grant(connection, relation.name, known[relation.name])
            _guard(connection, relation.name, known[relation.name], is_guarded=relation.is_guarded)
        elif relation.name in _UNSEEN:
            connection.exec_driver_sql(f"GRANT SELECT ON {relation.name} TO {Role.WEB}, {Role.INGEST}, {Role.WORK}")
    chain.install_chain(connection)


def policies_of(tenancy: Tenancy) -> list[_Policy]:
    """Return the policies that make a table's tenancy hold."""
    if not tenancy.is_guarded:
        return []
    if tenancy.sees == tenancy.changes:
        return [_Policy("tenant", "ALL", tenancy.sees, tenancy.changes)]
    wanted = [
        _Policy("tenant_adds", "INSERT", "", tenancy.changes),
        _Policy("tenant_changes", "UPDATE", tenancy.changes, tenancy.changes),
        _Policy("tenant_deletes", "DELETE", tenancy.changes, ""),
        _Policy("tenant_sees", "SELECT", tenancy.sees, ""),
    ]
    return [policy for policy in wanted if policy.command in tenancy.web]


def _grant(connection: Connection, table: str, tenancy: Tenancy) -> None:
    connection.exec_driver_sql(f"REVOKE ALL ON {table} FROM {Role.WEB}, {Role.INGEST}, {Role.WORK}")
    ours = chain.TABLES.get(table, "SELECT, INSERT, UPDATE, DELETE")
    connection.exec_driver_sql(f"GRANT {ours} ON {table} TO {Role.INGEST}, {Role.WORK}")
    if tenancy.web:
        connection.exec_driver_sql(f"GRANT {', '.join(tenancy.web)} ON {table} TO {Role.WEB}")


def _guard(connection: Connection, table: str, tenancy: Tenancy, *, is_guarded: bool) -> None:
    if is_guarded != tenancy.is_guarded:
        for verb in ("ENABLE", "FORCE") if tenancy.is_guarded else ("DISABLE", "NO FORCE"):
            connection.exec_driver_sql(f"ALTER TABLE {table} {verb} ROW LEVEL SECURITY")
    wanted = {policy.name: policy for policy in policies_of(tenancy)}
    known = {row.name: (row.said, row.made) for row in _policies(connection, table)}
    if {name: _comment(policy.sql, known[name][1]) for name, policy in wanted.items() if name in known} == {
        name: said for name, (said, _) in known.items()
    } and wanted.keys() == known.keys():
        return
    for name in known:
        connection.exec_driver_sql(f"DROP POLICY {name} ON {table}")
    for policy in wanted.values():
        connection.exec_driver_sql(f"CREATE POLICY {policy.name} ON {table} {policy.sql}")
    for row in _policies(connection, table):
        said = _comment(wanted[row.name].sql, row.made).replace("'", "''")
        connection.exec_driver_sql(f"COMMENT ON POLICY {row.name} ON {table} IS '{said}'")


def _policies(connection: Connection, table: str) -> Sequence[Row[Any]]:
    return connection.execute(_POLICIES, {"table": table, "auditors": chain.POLICY}).all()


def _comment(sql: str, made: str) -> str:
    return f"{sql}\n{made}"

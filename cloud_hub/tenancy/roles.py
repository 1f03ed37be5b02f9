"""The database roles: who owns the tables, and as whom each process works."""

from enum import StrEnum

from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError

from cloud_hub.errors import DatabaseRefused


class Role(StrEnum):
    """A role of the cluster. None may log in: a process's login is a member of the role that it works as."""

    OWNER = "meterhaul_owner"
    """Owns tables, views and functions; nobody works as it."""
    AUDITOR = "meterhaul_auditor"
    """Owns the audit trail, so that not even the owner of the other tables can change it."""
    WEB = "meterhaul_web"
    """Serves people: owns nothing, bypasses nothing, sees what the transaction's scope says."""
    INGEST = "meterhaul_ingest"
    """Takes in what controllers send, whosever they are; COPY does not work under row-level security."""
    WORK = "meterhaul_work"
    """Does what is due for all tenants, and makes and drops partitions, which takes an owner."""


_ATTRIBUTES = {Role.INGEST: " BYPASSRLS", Role.WORK: " BYPASSRLS"}
_LOCK = 0x6D657466


def make_roles(connection: Connection) -> None:
    """Make the roles that are missing; several databases of a cluster share them.

    Raises: DatabaseRefused, with what an administrator has to run.
    """
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    known = set(connection.execute(text("SELECT rolname FROM pg_roles")).scalars())
    missing = [role for role in Role if role not in known]
    for role in missing:
        _create(connection, role)
    if Role.WORK in missing or Role.OWNER in missing:
        connection.execute(text(f"GRANT {Role.OWNER} TO {Role.WORK}"))


def statements(login: str) -> list[str]:
    """Return what an administrator runs where the login of `hub init` may not make roles itself."""
    made = [f"CREATE ROLE {role} NOLOGIN{_ATTRIBUTES.get(role, '')}" for role in Role]
    return [*made, f"GRANT {Role.OWNER} TO {Role.WORK}", f'GRANT {", ".join(Role)} TO "{login}"']


def _create(connection: Connection, role: Role) -> None:
    try:
        with connection.begin_nested():
            connection.execute(text(f"CREATE ROLE {role} NOLOGIN{_ATTRIBUTES.get(role, '')}"))
    except ProgrammingError as error:
        if "already exists" in str(error.orig):  # another database of the cluster was quicker
            return
        raise DatabaseRefused(
            f"this login may not make the role {role}: let an administrator run, once for the cluster: "
            + "; ".join(statements(str(connection.scalar(text("SELECT session_user")))))
        ) from error
